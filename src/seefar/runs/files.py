"""Files: read only if regular and of a sane size, written atomically and durably."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

import platformdirs

from seefar.errors import DataError, RunError, counted, not_written

TEXT_LIMIT = 64 << 20
"""Bytes: no JSON, CSV or log of a run comes near it, and a file of holes or a device must not fill the memory."""

FILE_LIMIT = 2 << 30
"""Bytes of any other file. A page of memory on the disk can look like terabytes of zeros."""

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # otherwise opening a FIFO waits for its writer forever
_TEMPORARY = re.compile(r"\.part-[0-9a-f]{16}-.+")


def cache_folder() -> Path:
    """The folder of what can be computed again: the environment variable SEEFAR_CACHE, else the user's cache folder."""
    return Path(os.environ.get("SEEFAR_CACHE") or platformdirs.user_cache_path("seefar"))


def expanded(path: str | Path) -> Path:
    """The path with `~` as the user's home; unlike in pathlib, a path with an unknown user is unchanged."""
    return Path(os.path.expanduser(path))


def open_regular(path: str | Path, limit: int = FILE_LIMIT, *, follow: bool = True) -> BufferedReader:
    """Open a regular file for reading; every file from a run folder or an argument is opened here.

    An `OSError` if it is missing, no regular file, or larger than `limit` bytes. No file inside a run folder may be a
    link (`follow`), since an untrusted folder could name any file of this machine.
    """
    return os.fdopen(_open(path, os.O_RDONLY | (0 if follow else _NO_FOLLOW), limit), "rb")


def open_to_append(path: str | Path) -> BinaryIO:
    """Open a regular file to write at its end, or create it.

    An `OSError` if it is a link, or has a second name, which may be that of any file of this machine.
    """
    return os.fdopen(_open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _NO_FOLLOW, names=1), "ab")


def _open(path: str | Path, flags: int, limit: int = FILE_LIMIT, names: int = 1 << 62) -> int:
    descriptor = os.open(path, flags | _NO_WAIT | getattr(os, "O_BINARY", 0), 0o666)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", str(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        if status.st_nlink > names:
            raise OSError(errno.EMLINK, "It has a second name (a hard link)", str(path))
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"It has {status.st_size:,} bytes; at most {limit:,} are read", str(path))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_bytes(path: str | Path, limit: int = TEXT_LIMIT, *, follow: bool = True) -> bytes:
    """The content of a regular file, see `open_regular`."""
    with open_regular(path, limit, follow=follow) as file:
        return file.read()


def read_json(path: str | Path, *, follow: bool = True) -> Any:
    """The value in a JSON file; OSError: see `open_regular`; ValueError: it is not JSON in UTF-8."""
    return parse_json(read_bytes(path, follow=follow).decode("utf-8"))


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text; ValueError: it is not JSON, or is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_table(path: str | Path) -> list[list[str]]:
    """The lines of a CSV file without the empty ones; separated by comma, semicolon or tab. Else a `DataError`."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
        first = text.split("\n", 1)[0]
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=max(",;\t", key=first.count)) if row]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV in UTF-8 ({error}).") from error
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise DataError(f"{path} has {counted(len(row), 'cell')} in line {number} and {len(rows[0])} in its first.")
    return rows


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it replaces `path` at the end, and is removed on an error.

    A crash or a power cut at any moment leaves either the old file or the new one: the content is on the disk before
    the rename, and the rename before this returns. A `RunError` if it cannot be written, such as on a full disk.
    """
    # A random name that must be new: nothing in the folder already, such as a link, is written through.
    # The suffix stays, since numpy and matplotlib choose the format by it.
    beside = path.with_name(f".part-{secrets.token_hex(8)}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _NO_FOLLOW, 0o666))
        yield beside
        sync(beside)
        os.replace(beside, path)
        sync(path.parent)
    except OSError as error:
        raise not_written(path, error) from error
    finally:
        with suppress(OSError):  # on a disk that cannot be written to; its own error is raised anyway
            beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically, see `written_beside`."""
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, are on the disk; a missing file is ignored."""
    if path.is_dir() and os.name == "nt":  # Windows opens no folder
        return
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_temporary(*folders: Path) -> None:
    """Remove the files that an interrupted `written_beside` left directly in these folders, links included."""
    for folder in folders:
        with suppress(OSError):
            for entry in list(os.scandir(folder)):
                if _TEMPORARY.fullmatch(entry.name) and not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.path)


def check_place(folder: Path) -> None:
    """Refuse, before any work, a folder that cannot be written to; a missing one can be created."""
    existing = next(candidate for candidate in (folder, *folder.parents) if candidate.exists())  # in the end . or /
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        why = "may not be written to" if existing.is_dir() else "is a file"
        raise RunError(f"Nothing can be written into {folder}, since {existing} {why}: choose another folder.")
