from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lab.cifar10_1 import FILES, load_cifar10_1
from seefar.errors import DataError

IMAGES, LABELS = np.zeros((2000, 32, 32, 3), np.uint8), np.arange(2000, dtype=np.int32) % 10


def save(folder: Path, images: np.ndarray | None = IMAGES, labels: np.ndarray | None = LABELS) -> Path:
    for name, array in zip(FILES, (images, labels), strict=True):
        if array is not None:
            np.save(folder / name, array)
    return folder


def test_its_images_come_with_cifar10s_classes(tmp_path: Path) -> None:
    split = load_cifar10_1(save(tmp_path))
    assert split is not None
    assert split.images.shape == (2000, 32, 32, 3)
    assert split.labels.dtype == np.int64
    assert split.classes[9] == "truck"
    assert load_cifar10_1(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES, None, "cifar10.1_v6_labels.npy is missing"),
        (IMAGES[:2], LABELS[:2], r"found uint8 \(2, 32, 32, 3\)"),
        (IMAGES, LABELS % 9, "each class 0 to 9 as often"),
        (IMAGES, np.array([{}] * 2000), "cannot be read as an .npy file"),
    ],
)
def test_other_files_are_refused(images: np.ndarray, labels: np.ndarray | None, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        load_cifar10_1(save(tmp_path, images, labels))
