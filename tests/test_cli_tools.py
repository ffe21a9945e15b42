"""The commands predict, compare, export and triage."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import seefar
from seefar.cli.main import main
from seefar.data import Data, Split
from seefar.data.reference import CLASSES, Reference, labels_sha256
from seefar.evaluation.comparison import compare
from seefar.evaluation.verdict import HUMAN
from seefar.explanation.explain import Explanation
from seefar.pipeline import predicted_classes
from seefar.report.style import new_figure, save_figure
from seefar.runs.arrays import load_tensors, save_tensors
from seefar.training.run import Run

pytestmark = pytest.mark.usefixtures("coarse")
Capture = pytest.CaptureFixture[str]


def as_json(capsys: Capture, *words: object, code: int = 0) -> Any:
    assert main([*map(str, words), "--json", "--quiet"]) == code
    return json.loads(capsys.readouterr().out)


# ---- predict ----


@pytest.fixture
def pictures(shapes: Data, in_folder: Path) -> Path:
    """One test image in two files, whose names differ only in case and ending."""
    (in_folder / "odd").mkdir()
    for name in ("plain.png", "PLAIN.bmp"):
        Image.fromarray(shapes.test.images[0]).save(in_folder / "odd" / name)
    return in_folder / "odd"


def test_each_picture_has_a_figure_of_its_own_and_bad_ones_are_named_last(
    run: Run, pictures: Path, capsys: Capture
) -> None:
    (pictures / "broken.jpg").write_text("no picture")
    found = as_json(capsys, "predict", run.folder, "odd", "gone.png", code=2)
    figures = [Path(row["figure"]) for row in found["pictures"]]
    assert all(figure.exists() and figure.parent == Path("predictions/run") for figure in figures)
    assert len({figure.name.lower() for figure in figures}) == 2
    assert [Path(line.split()[0]).name for line in found["unreadable"]] == ["broken.jpg", "gone.png"]


@pytest.mark.parametrize(
    ("name", "printed", "figure"),
    [("\x1b[31mred\n", r"\x1b[31mred\n", "_[31mred_"), (245 * "a", 245 * "a", 180 * "a")],
)
def test_control_characters_of_pictures_are_not_printed(
    run: Run, shapes: Data, in_folder: Path, capsys: Capture, name: str, printed: str, figure: str
) -> None:
    Image.fromarray(shapes.test.images[0]).save(f"{name}.png")
    assert main(["predict", str(run.folder), f"{name}.png", "--out", "here"]) == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{printed}.png: ")
    assert last == f"  here/{figure}.png"


def test_the_grid_that_was_measured_on_the_mistakes_is_used(
    tiny: Run, pictures: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    grids: list[Any] = []
    monkeypatch.setattr(
        "seefar.report.figures.plot_picture", lambda one: grids.append(one.settings.grid) or new_figure(1, 1)
    )
    for choices in ((), ("--method=hirescam", "--layer=layer2", "--hide=grey")):
        (row,) = as_json(capsys, "predict", tiny.folder, "odd/plain.png", *choices)["pictures"]
    assert [row["map"][name] for name in ("method", "layer", "cells")] == ["hirescam", "layer2", [16, 16]]
    assert (grids[0], grids[1].cells) == (Explanation.load(tiny.folder.maps).grid, (16, 16))


# ---- compare ----


@pytest.fixture
def other(tiny: Run, few: Data, in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """`other.npy` repairs the first mistake of ./tiny, and breaks its first correct prediction; both indices."""
    monkeypatch.setattr("seefar.evaluation.audit.load_for", lambda *_, **__: few)
    predicted, labels = predicted_classes(tiny.folder, few.test), few.test.labels
    repaired, broken = (int(np.flatnonzero(found)[0]) for found in (predicted != labels, predicted == labels))
    predicted[repaired], predicted[broken] = labels[repaired], (labels[broken] + 1) % 10
    np.save("other.npy", predicted)
    return repaired, broken


def test_a_table_json_and_the_figure_have_what_is_repaired_broken_and_luck(
    other: tuple[int, int], capsys: Capture
) -> None:
    words = ("compare", "./tiny", "other.npy", "--figure", "figure.png")
    found = as_json(capsys, *words)
    (pair,) = found["pairs"]
    assert (pair["repaired"], pair["broken"], pair["p"]) == ([other[0]], [other[1]], 1.0)
    assert (found["luck"], pair["shared"]) == ([other[0]], found["runs"][0]["mistakes"] - 1)
    assert Path("figure.png").stat().st_size > 1000
    assert main([*words, "--quiet"]) == 0
    assert f"{found['runs'][0]['accuracy']:.2%}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (("./tiny",), 2, "got 1"),
        (("./tiny", "./tiny/"), 2, "named twice"),
        (("./tiny", "missing"), 2, "runs/missing"),
        (("./tiny", "other.npy", "--fail-if", "broken > 0 and p <= 1"), 1, "broken > 0"),
        (("./tiny", "other.npy", "--fail-if", "broken > 1"), 0, ""),
        (("no", "such", "--fail-if", "broken"), 2, "condition"),  # before the runs are missed
        (("no", "such", "--figure", "x.jpg"), 2, "x.jpg"),
        (("no", "such", "--figure", "folder.png"), 2, "folder.png"),
        (("no", "such", "--figure", "other.npy/x.png"), 2, "other.npy"),
    ],
)
@pytest.mark.usefixtures("other")
def test_incomparable_runs_are_named_and_a_true_condition_exits_with_1(
    words: tuple[str, ...], code: int, named: str, capsys: Capture
) -> None:
    Path("folder.png").mkdir()
    assert main(["compare", *words, "--quiet"]) == code
    printed = capsys.readouterr().err
    assert named in printed
    assert printed.count("\n") == (code > 0)


def test_predictions_of_other_weights_are_computed_again(tiny: Run, few: Data) -> None:
    saved = predicted_classes(tiny.folder, few.test)
    tensors, about = load_tensors(tiny.folder.weights)
    save_tensors(tiny.folder.weights, {**tensors, "fc.weight": -tensors["fc.weight"]}, about)
    assert not np.array_equal(predicted_classes(tiny.folder, few.test, progress=seefar.SILENT), saved)


@pytest.mark.parametrize("ending", ["pdf", "svg"])
def test_a_figure_for_a_paper_has_the_same_bytes_each_time(tmp_path: Path, ending: str) -> None:
    comparison = compare({"a": np.array([1, 1, 0]), "b": np.array([0, 1, 1])}, np.array([0, 1, 0]), ("cat", "dog"))
    paths = [tmp_path / f"{number}.{ending}" for number in range(2)]
    for path in paths:
        save_figure(seefar.plot_comparison(comparison), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


# ---- export ----


@pytest.mark.slow
def test_the_card_claims_the_accuracy_of_these_weights_only(
    tiny: Run, few: Data, in_folder: Path, capsys: Capture
) -> None:
    def card() -> str:
        assert main(["export", "./tiny"]) == 0
        assert capsys.readouterr().out.splitlines() == ["exported/tiny/weights.safetensors", "exported/tiny/README.md"]
        return Path("exported/tiny/README.md").read_text(encoding="utf-8")

    accuracy = seefar.evaluate_run(tiny, few, progress=seefar.SILENT).metrics.accuracy
    assert f"{accuracy:.2%}" in card()
    assert Path("exported/tiny/weights.safetensors").read_bytes() == tiny.folder.weights.read_bytes()
    tiny.model.fc.weight.data.mul_(2)
    seefar.evaluate_run(tiny, few, progress=seefar.SILENT)  # of other weights than those in the folder
    assert "%" not in card()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("export", "./run", "--onnx"), "[onnx]"),
        (("export", "./run", "--to", "file/deep"), "file"),
        (("app", "no such run"), "[app]"),  # before the run is missed
        (("export", "./run", "--to", "./run"), "run"),
    ],
)
def test_missing_packages_and_folders_are_named_before_anything_is_written(
    run: Run, in_folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], named: str
) -> None:
    for package in ("onnx", "uvicorn"):
        monkeypatch.setitem(sys.modules, package, None)
    Path("file").write_text("")
    assert main([*words]) == 2
    assert named in capsys.readouterr().err
    assert not Path("exported").exists()
    assert not (run.folder.path / "README.md").exists()


# ---- triage ----

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


@pytest.mark.usefixtures("_small")
def test_faults_are_counted_and_every_verdict_given_as_json(in_folder: Path, capsys: Capture) -> None:
    wrong = np.isin(np.arange(20), (0, 1, 4))
    Path("mine.json").write_text(json.dumps(np.where(wrong, (LABELS + 5) % 10, LABELS).tolist()))
    found = as_json(capsys, "triage", "mine.json", "--name", "own")  # the result is kept in a run folder too
    assert json.loads(Path("runs/own/metrics.json").read_text())["test"]["mistakes"] == 3
    assert main(["verify", "own"]) == 0
    assert list(found.items())[:5] == [("errors", 3), ("label", 1), ("ambiguous", 0), ("hard", 1), ("model", 1)]
    assert [(one["index"], one["fault"]) for one in found["verdicts"]] == [(0, "label"), (1, "hard"), (4, "model")]
    assert (found["accuracy"][0]["right"], found["same_as"]) == (17, [])
    assert found["rule"]["name"] == HUMAN.name
    np.save("theirs.npy", np.where(np.arange(20) == 1, 9, np.where(np.arange(20) == 2, 7, LABELS)))
    assert main(["triage", "theirs.npy"]) == 0
    printed = capsys.readouterr().out
    assert "net12" in printed
    assert "0 of 12 networks" in printed


@pytest.mark.parametrize("content", [None, "[1, 2", "[1, 2, 3]", '["cat"]'])
def test_unusable_predictions_are_refused_before_data_is_loaded(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("seefar.data.load_data", None)
    monkeypatch.setattr("seefar.data.reference.load_reference", None)
    path = tmp_path / "mine.json"
    if content is not None:
        path.write_text(content)
    assert main(["triage", str(path)]) == 2
    assert str(path) in capsys.readouterr().err


@pytest.mark.slow
def test_triage_reads_a_published_prediction_file(capsys: Capture) -> None:
    folder = Path(os.environ.get("SEEFAR_DATA", "nowhere"))
    path = folder / "published-predictions" / "wrn_28_10_predictions.json"
    if not path.exists():
        pytest.skip(f"{path} does not exist: set SEEFAR_DATA")
    found = as_json(capsys, "triage", path, "--data-dir", folder)
    assert list(found.items())[:5] == [("errors", 407), ("label", 51), ("ambiguous", 170), ("hard", 92), ("model", 94)]
    assert (found["same_as"], len(found["verdicts"])) == (["wrn_28_10"], 407)
    assert main(["data", "reference", "--data-dir", str(folder)]) == 0
    assert str(folder / "cifar10h") in capsys.readouterr().out
