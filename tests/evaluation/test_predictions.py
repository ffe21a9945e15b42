from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seefar.data import Data, Split
from seefar.errors import ChoiceError, DataError, RunError
from seefar.evaluation.predictions import Predictions, predict
from seefar.model.resnet import ResNet18
from seefar.progress import SILENT
from seefar.runs.arrays import save_arrays

SAVED = ("logits", "features", "labels", "classes", "model", "images")


def predictions_of(logits: Any, labels: list[int]) -> Predictions:
    classes = tuple("abcdefgh"[: logits.shape[1]])
    features = np.zeros((len(labels), 1), np.float32)
    return Predictions(logits, features, np.array(labels), classes, model="m", images="i")


def test_probabilities_and_losses_by_hand() -> None:
    """Logits ln 1, ln 2, ln 5 are probabilities 1/8, 2/8, 5/8, whatever is added to all of them."""
    logits = np.log([[1, 2, 5], [1, 2, 5]]).astype(np.float32) + np.float32([[0], [500]])
    predictions = predictions_of(logits, [2, 0])
    np.testing.assert_allclose(np.exp(predictions.log_probabilities), [[0.125, 0.25, 0.625]] * 2, rtol=1e-4)
    np.testing.assert_allclose(predictions.losses, [-np.log(0.625), -np.log(0.125)], rtol=1e-4)
    assert predictions.predicted.tolist() == [2, 2]
    assert predictions_of(np.array([[1000.0, -1000.0]], np.float32), [1]).losses == pytest.approx([2000.0])


def test_every_image_is_predicted_in_order_in_eval_mode(make_net: Callable[..., ResNet18], shapes: Data) -> None:
    model = make_net(10).train()
    predictions = predict(model, shapes.test, progress=SILENT)
    assert model.training
    assert predictions.logits.shape == (150, 10)
    # The prediction for an image does not depend on the images beside it.
    few = predict(model, shapes.test.take(np.array([149, 3])), progress=SILENT)
    np.testing.assert_allclose(few.logits, predictions.logits[[149, 3]], rtol=1e-4, atol=1e-5)
    weight, bias = (tensor.detach().numpy() for tensor in (model.fc.weight, model.fc.bias))
    np.testing.assert_allclose(predictions.features @ weight.T + bias, predictions.logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("logits", np.zeros(3, np.float32), r"logits should be float32 \(3, K\), float32 \(3,\)"),
        ("features", np.zeros((4, 5), np.float32), r"features should be float32 \(3, 5\), float32 \(4, 5\)"),
        ("classes", ("a", "b", "c"), r"classes should be str \(2\)"),
    ],
)
def test_arrays_that_do_not_fit_each_other_are_refused(tmp_path: Path, name: str, value: Any, message: str) -> None:
    path = tmp_path / "predictions.npz"
    good = predictions_of(np.zeros((3, 2), np.float32), [0, 1, 1])
    save_arrays(path, {field: getattr(good, field) for field in SAVED} | {name: value})
    with pytest.raises(RunError, match=rf"predictions\.npz: {message}"):
        Predictions.load(path)


class Pictures(nn.Module):
    """Not one of ours: the mean of each channel through a linear layer whose logits can be worked out by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[1.5, 0, 0], [0, 2.0, 0]]))
            self.head.bias.zero_()

    def forward(self, pictures: Tensor) -> Tensor:
        assert pictures.shape[1] == 3
        assert not self.training
        logits: Tensor = self.head(pictures.mean((2, 3)))
        return logits


@pytest.fixture
def two_colours() -> Split:
    images = np.zeros((2, 8, 8, 3), np.uint8)
    images[0, ..., 0], images[1, ..., 1] = 255, 51
    return Split(images, [0, 1], ("red", "green"))


def test_any_module_that_takes_pictures(two_colours: Split) -> None:
    model = Pictures().train()
    predictions = predict(model, two_colours, progress=SILENT)
    np.testing.assert_allclose(predictions.logits, [[1.5, 0], [0, 0.4]], atol=1e-6)
    np.testing.assert_allclose(predictions.features, [[1, 0, 0], [0, 0.2, 0]], atol=1e-6)
    assert model.training
    assert not model.head._forward_pre_hooks


def test_a_module_without_a_linear_layer_has_no_features(two_colours: Split) -> None:
    predictions = predict(nn.Sequential(nn.Conv2d(3, 2, 8), nn.Flatten()), two_colours, progress=SILENT)
    assert predictions.features.shape == (2, 0)
    assert predictions.are_for(two_colours)
    changed = two_colours.images.copy()
    changed[1, 1, 2, 0] ^= 1
    assert not predictions.are_for(replace(two_colours, images=changed))
    assert not predictions.are_for(replace(two_colours, classes=("a", "b")))


@pytest.mark.parametrize(
    ("model", "message"),
    [(nn.Conv2d(3, 2, 1), r"2 images .*\(2, 2, 8, 8\)"), (nn.AdaptiveMaxPool2d(1, True), "got a tuple")],
)
def test_a_model_that_gives_no_logits_is_refused(two_colours: Split, model: nn.Module, message: str) -> None:
    with pytest.raises(ChoiceError, match=message):
        predict(model, two_colours, progress=SILENT)


@pytest.mark.parametrize("wrong", ["an image less", "a class less", "nan", "words"])
def test_logits_from_elsewhere_fit_the_images(wrong: str, shapes: Data) -> None:
    logits = np.eye(10)[shapes.test.labels]
    assert Predictions.of(logits, shapes.test).predicted.tolist() == shapes.test.labels.tolist()
    nan, words = np.full_like(logits, np.nan), np.full(logits.shape, "0")
    bad = {"an image less": logits[1:], "a class less": logits[:, 1:], "nan": nan, "words": words}[wrong]
    with pytest.raises(DataError, match=r"150, 10"):
        Predictions.of(bad, shapes.test)
