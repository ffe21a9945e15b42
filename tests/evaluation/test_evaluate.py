from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seefar.data import Data, Split
from seefar.data.reference import CLASSES
from seefar.errors import DataError
from seefar.evaluation.evaluate import Evaluation, analyse_mistakes, evaluate
from seefar.evaluation.predictions import Predictions, predict
from seefar.evaluation.verdict import ONE_RUN
from seefar.model.resnet import ResNet18
from seefar.progress import SILENT
from seefar.training.run import Run


def test_it_counts_what_it_lists_and_nothing_is_lost_on_disk(trained: Run, shapes: Data, tmp_path: Path) -> None:
    evaluation = evaluate(trained.model, shapes.test, progress=SILENT)
    assert len(evaluation.mistakes) == evaluation.metrics.mistakes == round(150 * (1 - evaluation.metrics.accuracy)) > 5
    for value in (shapes, shapes.test, evaluation, evaluation.predictions, evaluation.metrics):
        assert "array(" not in repr(value)
    evaluation.save(tmp_path / "any name")
    back = Evaluation.load(tmp_path / "any name")
    assert (back.metrics, back.mistakes) == (evaluation.metrics, evaluation.mistakes)
    for name, value in vars(evaluation.predictions).items():
        np.testing.assert_array_equal(getattr(back.predictions, name), value, strict=True)


def test_a_model_of_other_classes_and_no_images_are_refused(trained: Run, shapes: Data) -> None:
    few = shapes.test.take([0, 1])
    other = replace(few, labels=few.labels % 2, classes=("cat", "dog"))
    with pytest.raises(DataError, match=r"gives 10 logits for an image, but the data has 2 classes \(cat, dog"):
        evaluate(trained.model, other, progress=SILENT)
    with pytest.raises(DataError, match="no image in this split"):
        evaluate(trained.model, shapes.test.take([]), progress=SILENT)


# ---- Predictions ----


def test_probabilities_and_losses_by_hand() -> None:
    """Logits ln 1, ln 2, ln 5 are probabilities 1/8, 2/8, 5/8, whatever is added to all of them."""
    logits = np.log([[1, 2, 5], [1, 2, 5]]).astype(np.float32) + np.float32([[0], [500]])
    split = Split(np.zeros((2, 8, 8, 3), np.uint8), [2, 0], ("a", "b", "c"))
    predictions = Predictions.of(logits, split)
    np.testing.assert_allclose(np.exp(predictions.log_probabilities), [[0.125, 0.25, 0.625]] * 2, rtol=1e-4)
    np.testing.assert_allclose(predictions.losses, [-np.log(0.625), -np.log(0.125)], rtol=1e-4)
    assert predictions.predicted.tolist() == [2, 2]
    assert Predictions.of(np.array([[0, 0, 0], [-1000.0, 1000.0, 0]]), split).losses[1] == pytest.approx(2000.0)


def test_every_image_is_predicted_in_order_in_eval_mode(make_net: Callable[..., ResNet18], shapes: Data) -> None:
    model = make_net(10).train()
    predictions = predict(model, shapes.test, progress=SILENT)
    assert model.training
    assert predictions.logits.shape == (150, 10)
    # The prediction for an image does not depend on the images beside it.
    few = predict(model, shapes.test.take(np.array([149, 3])), progress=SILENT)
    np.testing.assert_allclose(few.logits, predictions.logits[[149, 3]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wrong", ["an image less", "a class less", "nan", "words"])
def test_logits_from_elsewhere_fit_the_images(wrong: str, shapes: Data) -> None:
    logits = np.eye(10)[shapes.test.labels]
    assert Predictions.of(logits, shapes.test).predicted.tolist() == shapes.test.labels.tolist()
    nan, words = np.full_like(logits, np.nan), np.full(logits.shape, "0")
    bad = {"an image less": logits[1:], "a class less": logits[:, 1:], "nan": nan, "words": words}[wrong]
    with pytest.raises(DataError, match=r"150, 10"):
        Predictions.of(bad, shapes.test)


# ---- Analysis ----


def predict_classes(split: Split, predicted: np.ndarray) -> Predictions:
    return Predictions.of(5 * np.eye(10)[predicted], split)


@pytest.fixture
def split() -> Split:
    labels = np.arange(40) % 10
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
    return Split(images, labels, CLASSES)


@pytest.mark.parametrize(("right", "reported"), [(18, False), (38, True)])
def test_a_mostly_wrong_model_gives_no_label_issues(split: Split, right: int, reported: bool) -> None:
    """With 18 of 40 right it confidently contradicts 22 labels, and it is not the labels that are wrong."""
    found = np.where(np.arange(40) < right, split.labels, (split.labels + 1) % 10)
    analysis = analyse_mistakes(predict_classes(split, found), split)
    assert len(analysis.issues) > 0
    assert any("labels may be wrong" in line for line in analysis.lines) is reported


def test_other_data_have_patterns_label_issues_and_faults_by_evidence(split: Split) -> None:
    """Images 3 and 13 are cats called dogs, image 5 a dog called cat."""
    predicted = split.labels.copy()
    predicted[[3, 13]], predicted[5] = 5, 3
    analysis = analyse_mistakes(predict_classes(split, predicted), split)
    assert [view.name for view in analysis.views] == ["as labelled"]
    assert sorted(issue.index for issue in analysis.issues) == [3, 5, 13]
    assert (analysis.pairs[0].first_as_second, analysis.pairs[0].second_as_first) == (2, 1)
    assert analysis.sections["fault_rule"]["name"] == ONE_RUN.name
    assert {verdict.index for verdict in analysis.verdicts} == {3, 5, 13}


def test_no_mistakes_one_image_and_another_split(split: Split) -> None:
    assert analyse_mistakes(predict_classes(split, split.labels), split).lines == []
    one = split.take([0])
    assert analyse_mistakes(predict_classes(one, one.labels + 1), one).slices == []
    with pytest.raises(DataError, match="other images or labels"):
        analyse_mistakes(predict_classes(split, split.labels), replace(split, images=split.images[::-1]))
