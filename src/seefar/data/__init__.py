"""Data: CIFAR-10 and others by name, the built-in `shapes`, folders of images; augmentation; batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seefar.choices import Fit
from seefar.data.folder import load_folder
from seefar.data.images import Data, ImageSize, Split
from seefar.data.official import OFFICIAL, load_official
from seefar.data.shapes import cached_shapes
from seefar.errors import DataError
from seefar.progress import Progress

__all__ = ["Data", "Split", "load_data"]


def load_data(
    name: str | Path = "cifar10",
    folder: str | Path | None = None,
    image_size: ImageSize = 32,
    fit: Fit = "crop",
    *,
    to_judge: bool = False,
    classes: Sequence[str] | None = None,
    create: bool = False,
    progress: Progress | None = None,
) -> Data:
    """Load a data set by its name.

    Args:
        name: `cifar10`, `cifar100`, `fashion_mnist`, `shapes`, or the path of a folder of pictures: `train/<class>/`
            and `test/<class>/`, or only class folders, of which a fifth of the pictures is set aside for the test; or
            of a CSV file with the path and the label of each picture.
        folder: where the named data sets are, or are saved; default: SEEFAR_DATA, else the user's cache folder.
        image_size: height and width in pixels, 16 to 512, to which the pictures of a folder are resized, or one
            number for both.
        fit: how pictures of another shape are made to fit, see `seefar.data.pictures.read_picture`.
        to_judge: of a folder without a part named `test`, all pictures are test images and none is a training image.
        classes: names of the classes in the order of a model; a class may have no picture. Default: those found.
        create: create `folder` if it does not exist, and download the data set into it.
        progress: see `seefar.progress`.

    Raises:
        DataError: there is no such data set, or it is damaged.

    Examples:
        >>> import seefar
        >>> seefar.load_data("shapes")
        Data('shapes': 4000 training and 1000 test images of 32x32 pixels, 10 classes)
    """
    if str(name) in OFFICIAL:
        return load_official(OFFICIAL[str(name)], folder, create=create, progress=progress)
    if name == "shapes":
        return cached_shapes()
    if not str(name):
        raise DataError("The name of the data set is empty: pass a name, or the path of a folder.")
    return load_folder(name, image_size, fit, to_judge=to_judge, classes=classes, progress=progress)
