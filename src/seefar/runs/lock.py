"""Locks: one process at a time writes into a run folder, and the lock of a dead process does not bind."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from seefar.errors import RunError, next_step

_held: dict[Path, tuple[int, int]] = {}
"""The lock files of this process: the thread that locked each, and its file descriptor."""


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Lock a folder within `with`; True unless this thread has locked it already, further out.

    The system frees the lock when its process ends, however it ends. Where a file system knows no locks nothing is
    locked.

    Raises:
        RunError: another process, or another thread, writes into the folder; or the folder cannot be written to.
    """
    path = folder.resolve() / ".lock"
    if path in _held and _held[path][0] == threading.get_ident():
        yield False
        return
    if path in _held:
        raise RunError(f"Another thread of this process writes into {folder}: wait for it, or choose another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _open_locked(path)
    except OSError as error:
        check_no_link(path)
        raise RunError(
            f"{folder} cannot be written to ({error.strerror or error}). {next_step(error)} or choose another folder."
        ) from error
    if file is None:
        raise RunError(
            f"Another process{_holder(path)} writes into {folder}: wait until it has ended, or choose another folder."
        )
    _held[path] = threading.get_ident(), file
    try:
        with suppress(OSError):  # on a full disk the lock does not say whose it is; it binds nevertheless
            os.truncate(file, 0)
            os.write(file, str(os.getpid()).encode())
        yield True
    finally:
        with suppress(OSError):  # Windows keeps a file that is open
            if not _is_lost(path):
                path.unlink()
        del _held[path]
        os.close(file)


def check_locked(path: Path) -> None:
    """Make sure that the folder above `path` that this process has locked, if there is one, is still the same.

    Raises:
        RunError: it was deleted, moved or replaced, so that another process may write into one of its name.
    """
    if not _held:
        return
    above = set(path.resolve().parents)
    for lock in list(_held):
        if lock.parent in above and _is_lost(lock):
            raise RunError(
                f"{lock.parent} was deleted, moved or replaced while it was written to ({lock.name} is gone, or "
                "another): nothing more is written there. Put it back and do the same again, or do the same again to "
                "begin anew."
            )


def check_no_link(path: Path) -> None:
    """Refuse a link where a file is to be written that keeps what it held, or a folder is: the target would change.

    Raises:
        RunError: `path` is a symbolic link.
    """
    if path.is_symlink():
        raise RunError(
            f"{path} is a link to {os.readlink(path)}, which would be written to, while a file or folder of the run "
            "was wanted there: delete the link."
        )


def _is_lost(lock: Path) -> bool:
    """Whether a lock file of this process is no longer the one it opened."""
    try:
        found, own = lock.stat(), os.fstat(_held[lock][1])
    except FileNotFoundError:
        return True
    except OSError:  # nothing is known
        return False
    return (found.st_dev, found.st_ino) != (own.st_dev, own.st_ino)


def _open_locked(path: Path) -> int | None:
    """The open and locked file, or None if another process has locked it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
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
