"""Folders of pictures: which files are pictures of which class, which are skipped, and a split where there is none."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from seefar.data.pictures import picture_suffixes
from seefar.errors import DataError
from seefar.output import printable

PARTS = {"train": ("train", "training"), "test": ("test", "testing"), "val": ("val", "valid", "validation")}
NO_CLASSES = {"__MACOSX", "__pycache__"}
"""Folders that other programs leave behind; those that begin with a dot are none either."""
TEST_SHARE = 0.2


@dataclass(frozen=True)
class File:
    """One picture file.

    Attributes:
        name: relative to the data folder.
        label: index of its class.
        size: in bytes.
        times: when it was written and, which nobody can set, when anything about it was changed, in ns; on Windows
            the second is when it was made.
    """

    name: str
    label: int
    size: int
    times: tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """What a folder holds.

    Attributes:
        classes: names of the K classes, in alphabetical order.
        train, test: the picture files of the two parts, by class and name.
        notes: what was skipped and why, and where the test images come from; one line each.
    """

    classes: tuple[str, ...]
    train: tuple[File, ...]
    test: tuple[File, ...]
    notes: tuple[str, ...]


def read_layout(folder: Path, seed: int = 0) -> Layout:
    """Find the classes and pictures of a folder, without opening any of them.

    The folder holds `train/<class>/` and `test/<class>/`, or `val/<class>/` in its place; or only `train/`, or the
    class folders themselves, and then a fifth of the pictures of each class becomes the test images. Pictures in
    folders within a class folder belong to the class. Hidden files and folders are left alone.

    Args:
        folder: the data folder.
        seed: what the test images are chosen by where they are not given. A picture's part depends on its name and
            this, so that further pictures do not move those that are there.

    Raises:
        DataError: there are fewer than two classes, the parts have different ones, or a class has no picture.
    """
    found = {path.name.lower(): path for path in _class_folders(folder)}
    parts = {part: next((found[name] for name in names if name in found), None) for part, names in PARTS.items()}
    train, given = parts["train"], parts["test"] or parts["val"]
    skipped: Counter[str] = Counter()
    notes = []
    if given is None and train is not None and not _class_folders(train):
        train = None  # a class of that name, such as trains, among others
    if train is None and given is not None:
        raise DataError(f"{folder} holds {given.name}/ but no train/: put the training pictures into train/<class>/.")
    if train is not None and given is not None:
        classes, tested = _class_names(train), _class_names(given)
        if classes != tested:
            odd = ", ".join(printable(name) for name in sorted(set(classes) ^ set(tested)))
            raise DataError(
                f"{folder}: {train.name}/ and {given.name}/ should hold the same classes, they differ in {odd}."
            )
        trained, testing = (_part_files(folder, part, classes, skipped) for part in (train, given))
        if parts["test"] is None:
            notes.append(f"{given.name}/ holds the test images, since there is no test/")
        elif parts["val"] is not None:
            notes.append(f"{parts['val'].name}/ is not used: test/ holds the test images")
    else:
        whole = train or folder
        classes = _class_names(whole)
        files = _part_files(folder, whole, classes, skipped)
        trained, testing = _split(files, classes, seed)
        notes.append(
            f"there is no test/: {len(testing)} of {len(files)} pictures, a fifth of each class chosen by seed "
            f"{seed}, are the test images"
        )
    if skipped:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()))
        notes.append(f"skipped {skipped.total()} files: {reasons}")
    return Layout(classes, trained, testing, tuple(notes))


def _class_folders(folder: Path) -> list[Path]:
    """The folders in it that can be classes or parts, sorted."""
    if not folder.is_dir():
        return []
    return sorted(
        path for path in folder.iterdir() if path.is_dir() and path.name not in NO_CLASSES and path.name[:1] != "."
    )


def _class_names(part: Path) -> tuple[str, ...]:
    names = tuple(path.name for path in _class_folders(part))
    if len(names) < 2:
        found = ", ".join(printable(name) for name in names) or "none"
        raise DataError(f"{part} should hold one folder of pictures for each class, at least two; found {found}.")
    return names


def _part_files(folder: Path, part: Path, classes: Sequence[str], skipped: Counter[str]) -> tuple[File, ...]:
    with os.scandir(part) as entries:
        outside = sum(entry.is_file() and entry.name[0] != "." for entry in entries)
    if outside:
        skipped["outside the class folders"] += outside
    files: list[File] = []
    for label, name in enumerate(classes):
        before = len(files)
        files += _pictures(folder, part / name, label, skipped)
        if len(files) == before:
            raise DataError(
                f"{part.name}/{printable(name)} in {folder} holds no picture: put some in, or remove the folder."
            )
    return tuple(files)


def _pictures(folder: Path, place: Path, label: int, skipped: Counter[str]) -> Iterator[File]:
    """The pictures in a class folder and in the folders within it, in the order of their names."""
    with os.scandir(place) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if entry.name[0] == "." or entry.name in NO_CLASSES:
            continue
        path = place / entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _pictures(folder, path, label, skipped)
        elif entry.is_dir():
            skipped["links to folders"] += 1
        elif path.suffix.lower() not in picture_suffixes():
            skipped[printable(path.suffix.lower()) or "without an ending"] += 1
        elif not entry.is_file():
            skipped["broken links"] += 1
        else:
            about = entry.stat()
            times = about.st_mtime_ns, about.st_ctime_ns
            yield File(path.relative_to(folder).as_posix(), label, about.st_size, times)


def _split(files: Sequence[File], classes: Sequence[str], seed: int) -> tuple[tuple[File, ...], tuple[File, ...]]:
    """Set a fifth of each class aside, at least one picture; both parts keep the order."""

    def drawn(file: File) -> bytes:
        return hashlib.sha256(os.fsencode(f"{seed} {file.name}")).digest()

    aside: set[str] = set()
    for label, name in enumerate(classes):
        own = sorted((file for file in files if file.label == label), key=drawn)
        if len(own) < 2:
            raise DataError(
                f"The class {printable(name)} has one picture: without a test/ folder at least two are needed."
            )
        aside |= {file.name for file in own[: max(1, round(TEST_SHARE * len(own)))]}
    return tuple(f for f in files if f.name not in aside), tuple(f for f in files if f.name in aside)
