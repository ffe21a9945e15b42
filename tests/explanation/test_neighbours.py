from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seefar.data import Data
from seefar.data.images import Split
from seefar.errors import DataError, RunError
from seefar.evaluation.predictions import Predictions
from seefar.explanation.leaks import nearest
from seefar.explanation.neighbours import Neighbours, find_neighbours

CLASSES = ("cat", "dog")


def at(degrees: list[float]) -> np.ndarray:
    """Features of length one in two dimensions, by their angle."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], 1).astype(np.float32)


def images(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)


def by_hand(test_angles: list[float], answers: list[int], truth: list[int]) -> tuple[Predictions, Predictions, Data]:
    """Training images at 0, 10, 20, 30 (cats) and 80, 90 degrees (dogs)."""
    train = Split(images(6, 0), np.array([0, 0, 0, 0, 1, 1]), CLASSES)
    test = Split(images(len(truth), 1), np.array(truth), CLASSES)
    known = Predictions(np.eye(2, dtype=np.float32)[train.labels], at([0, 10, 20, 30, 80, 90]), train.labels, CLASSES,
                        "weights", train.fingerprint)  # fmt: skip
    asked = Predictions(np.eye(2, dtype=np.float32)[answers], at(test_angles), test.labels, CLASSES,
                        "weights", test.fingerprint)  # fmt: skip
    return asked, known, Data("angles", train, test)


def test_neighbours_worked_out_by_hand() -> None:
    """A dog at 22 degrees that is called a cat, a cat at 90 called a dog; the other is right."""
    found = find_neighbours(*by_hand([22, 5, 90], [0, 0, 1], [1, 0, 0]))
    assert found.index.tolist() == [0, 2]
    assert found.of_predicted.tolist() == [[2, 3, 1], [5, 4, -1]]
    assert found.of_true.tolist() == [[4, 5, -1], [3, 2, 1]]
    np.testing.assert_allclose(found.distance_predicted[0], 1 - np.cos(np.radians([2, 8, 12])), atol=1e-6)
    np.testing.assert_allclose(found.distance_true[0], [1 - np.cos(np.radians(58)), 1 - np.cos(np.radians(68)), np.nan],
                               atol=1e-6)  # fmt: skip
    assert found.duplicates == ()


def test_a_leaked_image_is_flagged_and_saving_loses_nothing(tmp_path: Path) -> None:
    asked, known, data = by_hand([22, 5, 90], [0, 0, 1], [1, 0, 0])
    leaked = data.test.images.copy()
    leaked[1] = data.train.images[4, :, ::-1]
    test = replace(data.test, images=leaked)
    found = find_neighbours(replace(asked, images=test.fingerprint), known, replace(data, test=test))
    assert [(one.index, one.training, one.likeness, one.mirrored) for one in found.duplicates] == [(1, 4, 1.0, True)]
    found.save(tmp_path / "neighbours.npz")
    again = Neighbours.load(tmp_path / "neighbours.npz")
    for name in ("index", "of_predicted", "of_true", "distance_predicted", "distance_true"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name), strict=True)
    for name in ("duplicates", "model", "training", "images"):
        assert getattr(again, name) == getattr(found, name)
    (tmp_path / "neighbours.npz").write_bytes(b"PK")
    with pytest.raises(RunError, match=r"neighbours\.npz"):
        Neighbours.load(tmp_path / "neighbours.npz")


def test_predictions_of_other_weights_or_images_are_refused() -> None:
    asked, known, data = by_hand([22, 5, 90], [0, 0, 1], [1, 0, 0])
    for one, other in (
        (asked, replace(known, model="others")),
        (asked, replace(known, images="others")),
        (replace(asked, images="others"), known),
    ):
        with pytest.raises(DataError, match=r"the same weights|other images than angles has"):
            find_neighbours(one, other, data)


def test_without_features_or_training_predictions_nothing_is_near() -> None:
    asked, known, data = by_hand([22, 5, 90], [0, 0, 1], [1, 0, 0])
    for found in (
        find_neighbours(replace(asked, features=np.empty((3, 0), np.float32)), known, data),
        find_neighbours(asked, None, data),
    ):
        assert found.of_true.tolist() == [[-1] * 3] * 2
        assert np.isnan(found.distance_predicted).all()


# ---- The nearest of many vectors ----


@pytest.mark.parametrize("block", [1, 7 * 500, 2**25])
def test_it_equals_brute_force_whatever_the_size_of_the_blocks(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr("seefar.explanation.leaks.BLOCK_CELLS", block)
    rng = np.random.default_rng(0)
    # Features after a ReLU, nearly in one direction, as a trained network's are: float32 alone orders them wrongly.
    bank = (1 + 0.03 * rng.random((500, 32))).astype(np.float32)
    queries = (1 + 0.03 * rng.random((40, 32))).astype(np.float32)
    indices, distances = nearest(queries, bank, 5)
    a, b = (x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True) for x in (queries, bank))
    expected = 1 - a @ b.T
    order = np.argsort(expected, axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_allclose(distances, np.take_along_axis(expected, order, 1), atol=1e-15)


def test_the_nearest_by_hand() -> None:
    """Distances are one minus the cosine, the first of equal ones comes first, and banks may be small or empty."""
    bank = np.array([[10, 0], [0, 0.1], [-1, 0], [0, 0]], np.float32)
    indices, distances = nearest(np.array([[3, 4]], np.float32), bank, 4)
    assert indices.tolist() == [[1, 0, 3, 2]]
    np.testing.assert_allclose(distances, [[0.2, 0.4, 1.0, 1.6]], atol=1e-7)
    equal = np.tile(np.array([[1, 2, 3]], np.float32), (6, 1))
    assert nearest(equal[:1], equal, 3)[0].tolist() == [[0, 1, 2]]
    assert nearest(equal[:2], equal[:1], 3)[0].tolist() == [[0], [0]]
    assert nearest(equal[:2], equal[:0], 3)[0].shape == (2, 0)
    assert nearest(equal[:0], equal[:2], 3)[0].shape == (0, 2)
