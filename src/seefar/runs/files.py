"""Atomic writes: a file is either whole or not there, and a full disk is named with what is kept."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from seefar.errors import RunError, next_step
from seefar.runs.lock import check_locked

PART = ".part-"
"""What the names of files begin with that are not whole yet."""


def half_written(folder: Path) -> Iterator[Path]:
    """What `written_beside` left in a folder when its process was killed; files of the user may begin like it."""
    for path in folder.rglob(f"{PART}*-*"):
        if path.name.removeprefix(PART).partition("-")[0].isdigit() and path.is_file():
            yield path


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` at the end, and vanishes on an error.

    A kill at any moment leaves either the old file or the new one.

    Raises:
        RunError: the file cannot be written, such as on a full disk; or it lies in a folder that this process had
            locked and that was taken away.
    """
    check_locked(path)
    beside = path.with_name(f"{PART}{os.getpid()}-{path.name}")  # the suffix stays: numpy and matplotlib go by it
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        with beside.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        kept = "the file that was there before is kept" if path.is_file() else "every file written before is kept"
        raise RunError(
            f"{path} cannot be written ({error.strerror or error}); {kept}. "
            f"{next_step(error)} and do the same again: it goes on from there."
        ) from error
    finally:
        with suppress(OSError):  # on a disk that cannot be written to; the error that says so is on its way
            beside.unlink(missing_ok=True)


def check_place(folder: Path) -> None:
    """Refuse, before any work, a folder that nothing can be written into; one that is not there yet can be made.

    Raises:
        RunError: it is a file, lies in one, or may not be written to.
    """
    there = next(place for place in (folder, *folder.parents) if place.exists())  # in the end it is . or /
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        why = "may not be written to" if there.is_dir() else "is a file"
        raise RunError(f"Nothing can be written into {folder}, since {there} {why}: choose another folder.")


def write_text(path: Path, text: str) -> None:
    """Put `text` into `path` as UTF-8, whole or not at all.

    Raises:
        RunError: the file cannot be written.
    """
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")


def write_changed(path: Path, text: str) -> None:
    """`write_text`, unless the file holds this text already; then it is left as it is, with its time.

    Raises:
        RunError: the file cannot be written.
    """
    if not path.is_file() or path.read_bytes() != text.encode("utf-8"):
        write_text(path, text)


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is no JSON, or is nested so deeply that nobody can have meant it.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def is_finite_number(value: object) -> bool:
    """Whether a value of JSON is a number that a float holds; `math.isfinite` fails at an integer that is none."""
    return (type(value) is int or type(value) is float) and abs(value) <= sys.float_info.max  # not so for NaN


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        OSError: it is missing or cannot be read.
        ValueError: it is no JSON in UTF-8.
    """
    return parse_json(path.read_text(encoding="utf-8"))
