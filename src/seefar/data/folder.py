"""Labelled pictures: folders by class and tables, with a cache of decoded images; torch and Hugging Face data sets."""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seefar.choices import BUILT_IN, Fit
from seefar.data.images import Data, Images, ImageSize, Split, both, correct_labels
from seefar.data.pictures import (
    OTHER_PROGRAMS,
    Values,
    describe_scale,
    find_pictures,
    full_scale,
    read_all,
    read_picture,
    unreadable,
)
from seefar.errors import DataError, RunError, counted, printable
from seefar.progress import Progress, showing
from seefar.runs.files import cache_folder, expanded, read_json, read_table, write_text, written_beside
from seefar.runs.store import locked

PARTS = {
    part: re.compile(rf"(?:^|.*[^a-z])(?:{words})(?:set|data|images)?(?:[^a-z].*)?")
    for part, words in {"train": "train|training", "test": "test|testing", "val": "val|valid|validation"}.items()
}
"""The names in lower case that each part may have, such as `train`, `training_set`, `seg_train`, `test1`."""
SMALLEST, LARGEST = 16, 512
"""Height and width of the resized pictures, in pixels."""
TEST_SHARE = 0.2
LONGEST_WAIT = 3600.0
"""Seconds to wait for another process that decodes the same pictures."""
SEED = 0
"""Seed of the test split of a folder without test images."""
FORM = "5"
"""Part of the cache key: raise it when the conversion of pictures changes."""
CORRECTIONS = "notes.csv"
CACHED = 8
"""Decoded data sets in the cache; the oldest is deleted first."""


class File(NamedTuple):
    """One picture file: its name relative to the data folder, the name of its class, and its `state` on the disk.

    The state is its size in bytes, and in ns the times of the last change of its content, and of the last change of
    any kind, which no program can set (on Windows that of its creation).
    """

    name: str
    label: str
    state: tuple[int, int, int]


class Layout(NamedTuple):
    """The pictures of a folder: its classes in order, the files of both parts, and notes of one line each."""

    classes: tuple[str, ...]
    train: tuple[File, ...]
    test: tuple[File, ...]
    notes: tuple[str, ...]


def load_folder(
    folder: str | Path,
    image_size: ImageSize = 32,
    fit: Fit = "crop",
    *,
    to_judge: bool = False,
    classes: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Data:
    """Read a folder of pictures by class; every picture becomes RGB of `image_size` pixels.

    The arguments are those of `seefar.load_data`; names of the parts are in `PARTS`, tables in `read_labels`. White in
    pictures of more than 8 bits is one value for all of them. The decoded images are cached, and mapped into memory the
    next time if names, sizes and times of the files are the same. A `notes.csv` in the folder, as the report exports
    it, corrects labels of test images. A `DataError` names all files that cannot be read.
    """
    if not all(SMALLEST <= side <= LARGEST for side in both(image_size)):
        raise DataError(f"image_size must be {SMALLEST} to {LARGEST} pixels (got {image_size}).")
    folder = expanded(folder)
    is_table = folder.suffix.lower() == ".csv" and not folder.is_dir()
    if not is_table and not folder.is_dir():
        raise DataError(
            f"There is no data set {str(folder)!r}: choose {', '.join(BUILT_IN)}, or the path of a folder that exists, "
            "with one folder of pictures for each class, or of a .csv of paths and labels."
        )
    layout = (read_labels if is_table else read_layout)(folder, to_judge)
    names = tuple(classes or layout.classes)
    number_of = {name: number for number, name in enumerate(names)}
    if odd := [printable(name) for name in layout.classes if name not in number_of]:
        raise DataError(f"The classes must be {', '.join(names[:20])} (got {', '.join(odd)}).")
    if len(names) < 2 or not layout.test:
        class_names = ", ".join(map(printable, layout.classes)) or "none"
        raise DataError(
            f"{folder} must have pictures of at least two classes, in one folder (not a link) for each or with a "
            f"label for each (got {class_names})."
        )
    trained, tested = ({file.label for file in part} for part in (layout.train, layout.test))
    if classes is None and trained and trained != tested:
        odd = [printable(name) for name in sorted(trained ^ tested)]
        raise DataError(f"{folder}: both parts must have the same classes; they differ in {', '.join(odd)}.")
    files = (*layout.train, *layout.test)
    cache = cache_folder() / "pictures"
    with showing(progress) as shown:
        images, done = _decoded(folder.parent if is_table else folder, files, image_size, fit, cache, shown)
        parts = []
        for own, start in ((layout.train, 0), (layout.test, len(layout.train))):
            paths = tuple(os.fsencode(file.name).decode("utf-8", "replace") for file in own)
            labels = np.array([number_of[file.label] for file in own], dtype=np.int64)
            parts.append(Split(images[start : start + len(own)], labels, names, files=paths))
        train, test = parts
        notes = [*layout.notes, *done]
        if (corrections := folder / CORRECTIONS).is_file():
            labels = test.labels
            test = correct_labels(test, corrections)
            changed = int((test.labels != labels).sum())
            notes.append(f"{counted(changed, 'label')} of test images corrected by {CORRECTIONS}")
        for note in notes:
            shown.line(f"{printable(str(folder))}: {note}")
    return Data(str(folder), train, test, tuple(notes))


def read_layout(folder: Path, to_judge: bool) -> Layout:
    """Find the classes and the visible pictures of a folder of `load_folder`, without opening any of them."""
    skipped: Counter[str] = Counter()
    inside = _class_folders(folder)
    parts = _parts(folder, inside)
    train, test = parts.get("train"), parts.get("test") or parts.get("val")
    notes: list[str] = []
    if train is None and test is not None and not to_judge:
        raise DataError(f"{folder} holds {test.name}/ but no train/: put the training pictures into train/<class>/.")
    if train is not None and test is not None:
        trained, testing = (_part_files(folder, part, skipped) for part in (train, test))
        if "test" not in parts:
            notes.append(f"{test.name}/ holds the test images, since there is no test/")
    else:
        trained, testing, note = _divide(_part_files(folder, train or test or folder, skipped), to_judge)
        notes.append(note)
    unused = [path for path in inside if parts and not {path, _inner(path)} & {train, test}]
    if unused:
        notes.append(f"not used, beside the parts: {', '.join(printable(path.name) for path in unused)}")
    reasons = ", ".join(f"{number} {reason}" for reason, number in sorted((+skipped).items()))
    if reasons:
        notes.append(f"skipped: {reasons}")
    classes = sorted({file.label for file in (*trained, *testing)})
    return Layout(tuple(classes), tuple(trained), tuple(testing), tuple(notes))


def read_labels(table: Path, to_judge: bool) -> Layout:
    """Find the classes and pictures of a CSV file with one line for each picture: its path, and its label.

    The column of paths is the first one with a file of the CSV's folder. The column of labels is
    called `label` or `class`, or is the only other one.
    """
    rows = read_table(table)
    columns = range(len(rows[0]) if rows else 0)
    at = next((n for n in columns if any(row[n] and (table.parent / row[n]).is_file() for row in rows)), None)
    if at is None or len(columns) < 2:
        raise DataError(
            f"{table} must have one picture in each line: its path relative to {table.parent}, and its label "
            f"(got {', '.join(map(printable, rows[-1])) if rows else 'no line'} in its last line)."
        )
    titles = {title.strip().lower(): n for n, title in enumerate(rows[0])}
    others = [n for n in columns if n != at]
    label = titles.get("label", titles.get("class", others[0] if len(others) == 1 else None))
    if label is None:
        raise DataError(f"{table} has {len(rows[0])} columns: name the column of the labels `label`.")
    if "." not in rows[0][at]:  # a title, not a file
        rows = rows[1:]
    names = sorted({row[label] for row in rows}, key=lambda name: (int(name), "") if name.isdecimal() else (0, name))
    files = []
    for row in rows:
        if not (table.parent / row[at]).is_file():
            raise DataError(f"{table} lists {printable(row[at])}, which is not a file in {table.parent}.")
        files.append(_file(table.parent, row[at], row[label]))
    train, test, note = _divide(files, to_judge)
    return Layout(tuple(names), tuple(train), tuple(test), (note,))


def _file(folder: Path, name: str, label: str) -> File:
    status = (folder / name).stat()
    return File(name, label, (status.st_size, status.st_mtime_ns, status.st_ctime_ns))


def _parts(folder: Path, inside: Sequence[Path]) -> dict[str, Path]:
    """The folders of the parts, by the keys of `PARTS`; none where the folders in it are the classes."""
    named = {path: part for part, pattern in PARTS.items() for path in inside if pattern.fullmatch(path.name.lower())}
    within = {path: [child.name for child in _class_folders(_inner(path))] for path in inside}
    parts: dict[str, Path] = {}
    unclear = False
    for path, part in named.items():
        if len(within[path]) > 1 or len(named) == len(inside) > 1 or (path.name.lower() == part and part != "train"):
            unclear |= part in parts
            parts[part] = path
    others = [within[path] for path in inside if path not in parts.values()]
    if not parts:  # folders that hold the same folders are parts
        unclear |= len(others) > 1 and len(others[0]) > 1 and all(names == others[0] for names in others)
    elif list(parts) == ["train"]:  # a class may be called train, and hold folders
        unclear |= not all(len(names) > 1 for names in others)
    if unclear:
        names = ", ".join(printable(path.name) for path in inside)
        raise DataError(
            f"{folder}: it is unclear which of {names} are parts and which are classes: name the folders of "
            "the parts train, test and val, each with one folder of pictures per class."
        )
    return {part: _inner(path) for part, path in parts.items()}


def _inner(path: Path) -> Path:
    """The folder in it if it is the only one, as in `train/train/<class>/`."""
    inside = _class_folders(path)
    return inside[0] if len(inside) == 1 and _class_folders(inside[0]) else path


def _class_folders(folder: Path) -> list[Path]:
    """The folders in it that can be classes or parts, sorted: no links, hidden ones, or those of other programs."""
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.is_symlink()]
    return [path for path in inside if path.name[0] != "." and path.name.lower() not in OTHER_PROGRAMS]


def _part_files(folder: Path, part: Path, skipped: Counter[str]) -> list[File]:
    """The pictures of all classes; names in composed Unicode form (NFC), since macOS decomposes them."""
    own: dict[Path, list[Path]] = {path: [] for path in _class_folders(part)}
    for path in find_pictures(part, skipped):
        if path.parent == part:
            skipped["outside the class folders"] += 1
        elif not path.is_file():
            skipped["broken links or not regular files"] += 1
        else:
            own[part / path.relative_to(part).parts[0]].append(path)
    if part == folder and (folder / CORRECTIONS).is_file():
        skipped[".csv"] -= 1  # it is read
    files: list[File] = []
    for label, class_folder in sorted((unicodedata.normalize("NFC", path.name), path) for path in own):
        if not own[class_folder]:
            raise DataError(
                f"{part.name}/{printable(class_folder.name)} in {folder} holds no picture: add some, or remove the "
                "folder."
            )
        files += [_file(folder, path.relative_to(folder).as_posix(), label) for path in own[class_folder]]
    return files


def _divide(files: list[File], to_judge: bool) -> tuple[list[File], list[File], str]:
    """Training and test images, a fifth of each class, where no part is named `test`, and a line about it."""
    if to_judge:
        return [], files, f"all are test images: {counted(len(files), 'picture')}"

    def drawn(file: File) -> bytes:
        return hashlib.sha256(os.fsencode(f"{SEED} {file.name}")).digest()

    aside: set[str] = set()
    for label in dict.fromkeys(file.label for file in files):
        own = sorted((file for file in files if file.label == label), key=drawn)
        if len(own) < 2:
            raise DataError(
                f"The class {printable(label)} has one picture: without a test/ folder at least two are needed."
            )
        aside |= {file.name for file in own[: max(1, round(TEST_SHARE * len(own)))]}
    note = f"{len(aside)} of {len(files)} pictures, a fifth of each class chosen by seed {SEED}, are the test images"
    trained, testing = ([f for f in files if (f.name in aside) == is_test] for is_test in (False, True))
    return trained, testing, f"there is no test/: {note}"


def _decoded(
    folder: Path, files: Sequence[File], image_size: ImageSize, fit: Fit, cache: Path, shown: Progress
) -> tuple[Images, tuple[str, ...]]:
    """All pictures as uint8 (N, H, W, 3), and notes on their conversion, one line each."""
    import PIL

    size = both(image_size)
    shape = (len(files), *size, 3)
    key = hashlib.sha256(f"{FORM} {PIL.__version__} {shape} {fit}\n".encode())
    for file in files:
        key.update(os.fsencode(f"{file.name}\0{file.state}\n"))
    stem = cache / key.hexdigest()[:40]
    pixels, record = stem.with_suffix(".raw"), stem.with_suffix(".json")
    if (known := _cached(pixels, record, shape)) is not None:
        return known
    with suppress(RunError, OSError), locked(cache, shown, wait=LONGEST_WAIT):
        # Another process, such as one of the same distributed training, may have decoded them in the meantime.
        if (known := _cached(pixels, record, shape)) is not None:
            return known
        with written_beside(pixels) as beside, beside.open("r+b") as decoded:

            def put(number: int, image: Images) -> None:
                decoded.seek(number * image.nbytes)
                decoded.write(image.tobytes())

            notes = _decode(folder, files, size, fit, put, shown)
        write_text(record, json.dumps({"notes": notes, "checksum": _checksum(pixels)}) + "\n")  # last: it is complete
        newest_first = sorted(cache.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in newest_first[CACHED:]:
            old.unlink(missing_ok=True)
            old.with_suffix(".raw").unlink(missing_ok=True)
        return _mapped(pixels, shape), notes
    # The disk is full or read-only: the pictures stay in memory.
    images = np.empty(shape, np.uint8)
    return images, _decode(folder, files, size, fit, images.__setitem__, shown)


def _cached(pixels: Path, record: Path, shape: tuple[int, ...]) -> tuple[Images, tuple[str, ...]] | None:
    """The images and notes in the cache; None if they are absent or damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        recorded = read_json(record)
        if recorded["checksum"] == _checksum(pixels):
            return _mapped(pixels, shape), tuple(map(str, recorded["notes"]))
    return None


def _mapped(pixels: Path, shape: tuple[int, ...]) -> Images:
    """The images in a file, which are read on use; changes stay in memory."""
    return np.asarray(np.memmap(pixels, np.uint8, "c", shape=shape))


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _decode(
    folder: Path,
    files: Sequence[File],
    size: tuple[int, int],
    fit: Fit,
    put: Callable[[int, Images], None],
    shown: Progress,
) -> tuple[str, ...]:
    """Read all pictures, `put` each by its number, and return notes on their conversion.

    Pictures of more than 8 bits that were read with another white than that of all are read again.
    """
    cut: dict[int, float] = {}
    wide: dict[int, Values] = {}

    def read(numbers: Sequence[int], scale: tuple[float, float] | None, stage: str) -> None:
        bad = []
        pictures = read_all([folder / files[number].name for number in numbers], size, fit, scale)
        for done, (number, picture) in enumerate(zip(numbers, pictures, strict=True), 1):
            if isinstance(picture, DataError):
                bad.append(str(picture))
                continue
            put(number, picture.image)
            if picture.cut_off:
                cut[number] = picture.cut_off
            if picture.values:
                wide[number] = picture.values
            shown.update(stage, done, len(numbers))
        if bad:
            raise unreadable(bad, len(files), f" in {printable(str(folder))}")

    read(range(len(files)), None, "reading pictures")
    notes = []
    for floats in (False, True):
        alike = {number: values for number, values in wide.items() if values.floats == floats}
        if alike:
            lows, highs = zip(*((values.low, values.high) for values in alike.values()), strict=True)
            scale = full_scale(Values(floats, min(lows), max(highs)))
            read([number for number in alike if full_scale(wide[number]) != scale], scale, "scaling pictures")
            notes.append(f"{counted(len(alike), 'picture')}: {describe_scale(scale, floats)}")
    if cut:
        worst = max(cut, key=lambda number: cut[number])
        notes.append(
            f"{len(cut)} of {len(files)} pictures have another shape: their centre is used, and "
            f"{sum(cut.values()) / len(cut):.0%} of their pixels are cut off (at most {cut[worst]:.0%}, of "
            f"{printable(files[worst].name)})"
        )
    return tuple(notes)


def load_split(
    source: Any,
    image_size: ImageSize = 224,
    fit: Fit = "crop",
    *,
    classes: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Split:
    """Labelled pictures as a `Split`; arrays become one with `seefar.Split(images, labels, classes)`.

    `source` is the path of a folder by class or of a CSV file of paths and labels; or a data set with a length: a torch
    one of pairs (picture, label), or a Hugging Face one, whose columns are known by its features. Pictures are PIL
    images, uint8 arrays (H, W, 3), or tensors (3, H, W), uint8 or float in 0 to 1. `classes` are in the order of the
    labels; by default those of the source, else the labels. The other arguments are those of `seefar.load_data`. A
    `DataError` if the source is none of these, or a picture or label cannot be used.
    """
    if isinstance(source, str | Path):
        return load_folder(source, image_size, fit, to_judge=True, classes=classes, progress=progress).test
    if not hasattr(source, "__getitem__") or not hasattr(source, "__len__") or not len(source):
        raise DataError(
            f"A {type(source).__name__} is not a source of labelled pictures: pass a path, or a data set with a length "
            "that gives (picture, label)."
        )
    picture, label, named = _described(source)
    images = np.empty((len(source), *both(image_size), 3), np.uint8)
    labels = []
    with showing(progress) as shown:
        for number in range(len(source)):  # not by iteration, which of a torch data set ends at an IndexError only
            row = source[number]
            images[number] = read_picture(_in_memory(row[picture], number), image_size, fit).image
            labels.append(row[label].item() if hasattr(row[label], "item") else row[label])
            shown.update("reading pictures", number + 1, len(images))
    named = classes or named
    names = [str(name) for name in named or sorted(set(labels))]
    if not named or not isinstance(labels[0], int | np.integer):
        number_of = {name: number for number, name in enumerate(names)}
        if odd := {str(label) for label in labels} - number_of.keys():
            raise DataError(f"The labels must be {', '.join(names)} (got {', '.join(sorted(odd)[:5])}).")
        labels = [number_of[str(label)] for label in labels]
    return Split(images, labels, tuple(names))  # type: ignore[arg-type]  # a list becomes an array


def _described(source: Any) -> tuple[Any, Any, Sequence[str] | None]:
    """The keys of picture and label in a row of a data set, and the names of its classes, if it has them."""
    features = getattr(source, "features", None)
    if not isinstance(features, dict):
        return 0, 1, getattr(source, "classes", None)
    of_kind = {type(features[name]).__name__: name for name in reversed(features)}
    label = of_kind.get("ClassLabel", "label")
    if "Image" not in of_kind or label not in features:
        raise DataError(f"The data set must have columns of pictures and labels (got {', '.join(features)}).")
    return of_kind["Image"], label, getattr(features[label], "names", None)


def _in_memory(picture: Any, number: int) -> Any:
    """A picture as PIL or as an array (H, W, 3); tensors have their channels first."""
    if not hasattr(picture, "detach"):
        return picture
    array: Images = picture.detach().cpu().numpy()
    if array.ndim != 3 or len(array) not in (1, 3):
        raise DataError(f"Picture {number} must be a tensor (3, H, W) (got {array.shape}).")
    if array.dtype != np.uint8:
        if not 0 <= array.min() <= array.max() <= 1:
            raise DataError(f"Picture {number} must be in 0 to 1: leave the normalisation to `seefar.adapt`.")
        array = (255 * array).round().astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(array, (3, *array.shape[1:])).transpose(1, 2, 0))
