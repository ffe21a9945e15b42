"""Locks: one process at a time writes into a run folder, and the lock of a dead process does not bind."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from seefar.errors import RunError

_held: dict[Path, int] = {}
"""The folders that this process has locked, and the thread that did."""


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Lock a folder within `with`; True unless this thread has locked it already, further out.

    The system frees the lock when its process ends, however it ends. Where a file system knows no locks nothing is
    locked.

    Raises:
        RunError: another process, or another thread, writes into the folder; or the folder cannot be written to.
    """
    path = folder.resolve() / ".lock"
    if _held.get(path) == threading.get_ident():
        yield False
        return
    if path in _held:
        raise RunError(f"Another thread of this process writes into {folder}: wait for it, or choose another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _open_locked(path)
    except OSError as error:
        raise RunError(
            f"{folder} cannot be written to ({error.strerror or error}): make it writable, or choose another folder."
        ) from error
    if file is None:
        raise RunError(
            f"Another process{_holder(path)} writes into {folder}: wait until it has ended, or choose another folder."
        )
    _held[path] = threading.get_ident()
    try:
        os.truncate(file, 0)
        os.write(file, str(os.getpid()).encode())
        yield True
    finally:
        del _held[path]
        with suppress(OSError):  # Windows keeps a file that is open
            path.unlink()
        os.close(file)


def _open_locked(path: Path) -> int | None:
    """The open and locked file, or None if another process has locked it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(file):
                os.close(file)
                return None
            if os.fstat(file).st_ino == path.stat().st_ino:
                return file
        except FileNotFoundError:
            pass  # whoever had locked it has just ended, and took the file away
        os.close(file)


def _lock(file: int) -> bool:
    """Whether the lock could be had."""
    if sys.platform == "win32":
        import msvcrt

        try:
            os.lseek(file, 1 << 20, os.SEEK_SET)  # behind the text, which stays readable
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
            os.lseek(file, 0, os.SEEK_SET)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not inherited by workers, which may outlive their parent
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True  # a file system without locks
    return True


def _holder(path: Path) -> str:
    try:
        return f" ({int(path.read_text())})"
    except (OSError, ValueError):
        return ""
