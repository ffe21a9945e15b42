from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seefar.data import Data
from seefar.errors import DataError, RunError
from seefar.evaluation.evaluate import Evaluation, evaluate
from seefar.evaluation.predictions import Predictions
from seefar.model.resnet import ResNet18
from seefar.progress import SILENT
from seefar.training.run import Run


def test_it_counts_what_it_lists_and_nothing_is_lost_on_disk(trained: Run, shapes: Data, tmp_path: Path) -> None:
    evaluation = evaluate(trained.model, shapes.test, progress=SILENT)
    assert evaluation.metrics.accuracy == (150 - len(evaluation.mistakes)) / 150
    assert len(evaluation.mistakes) == evaluation.metrics.mistakes > 5
    for value in (shapes, shapes.test, evaluation, evaluation.predictions, evaluation.metrics):
        assert len(repr(value)) < 200
        assert "np." not in repr(value)
    evaluation.save(tmp_path / "any name")
    assert [path.name for path in tmp_path.iterdir()] == ["any name"]
    back = Evaluation.load(tmp_path / "any name")
    assert (back.metrics, back.mistakes) == (evaluation.metrics, evaluation.mistakes)
    for name in ("logits", "features", "labels"):
        np.testing.assert_array_equal(
            getattr(back.predictions, name), getattr(evaluation.predictions, name), strict=True
        )
    for name in ("classes", "model", "images"):
        assert getattr(back.predictions, name) == getattr(evaluation.predictions, name)


@pytest.mark.parametrize("shift", [50, -50])
def test_labels_without_a_class_are_refused_in_a_saved_file(shift: int, shapes: Data, tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    Predictions.of(np.eye(10)[shapes.test.labels], shapes.test).save(path)
    arrays = dict(np.load(path))
    np.savez(path, **arrays | {"labels": arrays["labels"] + shift})
    with pytest.raises(RunError, match=r"predictions\.npz.*0 to 9"):
        Evaluation.load(path)


def test_a_model_of_other_classes_and_no_images_are_refused(trained: Run, shapes: Data) -> None:
    few = shapes.test.take([0, 1])
    other = replace(few, labels=few.labels % 2, classes=("cat", "dog"))
    with pytest.raises(DataError, match=r"gives 10 logits for an image, but the data has 2 classes \(cat, dog"):
        evaluate(trained.model, other, progress=SILENT)
    with pytest.raises(DataError, match="no image in this split"):
        evaluate(trained.model, shapes.test.take([]), progress=SILENT)


def test_it_reports_its_progress(shapes: Data) -> None:
    seen: list[tuple[str, int, int]] = []

    class Watch:
        def line(self, text: str) -> None:
            pytest.fail(text)

        def update(self, stage: str, done: int, total: int, note: str = "") -> None:
            seen.append((stage, done, total))

    evaluate(ResNet18(width=1).eval(), shapes.train, progress=Watch())
    assert seen == [("evaluation", 250, 600), ("evaluation", 500, 600), ("evaluation", 600, 600)]
