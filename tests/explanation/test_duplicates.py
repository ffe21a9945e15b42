from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from seefar.data import Data
from seefar.explanation.neighbours import find_duplicates


def exact(images: np.ndarray) -> np.ndarray:
    return images


def mirrored(images: np.ndarray) -> np.ndarray:
    return images[:, :, ::-1]


def moved(images: np.ndarray) -> np.ndarray:
    return np.pad(images, ((0, 0), (1, 0), (0, 1), (0, 0)), mode="edge")[:, :32, 1:]


def recoloured(images: np.ndarray) -> np.ndarray:
    """Brighter, paler and with another tint."""
    return (images * np.array([0.7, 0.75, 0.65]) + 40).astype(np.uint8)


def noisy(images: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 4, images.shape)
    return (images + noise).clip(0, 255).astype(np.uint8)


def compressed(images: np.ndarray) -> np.ndarray:
    results = []
    for image in images:
        file = BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=95, subsampling=0)
        results.append(np.asarray(Image.open(file)))
    return np.stack(results)


@pytest.mark.parametrize("change", [exact, mirrored, moved, recoloured, noisy, compressed])
def test_all_planted_near_duplicates_are_found(shapes: Data, change: object) -> None:
    planted = np.arange(0, 600, 12)
    copies = change(shapes.train.images[planted])  # type: ignore[operator]
    images = np.concatenate([shapes.test.images[:10], copies])
    found = {one.index: one for one in find_duplicates(images, shapes.train.images)}
    assert [found[10 + number].training for number in range(50)] == planted.tolist()
    assert {one.mirrored for one in found.values()} == {change is mirrored}
    if change in (exact, mirrored):
        assert [found[10 + number].likeness for number in range(50)] == [1.0] * 50


def test_hardly_any_other_image_is_one(shapes: Data) -> None:
    """Drawn anew: no more than one in a hundred has the same shape in the same place by chance."""
    assert len(find_duplicates(shapes.test.images, shapes.train.images)) <= 1


def test_exact_copies_of_flat_images_and_of_tiny_ones() -> None:
    flat = np.full((1, 32, 32, 3), 90, np.uint8)
    assert find_duplicates(flat, flat) == []  # no contrast, so no thumbnail to go by
    tiny = np.random.default_rng(0).integers(0, 256, (3, 5, 5, 3), dtype=np.uint8)
    assert [one.training for one in find_duplicates(tiny[::-1], tiny)] == [2, 1, 0]


def test_no_images() -> None:
    images = np.zeros((2, 8, 8, 3), np.uint8)
    assert find_duplicates(images[:0], images) == find_duplicates(images, images[:0]) == []
