"""Checks of what a data set is made of: images, labels, class names, masks, file names.

Each gives the value back in its one form, or raises a DataError that names what was wanted and what was found.
"""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seefar.errors import DataError
from seefar.output import printable

SMALLEST, LARGEST = 8, 4096
"""Images of fewer pixels on a side leave the last stage of the network, which sees one in eight, with nothing. On
images of more no network was trained: the activations of two of them take more memory than machines have."""


def check_images(images: Any) -> NDArray[np.uint8]:
    """Images as uint8 (N, H, W, 3), contiguous and writable, which is what torch can share the memory of.

    Raises:
        DataError: they are of another type or shape, or not square, or too small.
    """
    found = _as_array("images", images)
    wanted = "images should be uint8 (N, H, W, 3), RGB"
    if found.dtype.kind in "iu" and found.dtype != np.uint8:
        if found.size and (found.min() < 0 or found.max() > 255):
            raise DataError(
                f"{wanted}, 0 to 255; {found.dtype} from {found.min()} to {found.max()} was found: scale them."
            )
        found = found.astype(np.uint8)
    if found.dtype != np.uint8:
        advice = ""
        if found.dtype.kind == "f" and found.size:
            low, high = float(found.min()), float(found.max())
            advice = f" from {low:.4g} to {high:.4g}"
            if low >= 0 and high <= 1:
                advice += ": pass (255 * images).round().astype(np.uint8)"
        raise DataError(f"{wanted}; {found.dtype}{advice} was found.")
    if found.ndim != 4 or found.shape[3] != 3:
        advice = ""
        if found.ndim == 4 and found.shape[1] == 3:
            advice = ": pass images.transpose(0, 2, 3, 1)"
        elif found.ndim == 3 and found.shape[2] == 3:
            advice = ": pass images[None] for a single one"
        elif found.ndim == 3 or (found.ndim == 4 and found.shape[3] == 1):
            advice = ": repeat the one channel of grey images three times"
        raise DataError(f"{wanted}; the shape {found.shape} was found{advice}.")
    if found.shape[1] != found.shape[2] or found.shape[1] < SMALLEST:
        raise DataError(
            f"images should be square, of at least {SMALLEST}x{SMALLEST} pixels; "
            f"{found.shape[1]}x{found.shape[2]} was found: crop or resize them."
        )
    return np.require(found, requirements=["C", "W"])


def check_labels(labels: Any, count: int, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """Labels as int64 (N,), each in 0..K-1.

    Raises:
        DataError: they are no integers, not one for each image, or out of range.
    """
    found = _as_array("labels", labels)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.size and found.dtype.kind not in "iub":
        raise DataError(
            f"labels should be integers, the index of each image's class; {found.dtype} was found: "
            "number the classes in the order of `classes`."
        )
    if found.shape != (count,):
        advice = ": pass labels.argmax(1)" if found.shape == (count, len(classes)) else ""
        raise DataError(f"labels should be ({count},), one for each image; the shape {found.shape} was found{advice}.")
    outside = np.flatnonzero((found < 0) | (found >= len(classes)))
    if len(outside):
        raise DataError(
            f"labels should be 0 to {len(classes) - 1} for {len(classes)} classes; "
            f"labels[{outside[0]}] is {found[outside[0]]} ({len(outside)} of {count} are out of range)."
        )
    return np.require(found.astype(np.int64, copy=False), requirements=["C", "W"])


def differing_names(found: Sequence[str], wanted: Sequence[str]) -> str:
    """How class names differ, such as `dog, not cat`: the first three of those that do, or how many there are."""
    if len(found) != len(wanted):
        return f"{len(found)}, not {len(wanted)}"
    pairs = [f"{now}, not {then}" for now, then in zip(found, wanted, strict=True) if now != then]
    return "; ".join([*pairs[:3], *([f"{len(pairs) - 3} more"] if len(pairs) > 3 else [])])


def check_classes(classes: Any) -> tuple[str, ...]:
    """Class names as a tuple of str, with control characters spelled out, since a terminal obeys them.

    Raises:
        DataError: they are no sequence of at least two different names.
    """
    names = () if isinstance(classes, (str, bytes)) or not hasattr(classes, "__iter__") else tuple(classes)
    if len(names) < 2 or not all(isinstance(name, str) and name for name in names):
        raise DataError(f"classes should be the names of at least two classes, in order; {_short(classes)} was found.")
    names = tuple(map(printable, names))  # which makes strings of numpy's too
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise DataError(f"classes should have different names; {', '.join(twice)} stands there more than once.")
    return names


def check_masks(masks: Any, images: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """Masks as bool (N, H, W), or None.

    Raises:
        DataError: they hold something other than 0 and 1, or have another shape.
    """
    if masks is None:
        return None
    found = _as_array("masks", masks)
    if found.shape != images.shape[:3]:
        raise DataError(f"masks should be {images.shape[:3]}, as the images are; {found.shape} was found.")
    if found.dtype != np.bool_ and not np.isin(found, (0, 1)).all():
        raise DataError(f"masks should be bool; {found.dtype} with other values than 0 and 1 was found.")
    return np.ascontiguousarray(found, dtype=np.bool_)


def check_files(files: Any, count: int) -> tuple[str, ...] | None:
    """File names as a tuple of str, or None.

    Raises:
        DataError: they are not one name for each image.
    """
    if files is None:
        return None
    try:
        names = tuple(os.fspath(name) for name in files)
    except TypeError as error:
        raise DataError(f"files should be one name for each image; {_short(files)} was found.") from error
    if isinstance(files, (str, bytes)) or len(names) != count:
        raise DataError(f"files should be one name for each of the {count} images; {len(names)} were found.")
    return names


def find_class(classes: Sequence[str], which: str | int) -> int:
    """The index of a class that is given by its name or its index.

    Raises:
        DataError: there is no such class.
    """
    if isinstance(which, str) and which in classes:
        return classes.index(which)
    if isinstance(which, (int, np.integer)) and not isinstance(which, bool) and 0 <= which < len(classes):
        return int(which)
    known = ", ".join(classes) if len(classes) <= 20 else f"{', '.join(classes[:20])}, ..."
    near = difflib.get_close_matches(str(which), classes, 1)
    meant = f" Perhaps {near[0]!r} was meant." if near and isinstance(which, str) else ""
    raise DataError(
        f"There is no class {which!r}: the {len(classes)} classes are {known} (0 to {len(classes) - 1}).{meant}"
    )


def _as_array(name: str, value: Any) -> NDArray[Any]:
    try:
        found = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; tensors on a GPU
        raise DataError(f"{name} cannot be read as one array ({error}).") from error
    if found.dtype == object or found.dtype.kind in "US":
        raise DataError(f"{name} should be numbers in one array; {_short(value)} was found.")
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
