from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seefar.data import Data
from seefar.errors import DataError, RunError
from seefar.evaluation.evaluate import Evaluation, evaluate
from seefar.progress import SILENT
from seefar.training.run import Run


def test_it_counts_what_it_lists(trained: Run, shapes: Data) -> None:
    evaluation = evaluate(trained.model, shapes.test, progress=SILENT)
    assert evaluation.metrics.accuracy == (150 - len(evaluation.mistakes)) / 150
    assert len(evaluation.mistakes) == evaluation.metrics.mistakes > 5


def test_it_writes_nothing(trained: Run, shapes: Data, in_folder: Path) -> None:
    evaluate(trained.model, shapes.test, progress=SILENT)
    assert list(in_folder.iterdir()) == []


def test_nothing_is_lost_on_disk(trained: Run, shapes: Data, tmp_path: Path) -> None:
    evaluation = evaluate(trained.model, shapes.test, progress=SILENT)
    evaluation.save(tmp_path / "any name")
    assert [path.name for path in tmp_path.iterdir()] == ["any name"]
    back = Evaluation.load(tmp_path / "any name")
    assert back.metrics == evaluation.metrics
    assert back.mistakes == evaluation.mistakes
    np.testing.assert_array_equal(back.predictions.logits, evaluation.predictions.logits)


@pytest.mark.parametrize("labels", ["too many classes", "negative"])
def test_labels_without_a_class_are_refused_in_a_saved_file(
    labels: str, trained: Run, shapes: Data, tmp_path: Path
) -> None:
    path = tmp_path / "predictions.npz"
    evaluate(trained.model, shapes.test, progress=SILENT).save(path)
    arrays = dict(np.load(path))
    arrays["labels"] = arrays["labels"] + (50 if labels == "too many classes" else -50)
    np.savez(path, **arrays)
    with pytest.raises(RunError, match=r"predictions\.npz.*0 to 9"):
        Evaluation.load(path)


def test_predictions_of_other_images_are_noticed(trained: Run, shapes: Data) -> None:
    predictions = evaluate(trained.model, shapes.test, progress=SILENT).predictions
    assert predictions.are_for(shapes.test)
    images = shapes.test.images.copy()
    images[7, 1, 2, 0] ^= 1
    assert not predictions.are_for(replace(shapes.test, images=images))
    assert not predictions.are_for(replace(shapes.test, classes=tuple("abcdefghij")))


def test_a_net_of_other_classes_is_refused(trained: Run, shapes: Data) -> None:
    other = replace(shapes.test, labels=shapes.test.labels % 2, classes=("cat", "dog"))
    with pytest.raises(DataError, match=r"gives 10 logits for an image, but the data has 2 classes \(cat, dog"):
        evaluate(trained.model, other, progress=SILENT)


def test_no_images_are_refused(trained: Run, shapes: Data) -> None:
    with pytest.raises(DataError, match="no image in this split"):
        evaluate(trained.model, shapes.test.take([]), progress=SILENT)


def test_it_tells_how_far_it_is(trained: Run, shapes: Data) -> None:
    seen: list[tuple[str, int, int]] = []

    class Watch:
        def line(self, text: str) -> None:
            pytest.fail(text)

        def update(self, stage: str, done: int, total: int, note: str = "") -> None:
            seen.append((stage, done, total))

    evaluate(trained.model, shapes.train, progress=Watch())
    assert seen == [("evaluation", 250, 600), ("evaluation", 500, 600), ("evaluation", 600, 600)]


def test_reprs_are_short_and_plain(trained: Run, shapes: Data) -> None:
    evaluation = evaluate(trained.model, shapes.test, progress=SILENT)
    for value in (shapes, shapes.test, evaluation, evaluation.predictions, evaluation.metrics):
        assert len(repr(value)) < 200
        assert "np." not in repr(value)
    assert "np." not in repr(evaluation.metrics.classes)
    assert repr(shapes) == "Data('shapes': 600 training and 150 test images of 32x32 pixels, 10 classes)"
