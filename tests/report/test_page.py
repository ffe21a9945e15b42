from __future__ import annotations

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

import seefar
from seefar.data import Data
from seefar.data.shapes import load_shapes
from seefar.explanation.duplicates import Duplicate
from seefar.explanation.neighbours import find_neighbours, training_features
from seefar.pipeline import explain_run, report_run
from seefar.report.content import gather, nearest_images
from seefar.training.run import Run


@pytest.fixture(scope="module")
def trained_data() -> Data:
    return load_shapes(2000, 150)


def values_of(run: Run) -> dict:
    page = run.folder.report.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="values">(.*?)</script>', page, re.S)[1])


def test_neighbours_are_put_in_the_order_of_the_mistakes() -> None:
    found = SimpleNamespace(
        index=np.array([3, 8]),
        of_predicted=np.array([[5, 2], [7, -1]]),
        of_true=np.array([[2, 9], [0, 5]]),
        distance_predicted=np.array([[0.1, 0.2], [0.3, np.nan]]),
        distance_true=np.array([[0.5, 0.6], [0.7, 0.8]]),
        duplicates=(Duplicate(2, 1, 0.7, False), Duplicate(8, 6, 0.9, True)),  # image 2 is no mistake
    )
    training = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1).repeat(3, 3)
    near = nearest_images(found, [SimpleNamespace(index=8), SimpleNamespace(index=3)], training)
    assert near.indices.tolist() == [[7, -1, 0, 5], [5, 2, 2, 9]]
    assert near.distances[1].tolist() == [0.1, 0.2, 0.5, 0.6]
    assert near.images[:, 0, 0, 0].tolist() == [0, 2, 5, 7, 9]  # each that occurs, once
    assert near.rows.tolist() == [[3, -1, 0, 2], [2, 1, 1, 4]]
    assert near.duplicates == (Duplicate(8, 6, 0.9, True),)


def test_the_page_is_the_last_file_of_an_explained_run_and_can_be_made_again(run: Run, trained_data: Data) -> None:
    result = explain_run(run, trained_data, top=2, neighbours=False, progress=seefar.SILENT)
    first = values_of(run)
    assert [row["index"] for row in first["mistakes"]] == [m.index for m in result.evaluation.mistakes]
    assert all("sentence" in row for row in first["mistakes"])
    assert first["neighbours"] is None
    run.folder.report.unlink()

    training = training_features(run.model, trained_data.train, progress=seefar.SILENT)
    find_neighbours(result.evaluation.predictions, training, trained_data).save(run.folder.neighbours)
    assert report_run(run, trained_data, progress=seefar.SILENT) == run.folder.report
    again = values_of(run)
    assert again["mistakes"] == first["mistakes"]
    assert again["neighbours"]["each"] == 6
    assert seefar.verify(run.folder) == []


def test_neighbours_of_other_weights_are_not_shown(run: Run, trained_data: Data) -> None:
    evaluation = seefar.evaluate(run.model, trained_data.test, progress=seefar.SILENT)
    other = seefar.ResNet18(width=2).eval()
    predictions = seefar.predict(other, trained_data.test, progress=seefar.SILENT)
    training = training_features(other, trained_data.train, progress=seefar.SILENT)
    find_neighbours(predictions, training, trained_data).save(run.folder.neighbours)
    evaluation.save(run.folder.predictions)
    report_run(run, trained_data, progress=seefar.SILENT)
    assert values_of(run)["neighbours"] is None


def test_without_an_explanation_the_page_is_whole(run: Run, trained_data: Data) -> None:
    evaluation = seefar.evaluate(run.model, trained_data.test, progress=seefar.SILENT)
    content = gather(trained_data.test, evaluation, name="run", data="shapes")
    assert content.explanation is content.verdicts is content.neighbours is None
    shutil.rmtree(run.folder.path / "figures", ignore_errors=True)
    report_run(run, trained_data, progress=seefar.SILENT)
    assert values_of(run)["maps"] is None
