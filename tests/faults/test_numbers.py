"""Numbers that agree: metrics, tables and rates of a run computed again from its arrays; same seed, same bits."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax

import seefar
from seefar.data.shapes import load_shapes
from seefar.model.inference import weights_fingerprint
from seefar.runs.folder import RunFolder

TINY = seefar.recipe("demo", width=2, epochs=1, batch_size=16)


def test_metrics_tables_and_rates_follow_from_the_arrays(tmp_path: Path) -> None:
    folder, data = RunFolder(tmp_path / "run"), load_shapes(40, 20)
    seefar.run(TINY, data, folder.path, top=2, progress=seefar.SILENT)
    with np.load(folder.predictions) as arrays:
        logits, labels = arrays["logits"].astype(np.float64), arrays["labels"]
    logs, predicted = log_softmax(logits, axis=1), logits.argmax(1)
    wrong = np.flatnonzero(predicted != labels)
    losses = -logs[np.arange(len(labels)), labels]

    test = json.loads(folder.metrics.read_text())["test"]
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (labels, predicted), 1)
    assert (labels == data.test.labels).all()
    assert (test["n"], test["mistakes"]) == (20, len(wrong))
    assert test["accuracy"] == pytest.approx((predicted == labels).mean())
    assert test["confusion"] == confusion.tolist()

    with folder.mistakes.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["index"]) for row in rows] == sorted(wrong.tolist(), key=lambda one: -losses[one])
    for row in rows:
        index = int(row["index"])
        assert row["true"] == data.classes[labels[index]]
        assert row["predicted"] == data.classes[predicted[index]]
        assert float(row["loss"]) == pytest.approx(losses[index], abs=1e-4)
        assert float(row["confidence"]) == pytest.approx(np.exp(logs[index].max()), abs=1e-4)

    with np.load(folder.maps) as arrays:
        about, indices, hidden = json.loads(arrays["about"].tobytes()), arrays["index"], arrays["hidden"]
        contrast, difference = arrays["contrast"], arrays["predicted"] - arrays["true"]
    assert sorted(indices.tolist()) == wrong.tolist()
    np.testing.assert_allclose(contrast, difference, atol=1e-5)
    repaired = sum(repair["outcome"] == "repaired" for repair in about["repairs"])
    occlusion = json.loads(folder.explanation.read_text())["occlusion"]
    assert occlusion["repaired"]["n"] == len(wrong)
    assert occlusion["repaired"]["share"] == pytest.approx(repaired / len(wrong))
    for repair, pixels in zip(about["repairs"], hidden, strict=True):
        assert repair["share"] == pytest.approx(pixels.mean(), abs=1 / pixels.size)


@pytest.mark.parametrize("name", ["fast", "quick", "seed", "demo"])
def test_the_same_seed_gives_the_same_bits_whatever_the_workers(tmp_path: Path, name: str) -> None:
    data = load_shapes(40, 20)
    tiny = replace(seefar.recipe(name), data="shapes", width=2, epochs=2, batch_size=16, log_every=1)
    runs = [
        seefar.train(tiny, data, tmp_path / str(number), device="cpu", workers=workers, progress=seefar.SILENT)
        for number, workers in enumerate((0, 0, 2))
    ]
    assert len({weights_fingerprint(run.model) for run in runs}) == 1
    assert len({run.folder.weights.read_bytes() for run in runs}) == 1
    histories = [[replace(row, seconds=0) for row in run.history] for run in runs]
    assert histories[0] == histories[1] == histories[2]
