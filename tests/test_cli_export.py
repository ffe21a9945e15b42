"""The command `seefar export`: what it writes, what its card claims, and that a missing extra costs nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from seefar.cli.main import main
from seefar.data import Data
from seefar.pipeline import evaluate_run
from seefar.progress import SILENT
from seefar.training.run import Run


def test_a_missing_extra_is_named_before_anything_is_written(
    run: Run, in_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["export", str(run.folder), "--onnx"]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert "pip install '.[onnx]'" in " ".join(printed.err.split())
    assert not (in_folder / "exported").exists()


@pytest.mark.slow
def test_the_card_claims_the_accuracy_of_these_weights_only(
    tiny: Run, few: Data, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def card() -> str:
        assert main(["export", "./tiny"]) == 0
        assert capsys.readouterr().out.splitlines() == ["exported/tiny/weights.safetensors", "exported/tiny/README.md"]
        return Path("exported/tiny/README.md").read_text(encoding="utf-8")

    accuracy = evaluate_run(tiny, few, progress=SILENT).metrics.accuracy
    assert f"{accuracy:.2%}" in card()
    assert Path("exported/tiny/weights.safetensors").read_bytes() == tiny.folder.weights.read_bytes()
    tiny.model.fc.weight.data.mul_(2)
    evaluate_run(tiny, few, progress=SILENT)  # of other weights than those in the folder
    assert "%" not in card()
    tiny.folder.predictions.write_text("damaged")
    assert "%" not in card()


def test_what_cannot_be_written_is_refused_before_anything_is_written(
    run: Run, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").write_text("")
    for to in ("file/deep", "./run"):
        assert main(["export", "./run", "--to", to]) == 2
        assert Path(to).parts[0] in capsys.readouterr().err
    assert not Path("exported").exists()
    assert not (run.folder.path / "README.md").exists()
