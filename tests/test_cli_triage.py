from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from seefar.cli import main as cli
from seefar.data import Data, Split
from seefar.data.reference import CLASSES, Reference, labels_sha256
from seefar.evaluation.verdict import HUMAN

LABELS = np.arange(20) % 10


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty images in place of 10,000; most people chose another class for the first, all nets miss the second."""
    split = Split(np.zeros((20, 8, 8, 3), np.uint8), LABELS, CLASSES)
    counts = 50 * np.eye(10, dtype=np.int64)[LABELS]
    counts[0] = 50 * np.eye(10, dtype=np.int64)[5]
    answers = np.tile(LABELS, (13, 1))
    answers[:, 1] = 9
    answers[12, 2] = 7
    nets = tuple(f"net{number}" for number in range(13))
    unchecked = np.full(20, -1)
    reference = Reference(counts, unchecked, unchecked, nets, answers, CLASSES, labels_sha256(LABELS))
    monkeypatch.setattr("seefar.cli.tools.TEST_IMAGES", 20)
    monkeypatch.setattr("seefar.data.load_data", lambda *_, **__: Data("cifar10", split, split))
    monkeypatch.setattr("seefar.data.reference.load_reference", lambda *_, **__: reference)


def write(folder: Path, *wrong: int) -> Path:
    predicted = LABELS.copy()
    predicted[list(wrong)] = (predicted[list(wrong)] + 5) % 10
    path = folder / "mine.json"
    path.write_text(json.dumps(predicted.tolist()))
    return path


@pytest.mark.usefixtures("_small", "coarse")
def test_faults_are_counted_and_every_verdict_given_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = str(tmp_path / "own")  # the result is kept in a run folder too
    assert cli.main(["triage", str(write(tmp_path, 0, 1, 4)), "--json", "--name", own, "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "own" / "metrics.json").read_text())["test"]["mistakes"] == 3
    assert cli.main(["verify", own]) == 0
    assert list(found.items())[:5] == [("errors", 3), ("label", 1), ("ambiguous", 0), ("hard", 1), ("model", 1)]
    assert [(one["index"], one["fault"]) for one in found["verdicts"]] == [(0, "label"), (1, "hard"), (4, "model")]
    assert found["accuracy"][0]["right"] == 17
    assert found["same_as"] == []
    assert [found["rule"]["name"], *{one["rule"] for one in found["verdicts"]}] == [HUMAN.name] * 2


@pytest.mark.usefixtures("_small")
def test_faults_are_printed_with_a_net_that_is_the_judged_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.npy"
    np.save(path, np.where(np.arange(20) == 1, 9, np.where(np.arange(20) == 2, 7, LABELS)))
    assert cli.main(["triage", str(path)]) == 0
    printed = capsys.readouterr().out
    assert f"{path}: 2 mistakes" in printed
    assert "the predictions of net12, which is not counted" in printed
    assert "  hard           1   50.0%  other networks miss it too" in printed
    reason = "people and most networks get it right: 0 of 50 people chose horse, 50 chose bird (the label)"
    assert f"  image 2: {reason}" in printed
    assert "0 of 12 networks miss it" in printed
    assert f"By {HUMAN.name}: {HUMAN.reliability}" in printed


@pytest.mark.parametrize("content", [None, "[1, 2", "[1, 2, 3]", '["cat"]'])
def test_a_file_that_cannot_be_judged_is_refused_before_any_data_is_loaded(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("seefar.data.load_data", lambda *_, **__: pytest.fail("data was loaded"))
    monkeypatch.setattr("seefar.data.reference.load_reference", lambda *_, **__: pytest.fail("data was loaded"))
    path = tmp_path / "mine.json"
    if content is not None:
        path.write_text(content)
    assert cli.main(["triage", str(path)]) == 2
    assert str(path) in capsys.readouterr().err


@pytest.fixture
def data_folder() -> Path:
    folder = Path(os.environ.get("SEEFAR_DATA", "nowhere"))
    for name in ("cifar-10-batches-py", "cifar10h", "label-errors", "published-predictions"):
        if not (folder / name).exists():
            pytest.skip(f"{name} is not in SEEFAR_DATA")
    return folder


@pytest.mark.slow
def test_a_published_net_is_judged_from_its_file(data_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = data_folder / "published-predictions" / "wrn_28_10_predictions.json"
    assert cli.main(["triage", str(path), "--data-dir", str(data_folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found.items())[:5] == [("errors", 407), ("label", 51), ("ambiguous", 170), ("hard", 92), ("model", 94)]
    assert found["same_as"] == ["wrn_28_10"]
    assert len(found["verdicts"]) == 407


def test_the_reference_data_are_shown_with_their_licences(
    data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["data", "reference", "--data-dir", str(data_folder)]) == 0
    printed = capsys.readouterr().out
    for part in ("CC BY-NC-SA 4.0", "Apache-2.0", "MIT", str(data_folder / "cifar10h"), "of which 54 are errors"):
        assert part in printed
