from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seefar.data import Data
from seefar.data.images import Split
from seefar.errors import DataError, RunError
from seefar.evaluation.predictions import Predictions, predict
from seefar.explanation.neighbours import Neighbours, find_neighbours
from seefar.progress import SILENT
from seefar.training.run import Run

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


def test_a_test_image_that_is_a_training_image_is_flagged() -> None:
    asked, known, data = by_hand([22, 5, 90], [0, 0, 1], [1, 0, 0])
    leaked = data.test.images.copy()
    leaked[1] = data.train.images[4]
    test = replace(data.test, images=leaked)
    found = find_neighbours(replace(asked, images=test.fingerprint), known, replace(data, test=test))
    assert [(one.index, one.training, one.likeness, one.mirrored) for one in found.duplicates] == [(1, 4, 1.0, False)]


def test_it_equals_brute_force_on_a_trained_net(trained: Run, shapes: Data) -> None:
    asked = predict(trained.model, shapes.test, progress=SILENT)
    known = predict(trained.model, shapes.train, progress=SILENT)
    found = find_neighbours(asked, known, shapes)
    a, b = (x.features.astype(np.float64) for x in (asked, known))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    distances = 1 - a @ b.T
    assert found.index.tolist() == np.flatnonzero(asked.predicted != asked.labels).tolist()
    assert len(found.index) > 5
    for number, index in enumerate(found.index):
        for near, k in ((found.of_predicted, asked.predicted[index]), (found.of_true, asked.labels[index])):
            members = np.flatnonzero(known.labels == k)
            wanted = members[np.argsort(distances[index, members], kind="stable")[:3]]
            assert near[number].tolist() == wanted.tolist()


def test_save_and_load_lose_nothing(tmp_path: Path) -> None:
    asked, known, data = by_hand([22, 5, 90], [0, 0, 1], [1, 0, 0])
    leaked = data.test.images.copy()
    leaked[1] = data.train.images[4, :, ::-1]
    test = replace(data.test, images=leaked)
    found = find_neighbours(replace(asked, images=test.fingerprint), known, replace(data, test=test))
    found.save(tmp_path / "neighbours.npz")
    again = Neighbours.load(tmp_path / "neighbours.npz")
    for name in ("index", "of_predicted", "of_true", "distance_predicted", "distance_true"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
        assert getattr(again, name).dtype == getattr(found, name).dtype
    for name in ("duplicates", "model", "training", "images"):
        assert getattr(again, name) == getattr(found, name)
    assert again.duplicates[0].mirrored is True
    (tmp_path / "neighbours.npz").write_bytes(b"PK")
    with pytest.raises(RunError, match=r"neighbours\.npz"):
        Neighbours.load(tmp_path / "neighbours.npz")


def test_predictions_of_other_weights_or_images_are_refused() -> None:
    asked, known, data = by_hand([22, 5, 90], [0, 0, 1], [1, 0, 0])
    with pytest.raises(DataError, match="the same weights"):
        find_neighbours(asked, replace(known, model="others"), data)
    with pytest.raises(DataError, match="other images than angles has"):
        find_neighbours(asked, replace(known, images="others"), data)
    with pytest.raises(DataError, match="other images than angles has"):
        find_neighbours(replace(asked, images="others"), known, data)


def test_without_features_or_training_predictions_nothing_is_near() -> None:
    asked, known, data = by_hand([22, 5, 90], [0, 0, 1], [1, 0, 0])
    for found in (
        find_neighbours(replace(asked, features=np.empty((3, 0), np.float32)), known, data),
        find_neighbours(asked, None, data),
    ):
        assert len(found.index) == 2
        assert (found.of_true == -1).all()
        assert np.isnan(found.distance_predicted).all()
