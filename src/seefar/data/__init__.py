"""Data: CIFAR-10, the built-in `shapes`, folders of images; augmentation; batches."""

from __future__ import annotations

from pathlib import Path

from seefar.data.cifar10 import load_cifar10
from seefar.data.folder import load_folder
from seefar.data.images import Data, Split
from seefar.data.shapes import load_shapes
from seefar.errors import DataError

__all__ = ["Data", "Split", "load_data"]


def load_data(name: str = "cifar10", folder: str | Path | None = None, image_size: int = 32) -> Data:
    """A data set by its name.

    Args:
        name: `cifar10`, `shapes`, or the path of a folder with `train/<class>/` and `test/<class>/`.
        folder: where CIFAR-10 lies or is to be kept; default: SEEFAR_DATA, else the user's cache folder.
        image_size: height and width in pixels that the images of a folder are brought to.

    Raises:
        DataError: there is no such data set, or it is damaged.
    """
    if name == "cifar10":
        return load_cifar10(Path(folder).expanduser() if folder else None)
    if name == "shapes":
        return load_shapes()
    if Path(name).expanduser().is_dir():
        return load_folder(Path(name).expanduser(), image_size)
    raise DataError(
        f"There is no data set {name!r}: pass cifar10, shapes, or an existing folder with train/<class>/ "
        "and test/<class>/."
    )
