from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy

from lab.evidence import doubt, neighbour_shares


def test_shares_of_the_nearest_worked_out_by_hand() -> None:
    """Training images at 0, 10, 20 degrees (class 0) and 60, 90 (class 1); lengths do not count."""
    radians = np.radians([0, 10, 20, 60, 90])
    bank = (np.stack([np.cos(radians), np.sin(radians)], 1) * [[1], [5], [2], [9], [1]]).astype(np.float32)
    labels, classes = np.array([0, 0, 0, 1, 1]), np.array([[0, 1], [0, 1]])
    asked = np.float32([[1, 0], [1, 1]])  # 0 and 45 degrees
    shares = neighbour_shares(asked, classes, bank, labels, count=3)
    np.testing.assert_allclose(shares, [[1, 0], [2 / 3, 1 / 3]])
    assert neighbour_shares(asked, classes, bank, labels, count=50).tolist() == [[0.6, 0.4], [0.6, 0.4]]


def test_weighted_neighbours_are_those_of_scikit_learn() -> None:
    neighbors = pytest.importorskip("sklearn.neighbors")

    random = np.random.default_rng(0)
    bank, asked = (random.random((n, 6), np.float32) for n in (300, 40))
    labels, classes = random.integers(0, 3, 300), random.integers(0, 3, (40, 2))
    weight = random.random(6, np.float32)
    found = neighbour_shares(asked, classes, bank, labels, weights=np.tile(weight, (40, 1)), count=7)
    plain = neighbors.NearestNeighbors(n_neighbors=7, metric="cosine").fit(bank * np.sqrt(weight))
    near = plain.kneighbors(asked * np.sqrt(weight), return_distance=False)
    expected = (labels[near][:, None, :] == classes[:, :, None]).mean(2)
    np.testing.assert_allclose(found, expected)


def test_margin_and_entropy_after_temperature() -> None:
    logits = 2 * np.log(np.array([[0.5, 0.5, 1e-9], [0.6, 0.3, 0.1]])).astype(np.float32)
    found = doubt(logits, np.array([1]), np.array([0, 1]), temperature=2.0)
    np.testing.assert_allclose(found, [[0.3, entropy([0.6, 0.3, 0.1], base=2)]], atol=1e-6)
