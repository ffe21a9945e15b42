"""Numbers that agree: metrics, tables and rates of a run computed again from its arrays; same seed, same bits."""

from __future__ import annotations

import base64
import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax

from seefar.data import Data
from seefar.runs.folder import RunFolder


def test_metrics_tables_and_rates_follow_from_the_arrays(finished: Path, few: Data) -> None:
    folder, data = RunFolder(finished), few
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

    page = folder.report.read_text(encoding="utf-8")
    values = json.loads(re.search(r'<script type="application/json" id="values">(.*?)</script>', page, re.S)[1])
    assert [row["index"] for row in values["mistakes"]] == [int(row["index"]) for row in rows]
    probabilities = np.frombuffer(base64.b64decode(values["probabilities"]), "<f4").reshape(-1, 10)
    np.testing.assert_allclose(probabilities, np.exp(logs[[row["index"] for row in values["mistakes"]]]), atol=1e-6)
    outcomes = {mistake: repair["outcome"] for mistake, repair in zip(indices.tolist(), about["repairs"], strict=True)}
    for row in values["mistakes"]:
        assert (row["true"], row["predicted"]) == (labels[row["index"]], predicted[row["index"]])
        assert row["confidence"] == pytest.approx(np.exp(logs[row["index"]].max()), abs=1e-6)
        assert row["loss"] == pytest.approx(losses[row["index"]], abs=1e-5)
        assert row["outcome"] == outcomes[row["index"]]
    assert f"{(predicted == labels).mean():.2%}" in page.replace("\u2009", "").replace(" %", "%")
