"""Labelled pictures from any source: folders, tables, torch data sets, Hugging Face data sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seefar.choices import Fit
from seefar.data.images import Images, ImageSize, Split, both
from seefar.data.pictures import read_picture
from seefar.errors import DataError
from seefar.progress import Progress, showing


def load_split(
    source: Any,
    image_size: ImageSize = 224,
    fit: Fit = "crop",
    *,
    classes: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Split:
    """Labelled pictures as a `Split`; arrays become one with `seefar.Split(images, labels, classes)`.

    Args:
        source: the path of a folder by class or of a CSV file of paths and labels; or a data set with a length: a torch
            one of pairs (picture, label), or a Hugging Face one, whose columns are known by its features. Pictures are
            PIL images, uint8 arrays (H, W, 3), or tensors (3, H, W), uint8 or float in 0 to 1.
        image_size: height and width in pixels to which pictures are resized, or one number for both.
        fit: how pictures of another shape are made to fit, see `seefar.data.pictures.read_picture`.
        classes: names of the K classes in the order of the labels. Default: those of the source, else the labels.
        progress: see `seefar.progress`.

    Raises:
        DataError: the source is none of these, or a picture or label cannot be used.
    """
    from seefar.data import load_data  # the package of this module

    if isinstance(source, Split):
        return source
    if isinstance(source, str | Path):
        return load_data(source, None, image_size, fit, to_judge=True, classes=classes, progress=progress).test
    if not hasattr(source, "__getitem__") or not hasattr(source, "__len__") or not len(source):
        raise DataError(
            f"A {type(source).__name__} is not a source of labelled pictures: pass a path, or a data set with a length "
            "that gives (picture, label)."
        )
    images = np.empty((len(source), *both(image_size), 3), np.uint8)
    labels = []
    with showing(progress) as shown:
        for number, (picture, label) in enumerate(_pairs(source)):
            images[number] = read_picture(_in_memory(picture, number), image_size, fit).image
            labels.append(label)
            shown.update("reading pictures", number + 1, len(images))
    names = classes or _class_names(source) or [str(label) for label in sorted(set(labels))]
    if not isinstance(labels[0], int | np.integer) or not (classes or _class_names(source)):
        number_of = {name: number for number, name in enumerate(names)}
        if odd := {str(label) for label in labels} - number_of.keys():
            raise DataError(f"The labels must be {', '.join(names)} (got {', '.join(sorted(odd)[:5])}).")
        labels = [number_of[str(label)] for label in labels]
    return Split(images, labels, tuple(names))  # type: ignore[arg-type]  # a list becomes an array


def _pairs(source: Any) -> Iterator[tuple[Any, Any]]:
    """Pictures and labels, by position or by the columns of a Hugging Face data set."""
    features = getattr(source, "features", None)
    picture: Any = 0
    label: Any = 1
    if isinstance(features, dict):
        kinds = {name: type(feature).__name__ for name, feature in features.items()}
        picture = next((name for name, kind in kinds.items() if kind == "Image"), None)
        label = next((name for name, kind in kinds.items() if kind == "ClassLabel"), "label")
        if picture is None or label not in kinds:
            raise DataError(f"The data set must have columns of pictures and labels (got {kinds}).")
    for number in range(len(source)):  # not by iteration, which of a torch data set ends at an IndexError only
        row = source[number]
        yield row[picture], row[label].item() if hasattr(row[label], "item") else row[label]


def _class_names(source: Any) -> list[str] | None:
    """The names that a torchvision data set has as `classes`, and a Hugging Face one in its features."""
    features = getattr(source, "features", None)
    named = [feature.names for feature in features.values() if hasattr(feature, "names")] if features else []
    names = getattr(source, "classes", None) or (named[0] if named else None)
    return None if names is None else [str(name) for name in names]


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
