"""The store: a file is *fresh* if its bytes match the manifest and its recorded inputs match the current ones.

Fresh files are read; everything else is computed again. No other module checks whether a file is still valid.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import platformdirs
from filelock import FileLock, Timeout

from seefar.errors import RunError, not_written
from seefar.progress import SILENT, Progress
from seefar.runs.files import open_regular, read_bytes, read_json, remove_temporary, write_text, written_beside
from seefar.runs.provenance import provenance

MANIFEST = "manifest.json"
TRAINING_FILES = ("recipe.json", "data.json", "history.csv", "log.txt", "weights.safetensors", "audit.json")
"""The files of a training; the last is that of an audit. The manifest has their hashes too, but they cannot be computed
from other files of the folder."""
CHECKPOINT = "checkpoint.safetensors"
"""The state of an unfinished training; a crash right after its end leaves it beside the weights."""
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}
"""Error numbers of a file system without locks, such as a network drive."""
MALFORMED = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""Errors of a manifest that is missing, damaged, or untrusted."""
KEY_BYTES = 32
SAVE_SECONDS = 60.0
"""Between two saves of a value that takes long: each save writes all of it, so after every part would be quadratic."""

T = TypeVar("T")
_ENTRY = {"bytes", "sha256", "from", "shows", "settings", "version"}


@dataclass(frozen=True, eq=False)
class Artifact(Generic[T]):
    """A file that can be computed.

    Attributes:
        name: its path in the run folder.
        compute: its value, from the job; writes nothing. Long work yields partial values, each with all before it. None
            means that there is no such file for this job.
        save: writes a value to a path, atomically.
        load: reads the value back; None if nothing needs it.
        of: its inputs: other artifacts, and facts of the job by name, such as `weights`.
        shows: artifacts that it shows if they are present.
        settings: other values that its content depends on, as JSON gives them back: lists, not tuples.
        enough: whether a saved value has everything that this job needs.
        version: raise it when the same inputs give other content.
        sealed: fresh only if this user wrote it: for files that a browser or a spreadsheet runs, since an untrusted
            folder can hold any file, and a manifest that fits it.
    """

    name: str
    compute: Callable[[Any], T | Iterator[T] | None]
    save: Callable[[T, Path], None]
    load: Callable[[Path], T] | None = None
    of: tuple[Artifact[Any] | str, ...] = ()
    shows: tuple[Artifact[Any], ...] = ()
    settings: Callable[[Any], Any] = lambda job: None
    enough: Callable[[Any, T], bool] = lambda job, value: True
    version: int = 1
    sealed: bool = False


class Store:
    """The artifacts of one run folder; `root` is where to write instead, if `folder` cannot be written to.

    `fact` gives the current value of a fact, such as the fingerprint of the weights; None if it is unknown, which
    counts as unchanged. `job` is the argument of `compute`, `settings` and `enough` of the artifacts.
    """

    def __init__(
        self, folder: Path, fact: Callable[[str], str | None], job: Any = None, root: Path | None = None
    ) -> None:
        self.folder, self.job, self.root = folder, job, root or folder
        self.fact = cache(fact)
        self.manifest: dict[str, Any] = {"files": {}}  # with which no file is fresh
        with suppress(*MALFORMED):
            self.manifest = read_manifest(folder)
        self.files: dict[str, dict[str, Any]] = self.manifest["files"]
        self.written: list[str] = []
        self._values: dict[str, Any] = {}  # of the files as they are, with any settings
        self._entries: dict[str, dict[str, Any] | None] = {}

    def fresh(self, artifact: Artifact[Any]) -> bool:
        """Whether the file is intact and was computed from the current inputs, with these settings."""
        return self.present(artifact) and bool(self.files[artifact.name]["settings"] == artifact.settings(self.job))

    def present(self, artifact: Artifact[Any]) -> bool:
        """Whether the file is intact and was computed from the current inputs, with any settings."""
        entry, actual = self.files.get(artifact.name, {}), self._entry(artifact.name)
        if actual is None or "from" not in entry or not actual.items() <= entry.items():
            return False
        if artifact.sealed and entry.get("seal") != _seal(artifact.name, entry):
            return False
        if entry["version"] != artifact.version or entry["from"].keys() != {_name(source) for source in artifact.of}:
            return False
        if not all(self.present(source) for source in artifact.of if isinstance(source, Artifact)):
            return False
        return bool(entry["shows"] == self._shown(artifact)) and not self._differs(artifact)

    def get(self, artifact: Artifact[T]) -> T:
        """The value: read from a fresh file, or computed and saved; None if this job has no such file."""
        value = self._load(artifact) if self.fresh(artifact) else None
        if value is None or not artifact.enough(self.job, value):
            value = self._compute(artifact)
        return cast(T, value)

    def peek(self, artifact: Artifact[T]) -> T | None:
        """The value if the file is present, with any settings; else None. Nothing is computed."""
        return self._load(artifact) if self.present(artifact) else None

    def ensure(self, *artifacts: Artifact[Any]) -> None:
        """Compute and save those that are not fresh."""
        for artifact in artifacts:
            if artifact.load is not None:
                self.get(artifact)
            elif not self.fresh(artifact):
                self._compute(artifact)

    def finish(self, artifacts: Sequence[Artifact[Any]], command: Sequence[str]) -> None:
        """Remove the files of other inputs, and complete the manifest with the `command` that wrote the others."""
        for artifact in artifacts:
            orphan = artifact.name not in self.files and (self.folder / artifact.name).is_file()
            if orphan or self._differs(artifact):
                self._remove(artifact.name)
        if any((self.folder / name).exists() for name in TRAINING_FILES[-2:]):
            self._remove(CHECKPOINT)
            self.record(*(name for name in TRAINING_FILES if name not in self.files))
        if self.written or not self.manifest.get("finished"):
            self.manifest.update({"finished": True, "command": list(command), **provenance()})
            self._write_manifest()

    def record(self, *names: str) -> None:
        """Add training files to the manifest as they are now; a missing one has no entry."""
        for name in names:
            entry = self._entries[name] = file_entry(self._path(name))
            if entry is not None and self.files.get(name) != entry:
                self.files[name] = entry
                self.written.append(name)

    def begin(self, training: dict[str, Any]) -> None:
        """Start a new training in the folder: the manifest loses all entries, so no file is fresh."""
        self.files.clear()
        self.manifest.update({"finished": False, "training": training})
        self._write_manifest()

    def _load(self, artifact: Artifact[T]) -> T | None:
        """The value in the file, read once; None if it cannot be read, such as that of an older version."""
        assert artifact.load is not None
        if artifact.name not in self._values:
            with suppress(Exception):
                self._values[artifact.name] = artifact.load(self._path(artifact.name))
        value: T | None = self._values.get(artifact.name)
        return value

    def _compute(self, artifact: Artifact[T]) -> T | None:
        for source in artifact.of:
            if isinstance(source, Artifact):
                self.get(source)
        result = artifact.compute(self.job)
        if not isinstance(result, Iterator):
            return self.save(artifact, result)
        saved, value = time.monotonic(), None
        for value in result:
            if time.monotonic() - saved >= SAVE_SECONDS:
                self.save(artifact, value)
                saved = time.monotonic()
        return self.save(artifact, value)

    def save(self, artifact: Artifact[T], value: T | None) -> T | None:
        """Save a value and add the file to the manifest."""
        if value is None:
            self._remove(artifact.name)
            return None
        self._values[artifact.name] = value
        path = self.root / artifact.name
        if self.manifest.get("finished", True):
            self.manifest["finished"] = False
            self._write_manifest()
        artifact.save(value, path)
        entry = self._entries[artifact.name] = file_entry(path)
        recorded = self.files[artifact.name] = {
            **(entry or {}),
            "from": {_name(source): self._input(source) for source in artifact.of},
            "shows": self._shown(artifact),
            "settings": artifact.settings(self.job),
            "version": artifact.version,
        }
        if artifact.sealed:
            recorded["seal"] = _seal(artifact.name, recorded)
        self.written.append(artifact.name)
        self._write_manifest()
        return value

    def _remove(self, name: str) -> None:
        path = self.root / name
        if path.is_file() or path.is_symlink():
            path.unlink()
            self.written.append(name)
        if self.files.pop(name, None) is not None:
            self.written.append(name)
        self._entries.pop(name, None)
        self._values.pop(name, None)

    def _input(self, source: Artifact[Any] | str) -> str | None:
        if isinstance(source, str):
            return self.fact(source)
        entry = self._entry(source.name)
        return None if entry is None else entry["sha256"]

    def _shown(self, artifact: Artifact[Any]) -> dict[str, str | None]:
        return {source.name: self._input(source) if self.present(source) else None for source in artifact.shows}

    def _differs(self, artifact: Artifact[Any]) -> bool:
        """Whether an input is known to differ from that of the file."""
        recorded = self.files.get(artifact.name, {}).get("from", {})
        now = {_name(source): self._input(source) for source in artifact.of if _name(source) in recorded}
        return any(value is not None and recorded[name] != value for name, value in now.items())

    def _entry(self, name: str) -> dict[str, Any] | None:
        """Size and SHA-256 of a file as it is now; None if there is no regular file of that name."""
        if name not in self._entries:
            self._entries[name] = file_entry(self._path(name))
        return self._entries[name]

    def _path(self, name: str) -> Path:
        own = self.root / name
        return own if own.exists() else self.folder / name

    def _write_manifest(self) -> None:
        self.manifest["files"] = self.files = dict(sorted(self.files.items()))
        write_text(self.root / MANIFEST, json.dumps(self.manifest, indent=2) + "\n")


@contextmanager
def opened(
    folder: Path,
    fact: Callable[[str], str | None],
    job: Any,
    artifacts: Sequence[Artifact[Any]],
    command: Sequence[str],
    progress: Progress = SILENT,
) -> Iterator[Store]:
    """The store of a folder, locked within `with` and finished at its end.

    If the folder cannot be written to, new files go into a temporary folder, and one line at the end names them.
    After an error the manifest stays unfinished if anything was written.
    """
    if os.access(folder, os.W_OK | os.X_OK):
        with locked(folder, progress):
            store = Store(folder, fact, job)
            if "training" not in store.manifest and (folder / TRAINING_FILES[-2]).exists():
                progress.line(f"{folder} has no valid {MANIFEST}, so its weights and records are taken as they are")
            yield store
            store.finish(artifacts, command)
        return
    with tempfile.TemporaryDirectory(prefix="seefar-") as root:
        store = Store(folder, fact, job, Path(root))
        yield store
        if store.written:
            names = ", ".join(dict.fromkeys(store.written))
            progress.line(f"{folder} cannot be written to, so these are not saved: {names}")


@contextmanager
def locked(folder: Path, progress: Progress = SILENT, wait: float = 0.0) -> Iterator[None]:
    """Lock a folder, created if it is missing; the system frees the lock whenever the process ends.

    If another process has the lock, this prints a line and waits for so many seconds; then it raises `RunError`. A
    line is also printed where the file system has no locks.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.resolve() / ".lock", timeout=0, fallback_to_soft=False)
        try:
            lock.acquire()
        except Timeout:
            if not wait:
                raise
            progress.line(f"waiting for another process that writes into {folder}")
            lock.acquire(timeout=wait)
    except Timeout as error:
        raise RunError(
            f"Another process or thread writes into {folder}: wait until it has ended, or choose another folder."
        ) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise not_written(folder, error) from error
        progress.line(f"{folder} is on a file system without locks: start no second command on this folder.")
    try:
        for path in (folder / name for name in (*TRAINING_FILES, "figures")):  # before any removal
            if path.is_symlink() or (path.exists() and not path.is_file() and not path.is_dir()):
                raise RunError(f"{path} must be a file of this folder (got a link, a pipe or a device): delete it.")
        remove_temporary(folder, folder / "figures")
        yield
    finally:
        lock.release()


def file_entry(path: Path, recorded: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """Size and SHA-256 of a file for the manifest; None if it is missing, a link, too large, or no regular file.

    Also None if its size is not the `recorded` one: then nothing is read.
    """
    try:
        with open_regular(path, follow=False) as file:
            if recorded is not None and os.fstat(file.fileno()).st_size != recorded.get("bytes"):
                return None
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return {"bytes": file.tell(), "sha256": digest}
    except (OSError, ValueError):  # ValueError: a name that is no path, in an untrusted manifest
        return None


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder; an error of `MALFORMED` if its entries are not as `Store` writes them."""
    manifest = read_json(folder / MANIFEST, follow=False)
    computed = [entry for entry in manifest["files"].values() if not entry.keys() <= {"bytes", "sha256"}]
    if not all(entry.keys() >= _ENTRY and isinstance(entry["from"], dict) for entry in computed):
        raise ValueError("an entry for a file is incomplete")
    return dict(manifest)


def _seal(name: str, entry: dict[str, Any]) -> str:
    """A keyed hash of an entry of the manifest: who does not have the key of this user cannot make it."""
    sealed = [name, {key: value for key, value in entry.items() if key != "seal"}]
    return hmac.digest(_own_key(), json.dumps(sealed, sort_keys=True).encode(), "sha256").hex()


@cache
def _own_key() -> bytes:
    """The key of this user on this machine; where it cannot be kept, another one for each process."""
    path = platformdirs.user_state_path("seefar") / "key"
    with suppress(OSError, RunError):
        if not path.is_file() or path.stat().st_size != KEY_BYTES:
            with written_beside(path) as beside:
                beside.chmod(0o600)
                beside.write_bytes(secrets.token_bytes(KEY_BYTES))
        return read_bytes(path)
    return secrets.token_bytes(KEY_BYTES)


def _name(source: Artifact[Any] | str) -> str:
    return source if isinstance(source, str) else source.name
