"""CIFAR-10.1 v6: 2,000 new test images of CIFAR-10's classes (Recht et al. 2018, arXiv 1806.00451)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seefar.data.download import default_folder
from seefar.data.images import Split
from seefar.data.reference import CLASSES
from seefar.errors import DataError
from seefar.runs.arrays import load_array

FILES = ("cifar10.1_v6_data.npy", "cifar10.1_v6_labels.npy")
COUNT = 2000
ADDRESS = "github.com/modestyachts/CIFAR-10.1, folder datasets"


def load_cifar10_1(folder: str | Path | None = None) -> Split | None:
    """The 2,000 images of CIFAR-10.1 v6, or None if the data folder does not hold its two files.

    Raises:
        DataError: one of the files is missing or holds something else.
    """
    paths = [(Path(folder).expanduser() if folder else default_folder()) / name for name in FILES]
    if not any(path.exists() for path in paths):
        return None
    try:
        images, labels = map(load_array, paths)
    except (ValueError, OSError) as error:
        raise DataError(f"{' and '.join(FILES)} cannot be read ({error}): fetch them from {ADDRESS}.") from error
    if images.shape != (COUNT, 32, 32, 3) or (np.bincount(labels, minlength=10) != COUNT // len(CLASSES)).any():
        raise DataError(f"{paths[0].parent} holds another set than v6, images {images.shape}: fetch it from {ADDRESS}.")
    return Split(images, labels.astype(np.int64), CLASSES)
