"""The research code of the benchmarks, by hand and by independent solvers."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lab.evidence import neighbour_shares
from lab.gradient_free import eigencam, scorecam
from lab.removal_scores import CURVE_SHARES, deletion, impute
from lab.shortcut import plant_shortcut
from lab.views import predict_two_views
from seefar.data import Data
from seefar.data.images import Split
from seefar.errors import DataError
from seefar.evaluation.predictions import predict
from seefar.maps.grid import rank_pixels
from seefar.model.resnet import ResNet18
from seefar.progress import SILENT

# ---- Baselines and gradient-free maps ----


class Toy(nn.Module):
    """The two channels of the input; class 0 is twice the mean of the first minus the mean of the second."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        means = self.cells(inputs).mean((2, 3))
        return torch.stack((2 * means[:, 0] - means[:, 1], means[:, 0]), dim=1)


def test_gradient_free_maps_by_hand() -> None:
    """Eigen-CAM: the channels do not overlap, so the stronger one alone is the first singular vector.

    Score-CAM: shown alone, the first gives a logit of 2 * 3/36 = 1/6, the second one of -5/36.
    """
    inputs, expected = torch.zeros(1, 2, 6, 6), np.zeros((1, 6, 6))
    inputs[0, 0, 1, 2], inputs[0, 1, 4, 5] = 3.0, 5.0
    expected[0, 4, 5] = 5
    np.testing.assert_allclose(eigencam(Toy(), inputs, 0, layer="cells"), expected, atol=1e-6)
    first, second = np.exp([1 / 6, -5 / 36]) / np.exp([1 / 6, -5 / 36]).sum()
    expected[0, 1, 2], expected[0, 4, 5] = 3 * first, 5 * second
    np.testing.assert_allclose(scorecam(Toy(), inputs, 0, layer="cells"), expected, atol=1e-6)


# ---- Removal scores ----

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


def test_imputation_agrees_with_a_dense_solver() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
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
    assert (impute(images, np.ones((2, 16, 16), bool), noise=0) == 128).all()  # no visible pixel


# ---- Evidence ----


def test_shares_of_the_nearest_worked_out_by_hand() -> None:
    """Training images at 0, 10, 20 degrees (class 0) and 60, 90 (class 1); lengths do not count."""
    radians = np.radians([0, 10, 20, 60, 90])
    bank = (np.stack([np.cos(radians), np.sin(radians)], 1) * [[1], [5], [2], [9], [1]]).astype(np.float32)
    labels, classes = np.array([0, 0, 0, 1, 1]), np.array([[0, 1], [0, 1]])
    asked = np.float32([[1, 0], [1, 1]])  # 0 and 45 degrees
    shares = neighbour_shares(asked, classes, bank, labels, count=3)
    np.testing.assert_allclose(shares, [[1, 0], [2 / 3, 1 / 3]])
    assert neighbour_shares(asked, classes, bank, labels, count=50).tolist() == [[0.6, 0.4], [0.6, 0.4]]


# ---- Two views ----


class LeftPixel(nn.Module):
    """Logits of two classes: 0, and the brightness of the upper left pixel times 10, minus 3."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))

    def forward(self, pictures: Tensor) -> Tensor:
        second = pictures[:, 0, 0, 0] * self.scale - 3
        return torch.stack([torch.zeros_like(second), second], 1)


def test_the_probabilities_of_image_and_mirror_image_are_averaged() -> None:
    """Left 0, right 1 (255): sigmoid(-3) and sigmoid(7) make 0.523 for class 1; one view says class 0."""
    images = np.zeros((2, 8, 8, 3), np.uint8)
    images[0, 0, 7] = 255
    test = Split(images, np.array([1, 0]), ("dark", "bright"))
    model = LeftPixel().eval()
    single = predict(model, test, progress=SILENT)
    found = predict_two_views(model, test, single, progress=SILENT)
    mean = (1 / (1 + np.exp(3)) + 1 / (1 + np.exp(-7))) / 2
    np.testing.assert_allclose(np.exp(found.log_probabilities[0]), [1 - mean, mean], atol=1e-6)
    assert (single.predicted.tolist(), found.predicted.tolist(), found.accuracy) == ([0, 0], [1, 0], 1.0)
    with pytest.raises(DataError, match="other weights or images"):
        predict_two_views(model, test, replace(single, images="others"), progress=SILENT)


# ---- Planted shortcuts ----


def test_a_planted_shortcut_is_a_magenta_patch_where_the_mask_is(few: Data) -> None:
    planted = plant_shortcut(few.train, 0.25, label=3)
    assert planted.masks is not None
    patched = planted.masks.any((1, 2))
    assert planted.masks[patched].sum((1, 2)).tolist() == [64] * 10
    np.testing.assert_array_equal(planted.images, np.where(planted.masks[..., None], (255, 0, 255), few.train.images))
    np.testing.assert_array_equal(planted.labels, np.where(patched, 3, few.train.labels))
    np.testing.assert_array_equal(plant_shortcut(few.train, 1.0).labels, few.train.labels)
