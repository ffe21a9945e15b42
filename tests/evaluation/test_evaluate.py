from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from seefar.data import Data, Split
from seefar.errors import RunError
from seefar.evaluation import evaluate as module
from seefar.evaluation.evaluate import evaluate
from seefar.evaluation.predictions import Predictions
from seefar.training.run import Run


def test_it_writes_what_it_gives(run: Run, shapes: Data) -> None:
    evaluation = evaluate(run, shapes.test)
    folder = run.folder.path
    metrics = json.loads((folder / "metrics.json").read_text())["test"]
    assert metrics["accuracy"] == evaluation.metrics.accuracy == (150 - len(evaluation.mistakes)) / 150
    assert len((folder / "mistakes.csv").read_text().splitlines()) == 1 + len(evaluation.mistakes)
    np.testing.assert_array_equal(Predictions.load(folder / "predictions.npz").logits, evaluation.predictions.logits)


def test_the_test_set_is_read_once(run: Run, shapes: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    first = evaluate(run, shapes.test)
    monkeypatch.setattr(module, "predict", lambda *_: pytest.fail("the network was asked again"))
    assert evaluate(run, shapes.test).metrics == first.metrics


def test_other_test_images_are_refused(run: Run, shapes: Data) -> None:
    evaluate(run, shapes.test)
    with pytest.raises(RunError, match="other test images"):
        evaluate(run, shapes.test.take(np.arange(100)))


def test_a_net_of_other_classes_is_refused(run: Run, shapes: Data) -> None:
    other: Split = replace(shapes.test, classes=("cat", "dog"))
    with pytest.raises(RunError, match=r"10 classes.*the data has 2"):
        evaluate(run, other)
