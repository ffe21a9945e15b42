from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from lab.removal_scores import CURVE_SHARES, bootstrap_interval, deletion, impute, insertion, road
from seefar.maps.grid import rank_pixels
from seefar.model.resnet import ResNet18

RED = np.zeros(1, np.int64)


def half_red() -> tuple[np.ndarray, np.ndarray]:
    """An image whose left half is red and right half black, and the ranks of a map that points to the red."""
    image = np.zeros((1, 20, 20, 3), np.uint8)
    image[:, :, :10, 0] = 255
    values = image[..., 0].astype(np.float32)
    return image, rank_pixels(values)


def test_deletion_by_hand(brightness: ResNet18) -> None:
    """Removed pixels take the mean of those left. With a share s < 1/2 of the image removed, all of it red, of the
    rest (1/2 - s) / (1 - s) is red, and so is the whole then. From 1/2 on it is black, and at 1 grey: 1/3 for each.
    """
    image, ranks = half_red()
    red = [(0.5 - s) / (1 - s) if s < 0.5 else 0 for s in CURVE_SHARES]
    probability = [np.exp(40 * np.round(255 * r) / 255) / (np.exp(40 * np.round(255 * r) / 255) + 2) for r in red]
    expected = sum((a + b) / 20 for a, b in pairwise(probability))
    assert deletion(brightness, image, RED, ranks)[0] == pytest.approx(expected, abs=1e-3)


def test_a_map_that_points_to_what_counts_does_better_than_one_that_points_away(brightness: ResNet18) -> None:
    image, ranks = half_red()
    away = ranks.max() - ranks
    net = brightness
    assert deletion(net, image, RED, ranks)[0] < deletion(net, image, RED, away)[0]
    # Blurring keeps the mean, so no pixel of the shown ones changes this network's answer much: it is sure throughout.
    assert insertion(net, image, RED, ranks)[0] > 0.99
    better, worse = road(net, image, RED, ranks)[0], road(net, image, RED, away)[0]
    assert better > 0.1
    assert worse == pytest.approx(-better, abs=0.02)


def test_the_interval_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(3, 1, 400)
    low, high = bootstrap_interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.15)
    assert bootstrap_interval(np.full(5, 2.0)) == (2.0, 2.0)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)


def test_imputation_agrees_with_a_dense_solver(images: np.ndarray) -> None:
    hidden = np.random.default_rng(1).random((2, 16, 16)) < 0.6
    found = impute(images, hidden, noise=0)
    for image, gone, result in zip(images.astype(float), hidden, found, strict=True):
        matrix, right = np.eye(256), image.reshape(256, 3).copy()
        for row, column in np.argwhere(gone):
            p = row * 16 + column
            matrix[p], right[p] = 0, 0
            for dy, dx in [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]:
                if 0 <= row + dy < 16 and 0 <= column + dx < 16:
                    weight = 1 if dy and dx else 2
                    matrix[p, p] += weight
                    matrix[p, p + 16 * dy + dx] -= weight
        expected = np.linalg.solve(matrix, right).reshape(16, 16, 3)
        np.testing.assert_allclose(result, expected, atol=0.501)


def test_imputation_leaves_visible_pixels_and_adds_noise_to_the_others(images: np.ndarray) -> None:
    hidden = np.random.default_rng(1).random((2, 16, 16)) < 0.5
    assert (impute(images, np.ones((2, 16, 16), bool), noise=0) == 128).all()  # no visible pixel
    noisy, calm = impute(images, hidden, noise=5), impute(images, hidden, noise=0)
    np.testing.assert_array_equal(noisy[~hidden], images[~hidden])
    assert 4 < (noisy.astype(float) - calm)[hidden].std() < 6
    np.testing.assert_array_equal(noisy, impute(images, hidden, noise=5))
