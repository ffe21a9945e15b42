"""The command `seefar compare`, on two published runs whose mistakes are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_job import TINY

import seefar
from seefar.cli.main import main
from seefar.data import Data
from seefar.errors import RunError
from seefar.evaluation.comparison import compare
from seefar.evaluation.mistakes import find_mistakes
from seefar.evaluation.predictions import Predictions
from seefar.pipeline import predicted_classes
from seefar.report.style import save_figure
from seefar.report.tables import mistakes_csv
from seefar.runs.folder import RunFolder
from seefar.runs.store import Store
from seefar.training.run import Run


@pytest.fixture
def two_runs(in_folder: Path, few: Data, monkeypatch: pytest.MonkeyPatch) -> tuple[RunFolder, RunFolder]:
    """Of 20 images run a misses 0 and 1, run b 1 and the last; both take class k for class k + 1."""
    monkeypatch.setattr("seefar.pipeline.load_for", lambda *_, **__: few)
    test, folders = few.test, []
    for name, wrong in (("a", [0, 1]), ("b", [1, 19])):
        folder = RunFolder(in_folder / "runs" / name)
        folder.path.mkdir(parents=True)
        folder.recipe.write_text(TINY.to_json())
        predicted = test.labels.copy()
        predicted[wrong] = (predicted[wrong] + 1) % 10
        logits = np.eye(10, dtype=np.float32)[predicted]
        predictions = Predictions(logits, logits, test.labels, test.classes, name, test.fingerprint)
        folder.mistakes.write_text(mistakes_csv(find_mistakes(predictions), test.classes))
        store = Store(folder.path, {}.get)
        store.record(folder.recipe.name, folder.mistakes.name)
        store.finish((), ["a test"])
        folders.append(folder)
    return folders[0], folders[1]


@pytest.mark.usefixtures("two_runs", "coarse")
def test_a_table_json_and_the_figure_have_what_is_repaired_broken_and_luck(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "a", "b", "--quiet"]) == 0
    text = capsys.readouterr().out
    assert "90.00%" in text
    for words in ("2 mistakes of runs/a", "1 luck", "1 settled"):
        assert words in text
    assert main(["compare", "a", "b", "--quiet", "--json", "--figure", str(tmp_path / "figure.png")]) == 0
    found = json.loads(capsys.readouterr().out)
    (pair,) = found["pairs"]
    assert (pair["repaired"], pair["broken"], pair["shared"], pair["p"]) == ([0], [19], 1, 1.0)
    assert (found["luck"], found["settled"]) == ([0], [1])
    assert (tmp_path / "figure.png").stat().st_size > 1000


@pytest.mark.usefixtures("coarse")
@pytest.mark.parametrize(("ending", "start"), [("pdf", b"%PDF-"), ("svg", b"<?xml"), ("png", b"\x89PNG\r")])
def test_a_figure_for_a_paper_has_the_same_bytes_each_time(tmp_path: Path, ending: str, start: bytes) -> None:
    comparison = compare({"a": np.array([1, 1, 0]), "b": np.array([0, 1, 1])}, np.array([0, 1, 0]), ("cat", "dog"))
    paths = [tmp_path / f"{number}.{ending}" for number in range(2)]
    for path in paths:
        save_figure(seefar.plot_comparison(comparison), path)
    first, second = (path.read_bytes() for path in paths)
    assert first[:5] == start
    assert first == second


@pytest.mark.parametrize("figure", ["x.jpg", "x", "folder.png", "file/deep/x.png"])
def test_a_figure_that_cannot_be_written_is_refused_before_any_work(
    in_folder: Path, capsys: pytest.CaptureFixture[str], figure: str
) -> None:
    Path("folder.png").mkdir()
    Path("file").write_text("")
    assert main(["compare", "no", "such", "--figure", figure]) == 2  # the runs would be missed next
    printed = capsys.readouterr().err
    assert Path(figure).parts[0] in printed
    assert printed.count("\n") == 1
    assert {path.name for path in in_folder.iterdir()} == {"folder.png", "file"}


def test_what_cannot_be_compared_is_named(
    two_runs: tuple[RunFolder, RunFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    for words, named in ((["a"], "got 1"), (["a", "runs/a"], "runs/a"), (["a", "missing"], "runs/missing")):
        assert main(["compare", *words, "--quiet"]) == 2
        assert named in capsys.readouterr().err
    two_runs[1].mistakes.write_text(two_runs[1].mistakes.read_text().rsplit("\n", 2)[0] + "\n")  # a line is lost
    assert main(["compare", "a", "b", "--quiet"]) == 2
    assert "runs/b" in capsys.readouterr().err


def test_a_run_with_weights_is_compared_by_its_predictions_or_by_new_ones(tiny: Run, few: Data) -> None:
    saved = predicted_classes(tiny.folder, few.test)
    tiny.folder.predictions.write_bytes(b"damaged")
    np.testing.assert_array_equal(predicted_classes(tiny.folder, few.test, progress=seefar.SILENT), saved)


@pytest.mark.parametrize("text", ["", "index,true,predicted\nx,a,b\n", "index\n3\n", "index,true,predicted\n999,a,b\n"])
def test_a_table_that_a_stranger_wrote_is_compared_or_named(
    text: str, two_runs: tuple[RunFolder, RunFolder], few: Data
) -> None:
    folder = two_runs[0]
    folder.mistakes.write_text(text)
    store = Store(folder.path, {}.get)
    store.record(folder.mistakes.name)
    store.finish((), ["a stranger"])
    if text:
        with pytest.raises(RunError, match=r"mistakes\.csv"):
            predicted_classes(folder, few.test)
    else:
        np.testing.assert_array_equal(predicted_classes(folder, few.test), few.test.labels)


@pytest.mark.usefixtures("two_runs")
def test_a_condition_that_holds_ends_with_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "a", "b", "--quiet", "--fail-if", "broken > 0 and p <= 1"]) == 1
    assert main(["compare", "a", "b", "--quiet", "--fail-if", "broken > 1"]) == 0
    capsys.readouterr()
    assert main(["compare", "no", "such", "--quiet", "--fail-if", "broken"]) == 2  # before the runs are missed
    assert "condition" in capsys.readouterr().err
