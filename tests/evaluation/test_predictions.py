from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seefar.data import Data
from seefar.errors import RunError
from seefar.evaluation.predictions import Predictions, predict
from seefar.training.run import Run


def test_probabilities_and_losses_by_hand() -> None:
    """Logits ln 1, ln 2, ln 5 are probabilities 1/8, 2/8, 5/8, whatever is added to all of them."""
    logits = np.log([[1, 2, 5], [1, 2, 5]]).astype(np.float32) + np.float32([[0], [500]])
    predictions = Predictions(logits, np.zeros((2, 1), np.float32), np.array([2, 0]))
    np.testing.assert_allclose(np.exp(predictions.log_probabilities), [[0.125, 0.25, 0.625]] * 2, rtol=1e-4)
    np.testing.assert_allclose(predictions.losses, [-np.log(0.625), -np.log(0.125)], rtol=1e-4)
    assert predictions.predicted.tolist() == [2, 2]


def test_a_hopeless_answer_has_a_finite_loss() -> None:
    logits = np.array([[1000.0, -1000.0]], np.float32)
    assert Predictions(logits, np.zeros((1, 1), np.float32), np.array([1])).losses == pytest.approx([2000.0])


def test_every_image_is_answered_in_order_in_eval_mode(trained: Run, shapes: Data) -> None:
    model = trained.model
    model.train()
    try:
        predictions = predict(model, shapes.test)
        assert model.training
    finally:
        model.eval()
    assert predictions.logits.shape == (150, 10)
    assert predictions.features.shape == (150, 64)
    # An image's answer does not depend on the images beside it.
    few = predict(model, shapes.test.take(np.array([149, 3])))
    np.testing.assert_allclose(few.logits, predictions.logits[[149, 3]], atol=1e-5)
    weight, bias = (tensor.detach().numpy() for tensor in (model.fc.weight, model.fc.bias))
    np.testing.assert_allclose(predictions.features @ weight.T + bias, predictions.logits, atol=1e-4)


def test_they_are_kept_as_plain_arrays(tmp_path: Path, trained: Run, shapes: Data) -> None:
    predictions = predict(trained.model, shapes.test)
    predictions.save(tmp_path / "predictions.npz")
    back = Predictions.load(tmp_path / "predictions.npz")
    for name in ("logits", "features", "labels"):
        np.testing.assert_array_equal(getattr(back, name), getattr(predictions, name))


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "predictions.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=r"predictions\.npz.*seefar evaluate"):
        Predictions.load(path)


def test_an_archive_with_pickled_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "predictions.npz", logits=np.array([{}], dtype=object))
    with pytest.raises(RunError, match="cannot be read"):
        Predictions.load(tmp_path / "predictions.npz")
