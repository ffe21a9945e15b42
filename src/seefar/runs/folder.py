"""Run folders: every path in `runs/<name>/`, how a run is found by name, and how it is written to and sealed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from seefar.errors import RunError, next_step
from seefar.output import printable
from seefar.runs.files import read_json, remove_temporary
from seefar.runs.lock import check_locked, check_no_link, locked
from seefar.runs.manifest import NAME, drop_manifest, problems, restore_manifest, write_manifest

BY_THE_SYSTEM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EIO, errno.EROFS}
"""Errors that concern the run folder even where they name no file of it."""


@dataclass(frozen=True)
class RunFolder:
    """The paths in `runs/<name>/`.

    Example:
        >>> from pathlib import Path
        >>> RunFolder(Path("runs/mine")).weights.as_posix()
        'runs/mine/weights.safetensors'
    """

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """What `find_run` finds it by: a bare name if it lies under `runs/`, else its path."""
        if self.path.parent == Path("runs"):
            return self.path.name
        return str(self.path) if self.path.parent != Path() else f".{os.sep}{self.path}"

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
    def weights(self) -> Path:
        """The finished network."""
        return self.path / "weights.safetensors"

    @property
    def predictions(self) -> Path:
        """Logits and features of the test images, with the fingerprints of weights and images."""
        return self.path / "predictions.npz"

    @property
    def metrics(self) -> Path:
        """Accuracy, per class, confusion."""
        return self.path / "metrics.json"

    @property
    def mistakes(self) -> Path:
        """One line for each mistake."""
        return self.path / "mistakes.csv"

    @property
    def maps(self) -> Path:
        """The explanation of the mistakes: maps, hidden pixels, what hiding did."""
        return self.path / "maps.npz"

    @property
    def explanation(self) -> Path:
        """How the maps were made, and the repair rates."""
        return self.path / "explanation.json"

    @property
    def neighbours(self) -> Path:
        """The nearest training images of the mistakes, where they were looked for."""
        return self.path / "neighbours.npz"

    @property
    def report(self) -> Path:
        """The HTML page."""
        return self.path / "report.html"

    @property
    def manifest(self) -> Path:
        """Checksums of all files; written last, so it is there only if the folder is whole."""
        return self.path / NAME

    @property
    def figures(self) -> Path:
        """The folder of the figures."""
        return self.path / "figures"

    def figure(self, name: str) -> Path:
        """A figure, such as `maps`."""
        return self.figures / f"{name}.png"

    @contextmanager
    def writing(self, command: Sequence[str]) -> Iterator[None]:
        """Lock the folder and drop its manifest; at the end of `with` seal it with a new one.

        After an error that came before anything was changed the old manifest is put back; else the folder stays
        without one, since something in it is unfinished. Within another `writing` of the same folder nothing
        happens; the outer one seals.

        Args:
            command: the command line or function that writes; the manifest keeps it.

        Raises:
            RunError: another process writes into the folder, or it cannot be written to, or holds a link through which
                something elsewhere would be.
        """
        with locked(self.path) as outermost:
            try:
                if outermost:
                    for written_into in (self.history, self.log, self.figures):
                        check_no_link(written_into)
                    remove_temporary(self.path, self.figures)
                    drop_manifest(self.path)
                yield
                if outermost:
                    write_manifest(self.path, command)
            except BaseException as error:
                if outermost:
                    restore_manifest(self.path)
                if isinstance(error, OSError) and (error.errno in BY_THE_SYSTEM or self._holds(error.filename)):
                    check_locked(self.manifest)
                    where = error.filename if self._holds(error.filename) else self
                    raise RunError(
                        f"{where} cannot be written to ({error.strerror}); every file written before is kept, the last "
                        f"checkpoint too. {next_step(error)} and do the same again: it goes on from there."
                    ) from error
                raise

    def _holds(self, name: object) -> bool:
        return isinstance(name, str | os.PathLike) and self.path in Path(name).parents


def find_run(name: str | Path) -> RunFolder:
    """The folder of a run: a bare name lies under `runs/`; a string with a slash, and every `Path`, is a path.

    Raises:
        RunError: the name is empty or only dots, or has characters that a terminal would obey.

    Example:
        >>> find_run("mine").path.as_posix(), find_run(Path("mine")).path.as_posix()
        ('runs/mine', 'mine')
    """
    if any(ord(character) < 32 or ord(character) == 127 for character in str(name)):
        raise RunError(f"{str(name)!r} is no name for a run, since it has control characters: choose another.")
    if isinstance(name, Path):
        return RunFolder(name.expanduser())
    if name.strip(".") == "":
        raise RunError(f"{name!r} is no name for a run: choose a name, or a path such as ./here/mine.")
    is_path = "/" in name or os.sep in name
    return RunFolder(Path(name).expanduser() if is_path else Path("runs") / name)


def verify(folder: RunFolder | str | Path) -> list[str]:
    """Check a run folder against its manifest.

    Args:
        folder: the run folder, its path, or the bare name of one under `runs/`.

    Returns:
        One line for each file that is missing, changed, or not in the manifest; empty if the folder is whole.

    Raises:
        RunError: there is no such folder.

    Example:
        >>> import tempfile
        >>> folder = RunFolder(Path(tempfile.mkdtemp()))
        >>> with folder.writing(["an example"]):
        ...     _ = folder.log.write_text("one line")
        >>> verify(folder)
        []
        >>> _ = folder.log.write_text("another line")
        >>> verify(folder)
        ['log.txt is changed']
    """
    found = folder if isinstance(folder, RunFolder) else find_run(folder)
    if not found.path.is_dir():
        raise RunError(f"There is no folder {found.path}: choose a run folder, or the name of one under runs/.")
    return problems(found.path)


def begun_with(folder: RunFolder) -> tuple[str, tuple[str, ...]]:
    """Fingerprint of the training images and names of the classes that a run was begun with.

    Raises:
        RunError: `data.json`, which says so, is missing or damaged.
    """
    try:
        about = read_json(folder.data)
        return str(about["fingerprint"]), tuple(printable(str(name)) for name in about["classes"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{folder.data} is missing or damaged ({error}): choose another name.") from error
