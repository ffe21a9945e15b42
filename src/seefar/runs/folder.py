"""Run folders: every path in `runs/<name>/`, and how a run is found by its name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from seefar.errors import RunError, printable
from seefar.runs.files import expanded
from seefar.runs.store import MALFORMED, MANIFEST, file_entry, read_manifest


class _File:
    """A file of a run folder: its path, as an attribute of the folder."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, folder: RunFolder, kind: type | None = None) -> Path:
        return folder.path / self.name


@dataclass(frozen=True)
class RunFolder:
    """The paths in `runs/<name>/`."""

    path: Path

    recipe = _File("recipe.json")
    data = _File("data.json")
    audit = _File("audit.json")
    history = _File("history.csv")
    log = _File("log.txt")
    checkpoint = _File("checkpoint.safetensors")
    weights = _File("weights.safetensors")
    predictions = _File("predictions.npz")
    metrics = _File("metrics.json")
    mistakes = _File("mistakes.csv")
    maps = _File("maps.npz")
    explanation = _File("explanation.json")
    report = _File("report.html")
    manifest = _File(MANIFEST)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """The name for `find_run`: a bare name if the folder is in `runs/`, else its path."""
        if self.path.parent == Path("runs"):
            return self.path.name
        if self.path.parent == Path():
            return f".{os.sep}{self.path}"
        return str(self.path)


def find_run(name: RunFolder | str | Path) -> RunFolder:
    """The folder of a run, see `run_path`; a `RunError` also if there is a file of that name."""
    if isinstance(name, RunFolder):
        return name
    path = run_path(name)
    if path.is_file():
        raise RunError(f"{path} is a file, but a run is a folder: pass the folder.")
    return RunFolder(path)


def run_path(name: str | Path) -> Path:
    """Where a run is: a bare name is in `runs/`; a string with a slash, and every `Path`, is a path.

    A `RunError` if the name is empty or only dots, or has control characters.
    """
    if any(ord(character) < 32 or ord(character) == 127 for character in str(name)):
        raise RunError(f"{str(name)!r} is not a valid run name, since it has control characters: choose another.")
    if isinstance(name, str) and name.strip(".") == "":
        raise RunError(f"{name!r} is not a valid run name: choose a name, or a path such as ./here/mine.")
    is_path = isinstance(name, Path) or "/" in name or os.sep in name
    return expanded(name) if is_path else Path("runs") / name


def next_folder(name: str, conflict: Callable[[RunFolder], str | None]) -> RunFolder:
    """The first of `name`, `name-2`, `name-3`, ... under `runs/` for which `conflict` gives no reason against it."""
    names = (name if number == 1 else f"{name}-{number}" for number in count(1))
    return next(folder for folder in map(find_run, names) if conflict(folder) is None)


def verify(folder: RunFolder | str | Path) -> list[str]:
    """Check a run folder, given by its path or its bare name under `runs/`, against its manifest.

    Returns:
        One line for each file that is missing, changed, or not in the manifest; empty if the folder is intact.

    Raises:
        RunError: there is no such folder.

    Examples:
        >>> import tempfile
        >>> verify(Path(tempfile.mkdtemp()))
        ['manifest.json is missing: no command that writes into the folder has finished']
    """
    folder = find_run(folder).path
    if not folder.is_dir():
        raise RunError(f"There is no folder {folder}: choose a run folder, or the name of one under runs/.")
    try:
        if not (folder / MANIFEST).exists():
            return [f"{MANIFEST} is missing: no command that writes into the folder has finished"]
        manifest = read_manifest(folder)
    except MALFORMED as error:
        return [f"{MANIFEST} is damaged ({error})"]
    recorded = manifest["files"]
    lines = [] if manifest.get("finished") else ["the last command that wrote into the folder has not finished"]
    paths = sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    names = {path.relative_to(folder).as_posix() for path in paths}
    names = {name for name in names if not any(part.startswith(".") for part in name.split("/"))} - {MANIFEST}
    for name in sorted({*recorded, *names}):
        if name not in recorded:
            lines.append(f"{printable(name)} is extra: the manifest does not have it")
        elif name not in names:  # also the path of a file elsewhere, in an untrusted manifest
            lines.append(f"{printable(name)} is missing")
        else:
            entry = file_entry(folder / name, recorded[name])
            if entry is None or not entry.items() <= recorded[name].items():
                lines.append(f"{printable(name)} is changed")
    return lines
