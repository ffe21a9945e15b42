from __future__ import annotations

import numpy as np
import pytest

from seefar.explanation import nearest as module
from seefar.explanation.nearest import nearest


def brute_force(queries: np.ndarray, bank: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = (x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True) for x in (queries, bank))
    distances = 1 - a @ b.T
    order = np.argsort(distances, axis=1, kind="stable")[:, :count]
    return order, np.take_along_axis(distances, order, 1)


@pytest.mark.parametrize("block", [1, 7 * 500, 2**25])
def test_it_equals_brute_force_whatever_the_size_of_the_blocks(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(module, "BLOCK_CELLS", block)
    rng = np.random.default_rng(0)
    # Features after a ReLU, nearly in one direction, as a trained network's are: float32 alone orders them wrongly.
    bank = (1 + 0.03 * rng.random((500, 32))).astype(np.float32)
    queries = (1 + 0.03 * rng.random((40, 32))).astype(np.float32)
    indices, distances = nearest(queries, bank, 5)
    wanted, far = brute_force(queries, bank, 5)
    np.testing.assert_array_equal(indices, wanted)
    np.testing.assert_allclose(distances, far, atol=1e-15)


def test_distances_are_one_minus_the_cosine_and_length_does_not_matter() -> None:
    bank = np.array([[10, 0], [0, 0.1], [-1, 0], [0, 0]], np.float32)
    indices, distances = nearest(np.array([[3, 4]], np.float32), bank, 4)
    assert indices.tolist() == [[1, 0, 3, 2]]
    np.testing.assert_allclose(distances, [[0.2, 0.4, 1.0, 1.6]], atol=1e-7)


def test_of_equally_distant_rows_the_first_comes_first() -> None:
    bank = np.tile(np.array([[1, 2, 3]], np.float32), (6, 1))
    assert nearest(bank[:1], bank, 3)[0].tolist() == [[0, 1, 2]]


def test_a_bank_may_be_smaller_than_wanted_or_empty() -> None:
    queries = np.ones((2, 3), np.float32)
    assert nearest(queries, queries[:1], 3)[0].tolist() == [[0], [0]]
    assert nearest(queries, queries[:0], 3)[0].shape == (2, 0)
    assert nearest(queries[:0], queries, 3)[0].shape == (0, 2)
