"""Runs that are killed and go on end with the same bits; `benchmarks/faults.py` pulls the plug more often."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import seefar
from seefar.cli.main import main
from seefar.data import Data
from seefar.data.shapes import load_shapes
from seefar.errors import RunError
from seefar.report.tables import write_mistakes
from seefar.runs.folder import RunFolder, verify

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "faults.py"
TINY = seefar.recipe("demo", width=2, epochs=1, batch_size=16)


@pytest.fixture(scope="module")
def few() -> Data:
    return load_shapes(40, 20)


@pytest.mark.slow
def test_killed_runs_go_on_to_the_same_bits() -> None:
    words = [sys.executable, BENCHMARK, "--moments", "6", "--seed", "3"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=600)
    assert found.returncode == 0, found.stderr
    assert '"losses": []' in found.stdout, found.stdout


def test_names_with_escape_sequences_are_printed_as_text(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with folder.writing(["a test"]):
        folder.log.write_text("a line")
    (folder.path / "\x1b[31mred").touch()
    assert main(["verify", str(folder)]) == 2
    printed = capsys.readouterr().err
    assert "\x1b" not in printed
    assert "\n  \\x1b[31mred is extra" in printed


def test_a_table_of_mistakes_that_could_not_be_written_gets_its_columns_later(
    few: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_tables: object) -> None:
        if path.exists():  # the first one, of the evaluation, still found room
            raise RunError(f"{path} cannot be written (No space left on device)")
        write(path, *_tables)

    write = write_mistakes
    whole, folder = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "run")
    seefar.run(TINY, few, whole.path, top=2, progress=seefar.SILENT)
    with monkeypatch.context() as patch:
        patch.setattr("seefar.result.write_mistakes", full)
        with pytest.raises(RunError, match=r"mistakes\.csv"):
            seefar.run(TINY, few, folder.path, top=2, progress=seefar.SILENT)
    seefar.run(TINY, few, folder.path, top=2, progress=seefar.SILENT)
    assert folder.mistakes.read_bytes() == whole.mistakes.read_bytes()
    assert verify(folder) == []
