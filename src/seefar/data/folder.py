"""A data set of the user's own: `train/<class>/*.png|jpg` and `test/<class>/...`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seefar.data.images import Data, Split
from seefar.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg")


def load_folder(folder: Path, image_size: int = 32) -> Data:
    """Read a folder of class folders; every image becomes RGB of `image_size` x `image_size` pixels.

    The classes are the folder names under `train/`, in alphabetical order. Images that are not square are squeezed.

    Raises:
        DataError: `train/` or `test/` is missing or empty, their classes differ, or an image cannot be read.
    """
    if not 16 <= image_size <= 96:
        raise DataError(f"image_size is {image_size}: images of 16 to 96 pixels can be used.")
    classes, tested = (_class_names(folder / part) for part in ("train", "test"))
    if classes != tested:
        odd = ", ".join(sorted(set(classes) ^ set(tested)))
        raise DataError(f"{folder}: train/ and test/ should hold the same classes, they differ in {odd}.")
    train, test = (_read_split(folder / part, classes, image_size) for part in ("train", "test"))
    return Data(str(folder), train, test)


def read_image(path: Path, image_size: int) -> np.ndarray:
    """One picture as uint8 (image_size, image_size, 3) RGB, upright as its camera meant it.

    Raises:
        DataError: the file is missing or no picture.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as picture:
            upright = ImageOps.exif_transpose(picture).convert("RGB")
            return np.asarray(upright.resize((image_size, image_size), Image.Resampling.LANCZOS))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as a picture ({error}): mend it or take it out.") from error


def _class_names(part: Path) -> tuple[str, ...]:
    names = sorted(path.name for path in part.iterdir() if path.is_dir()) if part.is_dir() else []
    if len(names) < 2:
        found = ", ".join(names) or "none"
        raise DataError(f"{part} should hold one folder of images for each class, at least two; found {found}.")
    return tuple(names)


def _read_split(part: Path, classes: tuple[str, ...], image_size: int) -> Split:
    images, labels = [], []
    for label, name in enumerate(classes):
        for path in sorted((part / name).glob("*")):
            if path.suffix.lower() in SUFFIXES:
                images.append(read_image(path, image_size))
                labels.append(label)
    if not images:
        raise DataError(f"{part} holds no {', '.join(SUFFIXES)} files: one folder of them for each class was wanted.")
    missing = sorted(set(range(len(classes))) - set(labels))
    if missing:
        raise DataError(f"{part / classes[missing[0]]} holds no {', '.join(SUFFIXES)} files: add some or remove it.")
    return Split(np.stack(images), np.asarray(labels, dtype=np.int64), classes)
