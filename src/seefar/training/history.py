"""What a training went through: one row for each logged step, kept as CSV from the first to the last."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

from seefar.errors import RunError, not_read


@dataclass(frozen=True)
class HistoryRow:
    """One logged step. Loss and accuracy are means over the training images since the row before.

    Attributes:
        step: steps done.
        epoch: the epoch this step belongs to, counted from 1.
        seconds: time spent in training so far, over all sittings.
        image_size: height and width in pixels that the network was given.
        learning_rate: rate of this step.
        loss: mean training loss, with augmentation and label smoothing.
        accuracy: share of the training images answered rightly, as augmented.
        epoch_accuracy: the same over the whole epoch; only in the row that ends it.
        held_out_accuracy: share of the held-out images answered rightly; only there, and only if some are held out.
    """

    step: int
    epoch: int
    seconds: float
    image_size: int
    learning_rate: float
    loss: float
    accuracy: float
    epoch_accuracy: float | None = None
    held_out_accuracy: float | None = None


COLUMNS = tuple(field.name for field in fields(HistoryRow))


def to_csv(rows: Sequence[HistoryRow]) -> str:
    """Rows as CSV text; floats keep all their digits, what is not known stays empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()


def append_row(path: Path, row: HistoryRow, size: int) -> int:
    """Add one row to the end of a history that `to_csv` began.

    Args:
        path: of the history.
        row: the next one.
        size: bytes that it has if nobody but the training wrote into it.

    Returns:
        Bytes that it has now.

    Raises:
        RunError: it was taken away or changed; what is in it by now would be no history. Or the folder is another.
    """
    with _opened(path) as file:
        found = file.seek(0, os.SEEK_END)
        if found != size:
            raise RunError(
                f"{path} was changed while it was written ({size:,} bytes were in it, {found:,} are): put it back "
                "from a copy and do the same again, which goes on from the last checkpoint."
            )
        line = io.StringIO()
        csv.DictWriter(line, COLUMNS, lineterminator="\n").writerow(asdict(row))
        return size + file.write(line.getvalue().encode())


def bring_to_disk(path: Path) -> None:
    """Wait until the disk has the rows, so that no power cut leaves a checkpoint with rows behind it that are gone."""
    with _opened(path) as file:
        os.fsync(file.fileno())


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("r+b") as file:
            yield file
    except FileNotFoundError as error:
        raise RunError(
            f"{path} was taken away while it was written: put it back from a copy and do the same again, which goes on "
            "from the last checkpoint, or begins anew if there is none."
        ) from error


def read_history(path: Path) -> list[HistoryRow]:
    """The rows of a `history.csv`; a last line that is not whole, as a kill may leave it, is passed over.

    Raises:
        RunError: the file is missing or is no history.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        if not lines or tuple(lines[0].strip().split(",")) != COLUMNS:
            raise ValueError(f"its first line is {lines[0].strip()!r}" if lines else "it is empty")
        whole = [line for line in lines if line.endswith("\n")]
        rows = [HistoryRow(**{name: _value(name, row[name]) for name in COLUMNS}) for row in csv.DictReader(whole)]
        _check(rows)
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing: put it back from a copy, or choose another run.") from error
    except OSError as error:
        raise not_read(path, error) from error
    except (TypeError, ValueError, csv.Error) as error:
        columns = ",".join(COLUMNS)
        raise RunError(f"{path} is no training history ({error}): its columns should be {columns}.") from error
    return rows


def _check(rows: Sequence[HistoryRow]) -> None:
    """Refuse rows that no training writes: steps that do not rise, numbers that are not finite, no shares."""
    steps = [row.step for row in rows]
    if any(later <= earlier for earlier, later in pairwise(steps)):
        raise ValueError("its steps do not rise")
    for row in rows:
        numbers = (row.seconds, row.learning_rate, row.loss)
        shares = (row.accuracy, row.epoch_accuracy or 0.0, row.held_out_accuracy or 0.0)
        if not all(math.isfinite(number) for number in numbers) or not all(0 <= share <= 1 for share in shares):
            raise ValueError(f"step {row.step} has a number that no training gives")


def _value(name: str, text: str) -> Any:
    if name in ("step", "epoch", "image_size"):
        return int(text)
    return None if text == "" and name in ("epoch_accuracy", "held_out_accuracy") else float(text)
