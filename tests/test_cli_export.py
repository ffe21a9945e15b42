"""The command `seefar export`: what it writes, what its card claims, and that a missing extra costs nothing."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from seefar.cli import main as cli
from seefar.data import Data
from seefar.evaluation.evaluate import evaluate
from seefar.evaluation.metrics import Metrics
from seefar.progress import SILENT
from seefar.training.run import Run

FAST = Path(__file__).parents[1] / "results" / "fast"


def call(*words: object) -> int:
    return cli.main([str(word) for word in words])


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_missing_extra_is_named_before_anything_is_written(
    run: Run,
    package: str,
    in_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert call("export", run.folder.path, "--onnx") == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert "pip install 'seefar[onnx]'" in printed.err
    assert not (in_folder / "exported").exists()


def test_weights_and_a_card_that_claims_nothing_unmeasured(
    run: Run, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("export", "./run") == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == ["exported/run/weights.safetensors", "exported/run/README.md"]
    assert "seefar evaluate ./run`" in printed.err
    assert "not evaluated" in Path("exported/run/README.md").read_text(encoding="utf-8")
    assert Path("exported/run/weights.safetensors").read_bytes() == run.folder.weights.read_bytes()


def test_what_cannot_be_told_or_written_is_refused_before_anything_is_written(
    run: Run, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").write_text("")
    for to, message in (("file/deep", "since file is a file"), ("./run", "run is the run folder itself")):
        assert call("export", "./run", "--to", to) == 2
        assert message in capsys.readouterr().err
    run.folder.predictions.write_text("damaged")
    assert call("export", "./run") == 2
    assert "predictions.npz cannot be read" in capsys.readouterr().err
    assert not Path("exported").exists()
    assert not (run.folder.path / "README.md").exists()


@pytest.mark.skipif(not FAST.exists(), reason="an sdist holds no results/")
def test_the_card_of_a_run_without_predictions_has_its_metrics(in_folder: Path) -> None:
    shutil.copytree(FAST, "runs/fast")
    assert call("export", "fast") == 0
    card = Path("exported/fast/README.md").read_text(encoding="utf-8")
    assert "93.70% of 10,000 test images (95 % interval 93.21% to 94.16%)" in card
    # A changed file could be of other weights: then nothing is claimed.
    with Path("runs/fast/log.txt").open("a") as log:
        log.write("more")
    assert call("export", "fast") == 0
    assert "93.70" not in Path("exported/fast/README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_card_claims_nothing_that_other_weights_reached(run: Run, shapes: Data, in_folder: Path) -> None:
    evaluation = evaluate(run.model, shapes.test, progress=SILENT)
    evaluation.save(run.folder.predictions)
    card = Path("exported/run/README.md")
    assert call("export", run.folder.path) == 0
    assert f"{evaluation.metrics.accuracy:.2%} of 150 test images" in card.read_text(encoding="utf-8")
    run.model.fc.weight.data.mul_(2)
    evaluate(run.model, shapes.test, progress=SILENT).save(run.folder.predictions)
    assert call("export", run.folder.path) == 0
    assert "not evaluated" in card.read_text(encoding="utf-8")


def test_metrics_come_back_from_json(run: Run, shapes: Data) -> None:
    metrics = evaluate(run.model, shapes.test, progress=SILENT).metrics
    assert Metrics.from_json(json.dumps({"test": asdict(metrics)})) == metrics
