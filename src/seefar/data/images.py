"""Data sets: uint8 images, integer labels, class names; checked once, with a fingerprint of their content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seefar.data.checks import check_classes, check_files, check_images, check_labels, check_masks, find_class
from seefar.errors import DataError
from seefar.seeds import Stream

Images = NDArray[np.uint8]  # (N, H, W, 3)
Labels = NDArray[np.int64]  # (N,)


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """One part of a data set.

    It checks itself when it is made; whatever takes a `Split` can rely on what stands here. Lists, other integer types
    and mirrored or otherwise strided views become plain arrays; everything else that does not fit is refused.

    Attributes:
        images: uint8 (N, H, W, 3), RGB, H = W, at least 8 pixels.
        labels: int64 (N,), each in 0..K-1.
        classes: names of the K classes, at least two, no two alike.
        masks: bool (N, H, W), the pixels that decide the class, where the data set knows them.
        files: names of the N files that the images were read from, relative to the data folder, where there are any.

    Raises:
        DataError: the images, labels, classes, masks or files are not of this form, or do not fit each other.

    Example:
        >>> split = Split(np.zeros((2, 8, 8, 3), np.uint8), [0, 1], ["cat", "dog"])
        >>> split
        Split(2 images of 8x8 pixels, 2 classes)
        >>> split.class_index("dog"), split.labels.dtype.name
        (1, 'int64')
    """

    images: Images
    labels: Labels
    classes: tuple[str, ...]
    masks: NDArray[np.bool_] | None = None
    files: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Check and convert all fields."""
        images, classes = check_images(self.images), check_classes(self.classes)
        fields = {
            "images": images,
            "labels": check_labels(self.labels, len(images), classes),
            "classes": classes,
            "masks": check_masks(self.masks, images),
            "files": check_files(self.files, len(images)),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)  # frozen for everyone else

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Split({_describe(self.images, len(self.classes))})"

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the images and labels, in hexadecimal: the same content has the same fingerprint."""
        digest = hashlib.sha256(self.images.data)
        digest.update(self.labels.data)
        return digest.hexdigest()

    def class_index(self, which: str | int) -> int:
        """The index, 0..K-1, of a class that is given by name or by index.

        Raises:
            DataError: there is no such class.
        """
        return find_class(self.classes, which)

    def take(self, indices: Any) -> Split:
        """The images at these positions, in this order: integers, booleans (N,), or a slice.

        Raises:
            DataError: a position is outside 0..N-1.
        """
        try:
            rows = np.arange(len(self))[indices]
        except IndexError as error:
            raise DataError(f"These positions are not all in this split of {len(self)} images ({error}).") from error
        masks = None if self.masks is None else self.masks[rows]
        files = None if self.files is None else tuple(self.files[row] for row in rows)
        return Split(self.images[rows], self.labels[rows], self.classes, masks, files)


@dataclass(frozen=True, eq=False, repr=False)
class Data:
    """A training split and a test split of the same K classes and the same image size.

    Attributes:
        name: `cifar10`, `shapes`, or the path of a folder.
        train: the training images.
        test: the test images.
        notes: what whoever read the data set should know of it, such as files that were skipped; one line each.

    Raises:
        DataError: the two splits differ in their classes or in the size of their images.

    Example:
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
            odd = ", ".join(sorted(set(train.classes) ^ set(test.classes))) or "their order"
            raise DataError(
                f"{self.name}: the training and the test images should have the same classes, they differ in {odd}."
            )
        sizes = train.images.shape[1], test.images.shape[1]
        if sizes[0] != sizes[1]:
            raise DataError(
                f"{self.name}: training images of {sizes[0]} pixels and test images of {sizes[1]} cannot go together: "
                "bring all to one size."
            )

    def __repr__(self) -> str:
        about = _describe(self.train.images, len(self.classes)).replace(
            "images", f"training and {len(self.test)} test images"
        )
        return f"Data({self.name!r}: {about})"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes."""
        return self.train.classes

    @property
    def image_size(self) -> int:
        """Height and width of every image, in pixels."""
        return int(self.train.images.shape[1])

    @cached_property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel of the training images, on the scale 0 to 1."""
        return channel_statistics(self.train.images)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the training images and labels: a run that is continued must see the same data."""
        return self.train.fingerprint

    def hold_out(self, count: int, seed: int) -> tuple[Data, Split]:
        """Set `count` training images aside, chosen by `seed`, for choosing settings without the test set.

        Returns:
            The data with the other training images, in their order, and the held-out images.

        Raises:
            DataError: `count` leaves no training image.
        """
        if not 0 <= count < len(self.train):
            raise DataError(
                f"{self.name} has {len(self.train)} training images, {count} cannot be held out: "
                f"hold out between 0 and {len(self.train) - 1}."
            )
        order = np.random.default_rng((Stream.HELD_OUT, seed)).permutation(len(self.train))
        held_out, kept = np.sort(order[:count]), np.sort(order[count:])
        return replace(self, train=self.train.take(kept)) if count else self, self.train.take(held_out)


def _describe(images: Images, classes: int) -> str:
    return f"{len(images)} images of {images.shape[1]}x{images.shape[2]} pixels, {classes} classes"


def channel_statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all pixels of all images, on the scale 0 to 1.

    The deviation is over pixels (0.2470, 0.2435, 0.2616 for CIFAR-10); the often copied 0.2023, 0.1994, 0.2010 is
    the average deviation within single images. Counting the 256 values makes it exact and needs no float copy; some
    images at a time, because numpy counts on a copy of eight times their size.

    Args:
        images: uint8 (N, H, W, 3).
    """
    values = np.arange(256) / 255
    means, deviations = [], []
    for channel in range(3):
        parts = (images[start : start + 500, ..., channel] for start in range(0, len(images), 500))
        share = sum(np.bincount(part.ravel(), minlength=256) for part in parts) / images[..., channel].size
        mean = float(share @ values)
        means.append(mean)
        deviations.append(float(np.sqrt(share @ (values - mean) ** 2)))
    return tuple(means), tuple(deviations)
