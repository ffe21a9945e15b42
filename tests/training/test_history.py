"""The lines of the log, and where they go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny_job import Lines

from seefar.runs.folder import RunFolder
from seefar.training.history import HistoryRow, TrainingLog

ROW = HistoryRow(step=6, epoch=2, seconds=1.0, image_size=24, learning_rate=0.1, loss=1.0614, accuracy=0.5)
LAST = HistoryRow(8, 2, 2.0, 24, 0.1, 0.9, 0.6, epoch_accuracy=0.65316, held_out_accuracy=0.7)
FULL_SIZE = HistoryRow(8, 2, 2.0, 32, 0.1, 0.9, 0.6, epoch_accuracy=0.43856)


class Kept(Lines):
    """Keeps lines and updates."""

    def __init__(self) -> None:
        super().__init__()
        self.updates: list[tuple[Any, ...]] = []

    def update(self, *shown: Any) -> None:
        self.updates.append(shown)


def test_lines_go_to_the_file_and_to_the_progress(tmp_path: Path) -> None:
    kept = Kept()
    log = TrainingLog(RunFolder(tmp_path), kept, steps=8, done=5, work=3.0, image_size=32)
    log.advance(16, 1)
    log.log(ROW, step_in_epoch=2)
    log.advance(16, 1)
    log.advance(16, 1)
    log.log(LAST, step_in_epoch=4)
    log.log(FULL_SIZE, step_in_epoch=4)
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert kept.found == lines
    assert lines[0].startswith("[2,     2] loss: 1.061  accuracy: 50.0%  ")
    assert lines[0].endswith(" left")
    of_what = "% of the training images, as augmented"
    assert lines[2] == f"Accuracy is: 65.316 {of_what} and shrunken to 24 px  held out: 70.00"
    assert lines[4] == f"Accuracy is: 43.856 {of_what}"
    assert [update[:3] for update in kept.updates] == [("training", step, 8) for step in (6, 7, 8)]
    assert kept.updates[1][3].startswith("epoch 2  loss 1.061  accuracy 50.0%  ")
    assert kept.updates[2][3] == ""


def test_the_time_left_is_that_of_the_work_left(tmp_path: Path) -> None:
    """Half of the work of this session is done, so it takes as long again, however many steps that is."""
    kept = Kept()
    log = TrainingLog(RunFolder(tmp_path), kept, steps=100, done=0, work=4.0, image_size=32)
    log.started -= 3723
    log.advance(16, 2.0)
    log.log(ROW, step_in_epoch=1)
    assert kept.found[0].endswith("1:02:03 left")
