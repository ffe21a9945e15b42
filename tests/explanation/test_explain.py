from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from seefar import class_maps, gradcam
from seefar.data import Data
from seefar.errors import MapError
from seefar.evaluation.evaluate import Evaluation, evaluate
from seefar.evaluation.predictions import Predictions
from seefar.explanation.explain import explain
from seefar.maps.grid import Grid
from seefar.training.run import Run


def test_each_mistake_gets_the_maps_of_its_own_two_classes(run: Run, shapes: Data) -> None:
    evaluation = evaluate(run.model, shapes.test)
    explanation = explain(run, shapes.test, evaluation)
    assert explanation.mistakes == evaluation.mistakes
    assert len(explanation.mistakes) > 10
    parts = explanation.contrast, explanation.predicted, explanation.true
    for mistake, contrast, predicted, true in zip(explanation.mistakes, *parts, strict=True):
        image = shapes.test.images[mistake.index : mistake.index + 1]
        np.testing.assert_allclose(predicted, gradcam(run.model, image, mistake.predicted)[0], atol=1e-4)
        np.testing.assert_allclose(true, gradcam(run.model, image, mistake.true)[0], atol=1e-4)
        np.testing.assert_array_equal(contrast, predicted - true)
    with np.load(run.folder.path / "maps.npz") as maps:
        assert maps["index"].tolist() == [mistake.index for mistake in evaluation.mistakes]
        for name in ("contrast", "predicted", "true", "hidden"):
            np.testing.assert_array_equal(maps[name], getattr(explanation, name))


def test_the_files_say_what_was_found(run: Run, shapes: Data) -> None:
    explanation = explain(run, shapes.test, evaluate(run.model, shapes.test), hide="mean")
    with (run.folder.path / "mistakes.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(explanation.mistakes)
    outcomes = [row["outcome"] for row in rows]
    assert outcomes == [repair.outcome for repair in explanation.repairs]
    for row, repair, health in zip(rows, explanation.repairs, explanation.health, strict=True):
        assert tuple(int(row[side]) for side in ("top", "left", "bottom", "right")) == repair.box
        assert (row["outcome"] == "repaired") == (row["answer_hidden"] == row["true"])
        assert (row["outcome"] == "stays") == (row["answer_hidden"] == row["predicted"])
        assert (row["health"], row["health_reasons"]) == (health.badge, "; ".join(health.reasons))
        assert row["sentence"].startswith(f"Hiding {repair.share:.0%} of the image")
    about = json.loads((run.folder.path / "explanation.json").read_text())
    assert (about["method"], about["layer"], about["cells"], about["hide"]) == ("gradcam", None, [8, 8], "mean")
    rate = about["occlusion"]["repaired"]
    assert rate["n"] == len(rows)
    assert rate["share"] == pytest.approx(outcomes.count("repaired") / len(rows))
    assert about["occlusion"]["damaged"]["n"] == len(rows)


def test_what_was_hidden_changed_the_answer_as_is_said(run: Run, shapes: Data) -> None:
    from seefar.maps.removal import hide
    from seefar.model.inference import compute_logits

    explanation = explain(run, shapes.test, evaluate(run.model, shapes.test))
    images = shapes.test.images[[mistake.index for mistake in explanation.mistakes]]
    logits = compute_logits(run.model, hide(images, explanation.hidden))
    assert logits.argmax(1).tolist() == [repair.answer for repair in explanation.repairs]
    assert {repair.outcome for repair in explanation.repairs} >= {"repaired", "stays"}


def test_another_method_and_layer(run: Run, shapes: Data) -> None:
    evaluation = evaluate(run.model, shapes.test)
    explanation = explain(run, shapes.test, evaluation, "layercam", "layer2")
    assert explanation.contrast.shape[1:] == (16, 16)
    assert (explanation.cell_stride, explanation.grid) == (1, Grid((16, 16), 2.0, 0.5))
    fine = explain(run, shapes.test, evaluation, cells=16)
    assert fine.cell_stride == 4
    assert fine.grid.spacing == 2
    assert 0 <= fine.grid.origin <= 7
    index = [mistake.index for mistake in evaluation.mistakes]
    expected = class_maps(run.model, shapes.test.images[index], 16)
    np.testing.assert_allclose(fine.predicted, expected.of([m.predicted for m in evaluation.mistakes]), atol=1e-4)
    with pytest.raises(MapError, match="no method 'gradcam2': choose one of gradcam, "):
        explain(run, shapes.test, evaluation, "gradcam2")  # type: ignore[arg-type]
    with pytest.raises(MapError, match="eigencam gives one map for all classes"):
        explain(run, shapes.test, evaluation, "eigencam")  # type: ignore[arg-type]


def test_some_of_them_in_another_order(run: Run, shapes: Data) -> None:
    explanation = explain(run, shapes.test, evaluate(run.model, shapes.test))
    some = explanation.of([explanation.mistakes[4], explanation.mistakes[1]])
    assert some.mistakes == [explanation.mistakes[4], explanation.mistakes[1]]
    np.testing.assert_array_equal(some.true, explanation.true[[4, 1]])
    np.testing.assert_array_equal(some.hidden, explanation.hidden[[4, 1]])
    assert some.repairs == [explanation.repairs[4], explanation.repairs[1]]
    assert some.rates == explanation.rates
    assert len(explanation.of([]).contrast) == 0


def test_a_net_without_mistakes_has_no_maps(run: Run, shapes: Data) -> None:
    labels = shapes.test.labels
    right = Predictions(
        np.eye(10, dtype=np.float32)[labels],
        np.zeros((150, 1), np.float32),
        labels,
        shapes.classes,
        model="",
        images="",
    )
    perfect = Evaluation.of(right)
    explanation = explain(run, shapes.test, perfect)
    assert len(explanation.predicted) == len(explanation.repairs) == 0
    assert explanation.rates.damaged.n == 0
    with pytest.raises(MapError, match="no layer 'layer9'"):
        explain(run, shapes.test, perfect, layer="layer9")
