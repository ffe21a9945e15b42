from __future__ import annotations

import numpy as np

from seefar import gradcam
from seefar.data import Data
from seefar.evaluation.evaluate import evaluate
from seefar.explanation.explain import explain
from seefar.training.run import Run


def test_each_mistake_gets_the_maps_of_its_own_two_classes(run: Run, shapes: Data) -> None:
    mistakes = evaluate(run, shapes.test).mistakes[:4]
    explanation = explain(run, shapes.test, mistakes)
    for mistake, predicted, true in zip(mistakes, explanation.predicted, explanation.true, strict=True):
        image = shapes.test.images[mistake.index : mistake.index + 1]
        np.testing.assert_allclose(predicted, gradcam(run.model, image, mistake.predicted)[0], atol=1e-5)
        np.testing.assert_allclose(true, gradcam(run.model, image, mistake.true)[0], atol=1e-5)
    with np.load(run.folder.path / "maps.npz") as maps:
        assert maps["index"].tolist() == [mistake.index for mistake in mistakes]
        np.testing.assert_array_equal(maps["predicted"], explanation.predicted)
        np.testing.assert_array_equal(maps["true"], explanation.true)


def test_a_net_without_mistakes_has_no_maps(run: Run, shapes: Data) -> None:
    explanation = explain(run, shapes.test, [])
    assert len(explanation.predicted) == len(explanation.true) == 0
