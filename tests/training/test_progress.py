from __future__ import annotations

import sys
from pathlib import Path

import pytest

from seefar.training.history import HistoryRow
from seefar.training.progress import Progress, duration

ROW = HistoryRow(step=6, epoch=2, seconds=1.0, image_size=32, learning_rate=0.1, loss=1.0614, accuracy=0.5)
LAST = HistoryRow(8, 2, 2.0, 32, 0.1, 0.9, 0.6, epoch_accuracy=0.65316, held_out_accuracy=0.7)


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0, 59.6, 61, 3723)] == ["0:00", "1:00", "1:01", "1:02:03"]


def test_plain_lines_go_to_the_log_and_to_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(tmp_path / "log.txt", steps=8, done=4, work=4.0, quiet=False) as progress:
        progress.advance(16, 1)
        progress.advance(16, 1)
        progress.log(ROW, step_in_epoch=2)
        progress.advance(16, 1)
        progress.log(LAST, step_in_epoch=4)
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert lines[0].startswith("[2,     2] loss: 1.061  accuracy: 50.0%  ")
    assert lines[0].endswith(" left")
    assert lines[2] == "Accuracy is: 65.316  held out: 70.00"
    caught = capsys.readouterr()
    assert caught.err.splitlines() == lines
    assert caught.out == ""


def test_quiet_is_quiet_but_logs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(tmp_path / "log.txt", steps=8, done=0, work=8.0, quiet=True) as progress:
        progress.say("one line")
    assert (tmp_path / "log.txt").read_text() == "one line\n"
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_live_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with Progress(tmp_path / "log.txt", steps=8, done=5, work=3.0, quiet=False) as progress:
        progress.advance(16, 1)
        progress.log(ROW, step_in_epoch=2)
    shown = capsys.readouterr().err
    assert "6/8" in shown
    assert "epoch 2  loss 1.061" in shown
    assert "[2,     2] loss: 1.061" in shown
