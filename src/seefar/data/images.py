"""Data sets: uint8 images, integer labels, class names; checked once, with a fingerprint of their content."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seefar.errors import DataError, counted, printable
from seefar.runs.files import read_table
from seefar.seeds import Stream

Images = NDArray[np.uint8]  # (N, H, W, 3)
Labels = NDArray[np.int64]  # (N,)
ImageSize = int | tuple[int, int]
"""Height and width in pixels, or one number for both."""

MOST_CLASSES = 1_000
"""As many as ImageNet has: the confusion matrix of 10,000 has 100 million cells, more than 64 MiB of JSON."""
NOTES = ["index", "tag", "new_label", "note"]
"""Columns of the notes that the report exports."""
SMALLEST, LARGEST = 8, 4096
"""Sides of an image in pixels. The last stage of the network sees an eighth of them; beyond 4096 the activations of two
images do not fit into memory."""


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """One part of a data set, checked when it is created. Lists, other integer types and views become plain arrays.

    Attributes:
        images: uint8 (N, H, W, 3), RGB, at least 8 pixels on a side.
        labels: int64 (N,), each in 0..K-1.
        classes: names of the K classes, 2 to 1,000, no two alike.
        masks: bool (N, H, W), the pixels that decide the class, if the data set has them.
        files: names of the N files that the images were read from, relative to the data folder, or None.

    Raises:
        DataError: the images, labels, classes, masks or files are not of this form, or do not fit each other.

    Examples:
        >>> split = Split(np.zeros((2, 8, 8, 3), np.uint8), [0, 1], ["cat", "dog"])
        >>> split
        Split(2 images of 8x8 pixels, 2 classes)
        >>> split.labels.dtype.name
        'int64'
    """

    images: Images
    labels: Labels
    classes: tuple[str, ...]
    masks: NDArray[np.bool_] | None = None
    files: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Check and convert all fields."""
        images, classes = check_images(self.images), check_classes(self.classes)
        masks, files = self.masks, self.files
        if masks is not None:
            masks = _as_array("masks", masks)
            if masks.shape != images.shape[:3] or masks.dtype != np.bool_:
                raise DataError(f"masks must be bool {images.shape[:3]} (got {masks.dtype} {masks.shape}).")
            masks = np.ascontiguousarray(masks)
        if files is not None:
            files = tuple(os.fspath(name) for name in files)
            if len(files) != len(images):
                raise DataError(f"files must be one name for each of the {len(images)} images (got {len(files)}).")
        labels = check_labels(self.labels, len(images), len(classes))
        checked = {"images": images, "labels": labels, "classes": classes, "masks": masks, "files": files}
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # frozen for everyone else

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        height, width = self.images.shape[1:3]
        return f"Split({counted(len(self), 'image')} of {height}x{width} pixels, {len(self.classes)} classes)"

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the images and labels, in hexadecimal: the same content has the same fingerprint."""
        digest = hashlib.sha256(self.images.data)
        digest.update(self.labels.data)
        return digest.hexdigest()

    def take(self, indices: Any) -> Split:
        """The images at these positions, in this order: integers, booleans, a slice."""
        rows = np.arange(len(self))[indices]
        masks = None if self.masks is None else self.masks[rows]
        files = None if self.files is None else tuple(self.files[row] for row in rows)
        return Split(self.images[rows], self.labels[rows], self.classes, masks, files)


@dataclass(frozen=True, eq=False, repr=False)
class Data:
    """A training split and a test split of the same K classes and the same image size; else a `DataError`.

    `name` is that of the data set, or the path of a folder; `notes` are remarks on the reading, one line each.

    Examples:
        >>> split = Split(np.zeros((2, 8, 8, 3), np.uint8), [0, 1], ["cat", "dog"])
        >>> Data("mine", split, split.take([0]))
        Data('mine': 2 training and 1 test images of 8x8 pixels, 2 classes)
    """

    name: str
    train: Split
    test: Split
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that the splits fit each other."""
        train, test = self.train, self.test
        if train.classes != test.classes:
            odd = differing_names(train.classes, test.classes)
            raise DataError(f"{self.name}: training and test images must have the same classes; they differ in {odd}.")
        sizes = [f"{split.images.shape[1]}x{split.images.shape[2]}" for split in (train, test)]
        if sizes[0] != sizes[1]:
            raise DataError(
                f"{self.name}: training and test images must have the same size "
                f"(got {sizes[0]} and {sizes[1]} pixels): resize them."
            )

    def __repr__(self) -> str:
        height, width = both(self.image_size)
        counts = f"{len(self.train)} training and {len(self.test)} test images"
        return f"Data({self.name!r}: {counts} of {height}x{width} pixels, {len(self.classes)} classes)"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes."""
        return self.train.classes

    @property
    def image_size(self) -> ImageSize:
        """Height and width of every image in pixels; one number if they are equal."""
        return as_image_size(self.train.images.shape[1:3])

    @cached_property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel of the training images, on the scale 0 to 1."""
        return channel_statistics(self.train.images)

    def hold_out(self, count: int, seed: int) -> tuple[Data, Split]:
        """The data without `count` training images, chosen by `seed`, and those; a `DataError` if none is left."""
        if not 0 <= count < len(self.train):
            raise DataError(
                f"{self.name} has {len(self.train)} training images, so {count} cannot be held out: "
                f"hold out between 0 and {len(self.train) - 1}."
            )
        order = np.random.default_rng((Stream.HELD_OUT, seed)).permutation(len(self.train))
        held_out, remaining = np.sort(order[:count]), np.sort(order[count:])
        if count == 0:
            return self, self.train.take(held_out)
        return replace(self, train=self.train.take(remaining)), self.train.take(held_out)


def correct_labels(split: Split, notes: str | Path) -> Split:
    """The split with the labels that a file of notes, CSV with `NOTES`, corrects; `new_label` may be empty.

    A `DataError` if the columns differ, an index or a class does not exist, or an image occurs twice.
    """
    rows = read_table(notes)
    if rows[:1] != [NOTES]:
        raise DataError(f"{notes} must have the columns {','.join(NOTES)}: export the notes from the report.")
    labels, seen, numbers = split.labels.copy(), set(), {str(index): index for index in range(len(split))}
    for number, row in enumerate(rows[1:], 2):
        where = f"{notes}, line {number}"
        if row[0] not in numbers:
            raise DataError(f"{where}: an index from 0 to {len(split) - 1} is required (got {row[0][:20]!r}).")
        index, name = numbers[row[0]], row[2]
        if name[:1] == "'" and name[1:].startswith(("=", "+", "-", "@", "\t", "\r")):
            name = name[1:]  # without the apostrophe that keeps spreadsheets from evaluating it as a formula
        if name and name not in split.classes:
            raise DataError(f"{where}: {name!r} is not a class; the classes are {', '.join(split.classes)}.")
        if index in seen:
            raise DataError(f"{where}: image {index} occurs twice: keep one of its lines.")
        seen.add(index)
        if name:
            labels[index] = split.classes.index(name)
    return replace(split, labels=labels)


def slices(count: int, size: int) -> list[slice]:
    """Slices that cover `count` rows, `size` at a time."""
    return [slice(start, start + size) for start in range(0, count, size)]


def both(image_size: ImageSize) -> tuple[int, int]:
    """Height and width, from the two or from one number for both."""
    return (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])


def as_image_size(value: Any) -> ImageSize:
    """One number for equal sides, else height and width, from either form."""
    height, width = (value, value) if isinstance(value, int) else map(int, value)
    return height if height == width else (height, width)


def channel_statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all pixels of images (N, H, W, 3), on the scale 0 to 1.

    The deviation is over pixels; the often copied 0.2023, 0.1994, 0.2010 of CIFAR-10 is the average within images.
    """
    # Counting the 256 values is exact and needs no float copy; numpy counts on a copy of eight times their size.
    values = np.arange(256) / 255
    means, deviations = [], []
    step = max(1, 500 * 32 * 32 // (images.shape[1] * images.shape[2]))
    for channel in range(3):
        parts = (images[rows, ..., channel] for rows in slices(len(images), step))
        share = sum(np.bincount(part.ravel(), minlength=256) for part in parts) / images[..., channel].size
        mean = float(share @ values)
        means.append(mean)
        deviations.append(float(np.sqrt(share @ (values - mean) ** 2)))
    return tuple(means), tuple(deviations)


def check_images(images: Any) -> NDArray[np.uint8]:
    """Images as uint8 (N, H, W, 3), contiguous and writable, so that torch can share the memory."""
    array = _as_array("images", images)
    if array.dtype.kind in "iu" and (not array.size or 0 <= array.min() <= array.max() <= 255):
        array = array.astype(np.uint8, copy=False)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
        extent = f", {array.min()} to {array.max()}" if array.size else ""
        raise DataError(
            f"images must be uint8 (N, H, W, 3), RGB (got {array.dtype} {array.shape}{extent}): numbers from 0 to 1 "
            "become uint8 with (255 * images).round().astype('uint8'), channels move last with "
            "images.transpose(0, 2, 3, 1)."
        )
    if min(array.shape[1:3]) < SMALLEST:
        raise DataError(
            f"images must be of at least {SMALLEST}x{SMALLEST} pixels "
            f"(got {array.shape[1]}x{array.shape[2]}): enlarge them."
        )
    return np.require(array, requirements=["C", "W"])


def check_labels(labels: Any, count: int, num_classes: int, name: str = "labels") -> NDArray[np.int64]:
    """Labels as int64 (N,), each in 0..K-1."""
    array = _as_array(name, labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.size and array.dtype.kind not in "iub":
        raise DataError(
            f"{name} must be integers, the index of each image's class (got {array.dtype}): "
            "number the classes in the order of `classes`."
        )
    if array.shape != (count,):
        raise DataError(
            f"{name} must be ({count},), one per image (got the shape {array.shape}): for one-hot labels, pass "
            "argmax(1)."
        )
    outside = np.flatnonzero((array < 0) | (array >= num_classes))
    if len(outside):
        raise DataError(
            f"{name} must be 0 to {num_classes - 1} for {num_classes} classes; "
            f"{name}[{outside[0]}] is {array[outside[0]]} ({len(outside)} of {count} are out of range)."
        )
    return np.require(array.astype(np.int64, copy=False), requirements=["C", "W"])


def differing_names(names: Sequence[str], others: Sequence[str]) -> str:
    """At most 20 class names that only one of two data sets has, such as `dog, fox`; else that their order differs."""
    return ", ".join(sorted({*names} ^ {*others})[:20]) or "their order"


def check_classes(classes: Any) -> tuple[str, ...]:
    """Class names as a tuple of str, with control characters spelled out, since a terminal would execute them."""
    names = () if isinstance(classes, (str, bytes)) or not hasattr(classes, "__iter__") else tuple(classes)
    if len(names) < 2 or not all(isinstance(name, str) and name for name in names):
        raise DataError(f"classes must be the names of at least two classes, in order (got {_short(classes)}).")
    if len(names) > MOST_CLASSES:
        raise DataError(f"classes must be at most {MOST_CLASSES:,} names (got {len(names):,}): merge or omit classes.")
    names = tuple(map(printable, names))  # numpy's strings become str
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise DataError(f"classes must have different names ({', '.join(twice)} appears more than once).")
    return names


def find_class(classes: Sequence[str], which: str | int) -> int:
    """The index of a class that is given by its name or its index."""
    if isinstance(which, str) and which in classes:
        return classes.index(which)
    if isinstance(which, (int, np.integer)) and not isinstance(which, bool) and 0 <= which < len(classes):
        return int(which)
    known = ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")
    near = difflib.get_close_matches(str(which), classes, 1)
    meant = f" Did you mean {near[0]!r}?" if near and isinstance(which, str) else ""
    raise DataError(
        f"There is no class {which!r}: the {len(classes)} classes are {known} (0 to {len(classes) - 1}).{meant}"
    )


def _as_array(name: str, value: Any) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; tensors on a GPU
        raise DataError(f"{name} cannot be read as one array ({error}).") from error
    if array.dtype == object or array.dtype.kind in "US":
        raise DataError(f"{name} must be numbers in one array (got {_short(value)}).")
    return array


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
