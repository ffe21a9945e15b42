"""Run folders: every path in `runs/<name>/`, and how a run is found by name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from seefar.errors import RunError


@dataclass(frozen=True)
class RunFolder:
    """The paths in `runs/<name>/`."""

    path: Path

    @property
    def recipe(self) -> Path:
        """All hyperparameters."""
        return self.path / "recipe.json"

    @property
    def data(self) -> Path:
        """What the data set was, with a fingerprint of its training images."""
        return self.path / "data.json"

    @property
    def history(self) -> Path:
        """One row for each logged step."""
        return self.path / "history.csv"

    @property
    def log(self) -> Path:
        """The lines of the training log."""
        return self.path / "log.txt"

    @property
    def checkpoint(self) -> Path:
        """The state of an unfinished training; gone when it is finished."""
        return self.path / "checkpoint.safetensors"

    @property
    def manifest(self) -> Path:
        """Checksums of all files; written last, so it is there only if the folder is whole."""
        return self.path / "manifest.json"

    @property
    def weights(self) -> Path:
        """The finished network."""
        return self.path / "weights.safetensors"


def find_run(name: str) -> RunFolder:
    """The folder of a run: a bare name lies under `runs/`, anything with a slash is a path.

    Raises:
        RunError: the name is empty or only dots.
    """
    if name.strip(".") == "":
        raise RunError(f"{name!r} is no name for a run: pass --run with a name, or with a path such as ./here/mine.")
    is_path = "/" in name or os.sep in name
    return RunFolder(Path(name).expanduser() if is_path else Path("runs") / name)
