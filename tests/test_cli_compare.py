from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seefar.cli.main import main
from seefar.data import load_data
from seefar.evaluation.evaluate import Evaluation
from seefar.evaluation.predictions import Predictions, predict
from seefar.progress import SILENT
from seefar.report.tables import write_metrics, write_mistakes
from seefar.runs.folder import RunFolder
from seefar.training.recipe import recipe
from seefar.training.run import Run


@pytest.fixture
def two_runs(in_folder: Path) -> tuple[RunFolder, RunFolder]:
    """Run a misses images 0 and 1, run b image 1 and the last; both take class k for class k + 1."""
    test = load_data("shapes").test
    folders = []
    for name, wrong in (("a", [0, 1]), ("b", [1, 999])):
        folder = RunFolder(in_folder / "runs" / name)
        folder.path.mkdir(parents=True)
        folder.recipe.write_text(recipe("demo").to_json())
        answers = test.labels.copy()
        answers[wrong] = (answers[wrong] + 1) % 10
        logits = np.eye(10, dtype=np.float32)[answers]
        predictions = Predictions(logits, np.zeros((1000, 1), np.float32), test.labels, test.classes, name,
                                  test.fingerprint)  # fmt: skip
        predictions.save(folder.predictions)
        folders.append(folder)
    return folders[0], folders[1]


def test_a_table_names_what_is_repaired_broken_and_luck(
    two_runs: tuple[RunFolder, RunFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "a", "b", "--quiet"]) == 0
    text = capsys.readouterr().out
    assert "2 mistakes of runs/a: 1 luck (right in another run), 1 settled (both wrong; 0 by chance)" in text
    assert "99.80%" in text
    assert not (two_runs[0].manifest).exists()  # nothing was written


def test_json_and_the_figure(
    two_runs: tuple[RunFolder, RunFolder], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "a", "b", "--quiet", "--json", "--figure", str(tmp_path / "figure.png")]) == 0
    found = json.loads(capsys.readouterr().out)
    (pair,) = found["pairs"]
    assert (pair["repaired"], pair["broken"], pair["shared"], pair["p"]) == ([0], [999], 1, 1.0)
    assert (found["luck"], found["settled"]) == ([0], [1])
    assert (tmp_path / "figure.png").stat().st_size > 1000


@pytest.mark.parametrize("ending", ["pdf", "svg"])
def test_a_figure_for_a_paper_has_the_same_bytes_each_time(
    two_runs: tuple[RunFolder, RunFolder], tmp_path: Path, ending: str
) -> None:
    paths = [tmp_path / f"{number}.{ending}" for number in range(2)]
    for path in paths:
        assert main(["compare", "a", "b", "--quiet", "--figure", str(path)]) == 0
    first, second = (path.read_bytes() for path in paths)
    assert first[:5] == {"pdf": b"%PDF-", "svg": b"<?xml"}[ending]
    assert first == second


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ("x.jpg", "x.jpg has the ending '.jpg': choose a file for the figure that ends with .png or .pdf or .svg."),
        ("x", "x has no ending: choose"),
        ("folder.png", "folder.png is a folder: choose a file"),
        ("file/deep/x.png", "Nothing can be written into file/deep, since file is a file: choose another folder."),
    ],
)
def test_a_figure_that_cannot_be_written_is_refused_before_any_work(
    in_folder: Path, capsys: pytest.CaptureFixture[str], figure: str, message: str
) -> None:
    Path("folder.png").mkdir()
    Path("file").write_text("")
    assert main(["compare", "no", "such", "--figure", figure]) == 2  # the runs would be missed next
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert {path.name for path in in_folder.iterdir()} == {"folder.png", "file"}


def test_a_run_without_predictions_is_read_from_its_table_of_mistakes(
    two_runs: tuple[RunFolder, RunFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "a", "b", "--quiet", "--json"]) == 0
    wanted = capsys.readouterr().out
    for folder in two_runs:
        evaluation = Evaluation.load(folder.predictions)
        write_mistakes(folder.mistakes, evaluation.mistakes, evaluation.predictions.classes)
        write_metrics(folder.metrics, {"test": evaluation.metrics})
        folder.predictions.unlink()
    assert main(["compare", "a", "b", "--quiet", "--json"]) == 0
    assert capsys.readouterr().out == wanted
    two_runs[0].mistakes.write_text(two_runs[0].mistakes.read_text().rsplit("\n", 2)[0] + "\n")  # a line is lost
    assert main(["compare", "a", "b", "--quiet"]) == 2
    assert "mistakes.csv is of other test images" in capsys.readouterr().err


def test_what_cannot_be_compared_is_one_clear_message(
    two_runs: tuple[RunFolder, RunFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    for words, message in (
        (["a"], "at least two are compared"),
        (["a", "runs/a"], "runs/a is named twice"),
        (["a", "missing"], "runs/missing"),
    ):
        assert main(["compare", *words, "--quiet"]) == 2
        assert message in capsys.readouterr().err
    other = Predictions.load(two_runs[1].predictions)
    replace(other, images="others").save(two_runs[1].predictions)
    assert main(["compare", "a", "b", "--quiet"]) == 2
    assert "is of other test images" in capsys.readouterr().err


def test_predictions_of_other_weights_are_refused(
    run: Run, two_runs: tuple[RunFolder, RunFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    """The weights of a run are replaced, such as by a copy of another run; its predictions are not."""
    test = load_data("shapes").test
    predictions = predict(run.model, test, progress=SILENT)
    predictions.save(run.folder.predictions)
    words = ["compare", str(run.folder.path), "b", "--data", "shapes", "--quiet"]
    assert main(words) == 0
    capsys.readouterr()
    replace(predictions, model="of other weights").save(run.folder.predictions)
    assert main(words) == 2
    printed = capsys.readouterr().err
    assert str(run.folder.predictions) in printed
    assert "other weights" in printed
