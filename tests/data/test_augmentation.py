"""Both augmentations, albumentations' and that of whole batches, against the same numbers worked out by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from seefar.choices import Border
from seefar.data import Data
from seefar.data.batches import BatchAugmentation, crop, pipeline
from seefar.training.loop import build_batches
from seefar.training.recipe import RECIPES, recipe

KINDS = pytest.mark.parametrize("kind", ["albumentations", "torch"])
WHITE = np.full((32, 32, 3), 255, np.uint8)


def augmented(
    kind: str,
    image: np.ndarray,
    count: int,
    padding: int = 0,
    hole: int = 0,
    probability: float = 1.0,
    fill: tuple[int, ...] = (0, 0, 0),
    border: Border = "black",
) -> np.ndarray:
    """The image so many times, each augmented by itself, uint8 (count, H, W, 3)."""
    settings = padding, hole, probability, fill, border
    if kind == "torch":
        batch = torch.from_numpy(image).expand(count, *image.shape)
        return BatchAugmentation(*settings)(batch, np.random.default_rng(0)).numpy()
    transform = pipeline(len(image), *settings)
    transform.set_random_seed(0)
    return np.stack([transform(image=image)["image"] for _ in range(count)])


@KINDS
def test_cutout_hides_each_pixel_as_often_as_the_paper_says(kind: str) -> None:
    """DeVries & Taylor: a 16x16 square centred on a pixel drawn evenly; 16 of 32 rows as centre hide the middle row.

    Centre row c hides rows c - 8 to c + 7: 8 to 15 of them for c = 0 to 7, 16 for 8 to 24, 15 to 9 for 25 to 31. That
    is 92 + 17 * 16 + 84 = 448 in 32 places, so 14 rows and 14 * 14 = 196 pixels in the mean.
    """
    hidden = augmented(kind, WHITE, 1500, hole=16)[..., 0] == 0  # (N, H, W)
    assert hidden[:, 16, 16].mean() == pytest.approx(0.25, abs=0.05)  # 4.5 standard errors
    assert hidden.sum((1, 2)).mean() == pytest.approx(196, abs=5)  # of 50 pixels deviation: 3.9 standard errors
    rows = np.array([len([c for c in range(32) if r - 7 <= c <= r + 8]) / 32 for r in range(32)])
    np.testing.assert_allclose(hidden.mean(0), np.outer(rows, rows), atol=0.055)
    half = augmented(kind, WHITE, 500, hole=16, probability=0.5)[..., 0] == 0
    assert half.any((1, 2)).mean() == pytest.approx(0.5, abs=0.09)


@KINDS
def test_the_crop_of_a_padded_image_moves_it_by_up_to_the_padding(kind: str) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    image[4, 4] = 255
    places = [np.argwhere(one[..., 0])[0] - 2 for one in augmented(kind, image, 1250, padding=2)]
    counts = np.zeros((5, 5))
    np.add.at(counts, tuple(np.transpose(places)), 1)
    chi_square = ((counts - 50) ** 2 / 50).sum()
    assert chi_square < 51.2  # of 24 degrees of freedom, in 999 of 1000 cases


@pytest.mark.parametrize(("border", "mode"), [("black", cv2.BORDER_CONSTANT), ("reflected", cv2.BORDER_REFLECT_101)])
def test_a_crop_is_that_of_the_image_padded_by_opencv(border: Border, mode: int) -> None:
    """Not square, and padded by more than its size, so that it is reflected more than once."""
    height, width, padding = 5, 9, 20
    image = np.random.default_rng(0).integers(1, 256, (height, width, 3), dtype=np.uint8)
    padded = cv2.copyMakeBorder(image, padding, padding, padding, padding, mode)
    top, left = np.mgrid[0 : 2 * padding + 1, 0 : 2 * padding + 1].reshape(2, -1)
    images = torch.from_numpy(image).expand(len(top), -1, -1, -1)
    found = crop(images, *(torch.from_numpy(corner - padding) for corner in (top, left)), border).numpy()
    expected = [padded[row : row + height, column : column + width] for row, column in zip(top, left, strict=True)]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["seed", "fast", "demo"])
def test_recipes_crop_where_there_is_padding_and_seed_hides_half_of_the_images(shapes: Data, name: str) -> None:
    batches = build_batches(
        recipe(name, batch_size=200, **({} if name == "seed" else {"cutout": 0, "flip": "none"})), shapes
    )
    images, originals = batches[0, 0].images.numpy(), shapes.train.images[batches.order(0)[:200]]
    touched = (images != originals).any(-1)  # (N, H, W)
    if name == "seed":
        assert touched.any((1, 2)).mean() == pytest.approx(0.5, abs=0.12)
        assert (images[touched] == 127).all()
    else:
        assert 1 - touched.any((1, 2)).mean() < 3 / (2 * RECIPES[name].crop_padding + 1) ** 2
