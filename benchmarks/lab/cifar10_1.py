"""CIFAR-10.1 v6: 2,000 new test images of CIFAR-10's classes (Recht et al. 2018, arXiv 1806.00451)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    """The 2,000 images of CIFAR-10.1 v6, or None if the folder does not hold its two files.

    Args:
        folder: data folder. Default: SEEFAR_DATA, else the user's cache.

    Raises:
        DataError: one of the files is missing or holds something else.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     print(load_cifar10_1(folder))
        None
    """
    home = Path(folder).expanduser() if folder else default_folder()
    paths = [home / name for name in FILES]
    missing = [path for path in paths if not path.exists()]
    if len(missing) == len(FILES):
        return None
    if missing:
        raise DataError(f"{missing[0]} is missing beside the other file of CIFAR-10.1 v6: fetch it from {ADDRESS}.")
    images, labels = (_read(path) for path in paths)
    if images.dtype != np.uint8 or images.shape != (COUNT, 32, 32, 3):
        raise DataError(f"{paths[0]} should hold uint8 ({COUNT}, 32, 32, 3); found {images.dtype} {images.shape}.")
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (COUNT,):
        raise DataError(f"{paths[1]} should hold {COUNT} whole numbers; found {labels.dtype} {labels.shape}.")
    if sorted(labels.tolist()) != sorted(list(range(len(CLASSES))) * (COUNT // len(CLASSES))):
        found = dict(zip(*(part.tolist() for part in np.unique(labels, return_counts=True)), strict=True))
        raise DataError(f"{paths[1]} should hold each class 0 to 9 as often, as v6 does; found {found}.")
    return Split(images, labels.astype(np.int64), CLASSES)


def _read(path: Path) -> Any:
    try:
        return load_array(path)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read as an .npy file ({error}): fetch it from {ADDRESS}.") from error
