"""Folders of pictures: the files of each class, a split where there is none, decoding, a cache of decoded images."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seefar.data.cifar10 import user_cache
from seefar.data.images import Data, Images, Split
from seefar.data.pictures import NO_CLASSES, Picture, picture_suffixes, read_picture, unreadable
from seefar.errors import DataError, RunError, printable
from seefar.progress import Progress, showing
from seefar.runs.files import read_json, write_text, written_beside

PARTS = {"train": ("train", "training"), "test": ("test", "testing"), "val": ("val", "valid", "validation")}
"""The names that a folder of each part may have."""
TEST_SHARE = 0.2
SEED = 0
"""Chooses the test images of a folder that has none."""
FORM = "2"
"""Part of the cache key: raise it when pictures are converted in another way."""
PART = 1_000
"""Pictures that wait for a thread at once."""
CACHED = 8
"""Decoded data sets in the cache; the least recently used is deleted first."""


@dataclass(frozen=True)
class File:
    """One picture file.

    Attributes:
        name: relative to the data folder.
        label: index of its class.
        size: in bytes.
        times: when its content and, which no program can set, when anything about it was last changed, in ns; on
            Windows the second is its creation.
    """

    name: str
    label: int
    size: int
    times: tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """The pictures of a folder.

    Attributes:
        classes: names of the K classes, in alphabetical order.
        train, test: the picture files of the two parts, by class and name.
        notes: what was skipped and why, and where the test images come from; one line each.
    """

    classes: tuple[str, ...]
    train: tuple[File, ...]
    test: tuple[File, ...]
    notes: tuple[str, ...]


def load_folder(
    folder: str | Path,
    image_size: int = 32,
    *,
    progress: Progress | None = None,
) -> Data:
    """Read a folder of pictures by class; every picture becomes RGB of `image_size` x `image_size` pixels.

    The folder holds `train/<class>/` and `test/<class>/` (or `val/<class>/`, see `PARTS`), or only class folders,
    of which a fifth of the pictures is set aside for the test. Every format that Pillow reads is read, also in
    folders within a class folder; `read_picture` describes the treatment of sizes and modes. The decoded images are
    cached, and mapped into memory the next time if names, sizes and times of the files are the same. A picture
    replaced by one of the same size and time is noticed if the system records when a file was last changed, which
    Windows does not.

    Args:
        folder: the data folder.
        image_size: height and width in pixels, 16 to 96.
        progress: see `seefar.progress`. Each of the data's `notes` is a line.

    Raises:
        DataError: classes or pictures are missing, or some files cannot be read; all of them are named.
    """
    if not 16 <= image_size <= 96:
        raise DataError(f"image_size must be 16 to 96 pixels (got {image_size}).")
    folder = Path(folder)
    layout = read_layout(folder)
    files = (*layout.train, *layout.test)
    with showing(progress) as shown:
        images, cropped = _decoded(folder, files, image_size, cache_folder(), shown)
        notes = layout.notes
        if cropped:
            notes += (f"{cropped} of {len(files)} pictures are not square: of these the centre square is used",)
        for note in notes:
            shown.line(f"{printable(str(folder))}: {note}")
    parts = []
    for own, start in ((layout.train, 0), (layout.test, len(layout.train))):
        names = tuple(os.fsencode(file.name).decode("utf-8", "replace") for file in own)
        labels = np.array([file.label for file in own], dtype=np.int64)
        parts.append(Split(images[start : start + len(own)], labels, layout.classes, files=names))
    return Data(str(folder), parts[0], parts[1], notes)


def cache_folder() -> Path:
    """The folder of decoded pictures: the environment variable SEEFAR_CACHE, else the user's cache folder."""
    return Path(os.environ.get("SEEFAR_CACHE") or user_cache()) / "pictures"


def read_layout(folder: Path) -> Layout:
    """Find the classes and pictures of a folder, without opening any of them.

    The layouts are those of `load_folder`. The split of a folder without test images depends on the pictures' names
    alone, so further pictures do not move the others. Hidden files and folders are ignored.

    Raises:
        DataError: there are fewer than two classes, the parts have different classes, or a class has no picture.
    """
    found = {path.name.lower(): path for path in _class_folders(folder)}
    train, test, val = (next((found[name] for name in names if name in found), None) for names in PARTS.values())
    given = test or val
    skipped: Counter[str] = Counter()
    notes = []
    if given is None and train is not None and not _class_folders(train):
        train = None  # a class of that name, such as "train", among others
    if train is None and given is not None:
        raise DataError(f"{folder} holds {given.name}/ but no train/: put the training pictures into train/<class>/.")
    if train is not None and given is not None:
        classes, tested = _class_names(train), _class_names(given)
        if classes != tested:
            odd = ", ".join(printable(name) for name in sorted(set(classes) ^ set(tested)))
            raise DataError(
                f"{folder}: {train.name}/ and {given.name}/ must have the same classes; they differ in {odd}."
            )
        trained, testing = (_part_files(folder, part, classes, skipped) for part in (train, given))
        if test is None:
            notes.append(f"{given.name}/ holds the test images, since there is no test/")
        elif val is not None:
            notes.append(f"{val.name}/ is not used: test/ holds the test images")
    else:
        whole = train or folder
        classes = _class_names(whole)
        files = _part_files(folder, whole, classes, skipped)
        trained, testing = _split(files, classes)
        notes.append(
            f"there is no test/: {len(testing)} of {len(files)} pictures, a fifth of each class chosen by seed "
            f"{SEED}, are the test images"
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
        raise DataError(f"{part} must hold one folder of pictures per class, at least two (got {found}).")
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
                f"{part.name}/{printable(name)} in {folder} holds no picture: add some, or remove the folder."
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
            skipped["broken links or no regular files"] += 1
        else:
            about = entry.stat()
            times = about.st_mtime_ns, about.st_ctime_ns
            yield File(path.relative_to(folder).as_posix(), label, about.st_size, times)


def _split(files: Sequence[File], classes: Sequence[str]) -> tuple[tuple[File, ...], tuple[File, ...]]:
    """Set a fifth of each class aside, at least one picture; both parts keep the order."""

    def drawn(file: File) -> bytes:
        return hashlib.sha256(os.fsencode(f"{SEED} {file.name}")).digest()

    aside: set[str] = set()
    for label, name in enumerate(classes):
        own = sorted((file for file in files if file.label == label), key=drawn)
        if len(own) < 2:
            raise DataError(
                f"The class {printable(name)} has one picture: without a test/ folder at least two are needed."
            )
        aside |= {file.name for file in own[: max(1, round(TEST_SHARE * len(own)))]}
    return tuple(f for f in files if f.name not in aside), tuple(f for f in files if f.name in aside)


def _decoded(folder: Path, files: Sequence[File], image_size: int, cache: Path, shown: Progress) -> tuple[Images, int]:
    """All pictures as uint8 (N, size, size, 3), and how many of them were not square."""
    import PIL

    key = hashlib.sha256(f"{FORM} {PIL.__version__} {image_size}\n".encode())
    for file in files:
        key.update(os.fsencode(f"{file.name}\0{file.size} {file.times}\n"))
    stem = cache / key.hexdigest()[:40]
    pixels, record = stem.with_suffix(".raw"), stem.with_suffix(".json")
    shape = (len(files), image_size, image_size, 3)
    with suppress(OSError, ValueError, KeyError, TypeError):  # absent or damaged: decode again
        about = read_json(record)
        images = np.asarray(np.memmap(pixels, np.uint8, "c", shape=shape))  # copy on write: the file never changes
        if about["crc32"] == zlib.crc32(images.data):
            with suppress(OSError):
                os.utime(record)
            return images, about["cropped"]
    images = np.empty(shape, np.uint8)
    cropped = _decode(folder, files, image_size, images, shown)
    with suppress(RunError, OSError):  # the disk is full or read-only: the next start decodes again
        with written_beside(pixels) as beside:
            images.tofile(beside)
        about = {"cropped": cropped, "crc32": zlib.crc32(images.data)}
        write_text(record, json.dumps(about) + "\n")  # last, so that it stands for a complete array
        _forget_oldest(cache)
    return images, cropped


def _decode(folder: Path, files: Sequence[File], image_size: int, images: Images, shown: Progress) -> int:
    """Read all pictures into `images`; the number of those that were not square."""
    bad: list[str] = []
    cropped = 0

    def read(file: File) -> Picture | DataError:
        try:
            return read_picture(folder / file.name, image_size)
        except DataError as error:
            return error

    # Pillow decodes and resizes outside Python's lock, so threads are enough; they end before any training begins.
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1), "pictures") as pool:
        warnings.simplefilter("ignore")  # of damaged metadata, one for each picture
        try:
            for start in range(0, len(files), PART):  # all at once, a million files would wait in 2 GB
                for number, found in enumerate(pool.map(read, files[start : start + PART]), start):
                    if isinstance(found, DataError):
                        bad.append(str(found))
                    else:
                        images[number] = found.image
                        cropped += found.is_cropped
                    shown.update("reading pictures", number + 1, len(files))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the rest
            raise
    if bad:
        raise unreadable(bad, len(files), f" in {printable(str(folder))}")
    return cropped


def _forget_oldest(cache: Path) -> None:
    newest_first = sorted(cache.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for about in newest_first[CACHED:]:
        about.unlink(missing_ok=True)
        about.with_suffix(".raw").unlink(missing_ok=True)
