"""TensorBoard scalars hold what the history holds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from seefar.errors import MissingExtraError
from seefar.training.history import HistoryRow
from seefar.training.scalars import write_scalars

ROWS = [
    HistoryRow(50, 1, 1.0, 24, 0.1, 2.25, 0.25),
    HistoryRow(100, 1, 2.0, 32, 0.2, 1.5, 0.5, epoch_accuracy=0.375, held_out_accuracy=0.625),
]


def test_every_number_comes_back(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(write_scalars(ROWS, tmp_path)))
    events.Reload()
    assert [(one.step, one.value) for one in events.Scalars("loss")] == [(50, 2.25), (100, 1.5)]
    assert [(one.step, one.value) for one in events.Scalars("image_size")] == [(50, 24), (100, 32)]
    assert [(one.step, one.value) for one in events.Scalars("held_out_accuracy")] == [(100, 0.625)]


def test_a_second_export_takes_the_place_of_the_first(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    write_scalars([HistoryRow(10, 1, 1.0, 24, 0.1, 9.0, 0.0)], tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    events = accumulator.EventAccumulator(str(write_scalars(ROWS, tmp_path)))
    events.Reload()
    assert [one.step for one in events.Scalars("loss")] == [50, 100]
    assert sorted(path.name.split(".")[0] for path in tmp_path.iterdir()) == ["events", "notes"]


def test_without_tensorboard_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'seefar\[tensorboard\]'"):
        write_scalars(ROWS, tmp_path)
