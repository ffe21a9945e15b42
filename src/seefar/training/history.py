"""The history of a training, one row for each logged step, as CSV; and the lines of its log."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from seefar.errors import RunError, not_read
from seefar.progress import Progress
from seefar.runs.files import open_to_append, read_bytes
from seefar.runs.folder import RunFolder


@dataclass(frozen=True)
class HistoryRow:
    """One logged step. Loss and accuracy are means over the training images since the row before, as augmented.

    Attributes:
        step, epoch: steps done, and the epoch this step belongs to, counted from 1.
        seconds: time spent in training so far, over all sessions.
        image_size: height in pixels of the network's input.
        learning_rate: rate of this step.
        loss, accuracy: with label smoothing; share of the training images classified correctly.
        epoch_accuracy, held_out_accuracy: over the complete epoch, and on the held-out images; only in its last row.
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


MOST_DRAWN = 100_000
"""Rows of a history whose curves are drawn; a training can resume with more."""
COLUMNS = tuple(field.name for field in fields(HistoryRow))


def to_csv(rows: Sequence[HistoryRow], *, header: bool = True) -> str:
    """Rows as CSV text; floats keep all their digits, unknown values stay empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()


def read_history(path: Path, limit: int | None = None) -> list[HistoryRow]:
    """The rows of a `history.csv`, but for an incomplete last line, as after a crash.

    A `RunError` if it is damaged, or has more than `limit` rows.
    """
    try:
        lines = read_bytes(path, follow=False).decode("utf-8").splitlines(keepends=True)
        first = "".join(lines[:1]).strip()
        if first != ",".join(COLUMNS):
            raise ValueError(f"its first line is {first!r}")
        if limit is not None and len(lines) - 1 > limit:
            raise RunError(f"{path} must have at most {limit:,} rows (got {len(lines) - 1:,}): delete some of them.")
        rows = [_row(row) for row in csv.DictReader(line for line in lines if line.endswith("\n"))]
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing: restore it from a copy, or choose another run.") from error
    except OSError as error:
        raise not_read(path, error) from error
    except (TypeError, ValueError, csv.Error) as error:
        columns = ",".join(COLUMNS)
        raise RunError(f"{path} is not a training history ({error}): its columns must be {columns}.") from error
    return rows


def _row(texts: dict[str, str]) -> HistoryRow:
    values: dict[str, Any] = {name: float(text) for name, text in texts.items() if text}
    return HistoryRow(**values | {name: int(texts[name]) for name in ("step", "epoch", "image_size")})


class TrainingLog:
    """Writes the history and the log of a training, if it has a folder, and shows its progress.

    `work` is what is left to do, in any unit that takes the same time throughout; `done` are the steps before.
    """

    def __init__(
        self, folder: RunFolder | None, progress: Progress, steps: int, done: int, work: float, image_size: int
    ) -> None:
        self.folder, self.progress, self.steps, self.done, self.work = folder, progress, steps, done, work
        self.image_size, self.work_done, self.images, self.note = image_size, 0.0, 0, ""
        self.started = self.logged = time.perf_counter()

    def advance(self, images: int, work: float) -> None:
        """Record a finished step: its number of images and its share of the work."""
        self.done += 1
        self.images += images
        self.work_done += work
        note = f"{self.note}{duration(self._seconds_left())} left" if self.done < self.steps else ""
        self.progress.update("training", self.done, self.steps, note)

    def line(self, text: str) -> None:
        """One line for the log."""
        if self.folder is not None:
            with open_to_append(self.folder.log) as file:
                file.write(f"{text}\n".encode())
            self.progress.line(text)

    def log(self, row: HistoryRow, step_in_epoch: int) -> None:
        """A logged step: `[1,  2000] loss: 1.061`, and `Accuracy is: 65.316` after an epoch, as in the assignment."""
        if self.folder is not None:
            with open_to_append(self.folder.history) as file:
                file.write(to_csv([row], header=False).encode())
        now = time.perf_counter()
        speed = f"{self.images / (now - self.logged):.0f} images/s"
        left = f"{duration(self._seconds_left())} left"
        self.line(
            f"[{row.epoch},{step_in_epoch:6d}] loss: {row.loss:.3f}  accuracy: {row.accuracy:.1%}  {speed}  {left}"
        )
        self.note = f"epoch {row.epoch}  loss {row.loss:.3f}  accuracy {row.accuracy:.1%}  {speed}  "
        self.logged, self.images = now, 0
        if row.epoch_accuracy is not None:
            line = f"Accuracy is: {100 * row.epoch_accuracy:.5g} % of the training images, as augmented"
            if row.image_size < self.image_size:
                line += f" and shrunken to {row.image_size} px"
            if row.held_out_accuracy is not None:
                line += f"  held out: {100 * row.held_out_accuracy:.2f}"
            self.line(line)

    def _seconds_left(self) -> float:
        return (time.perf_counter() - self.started) * (self.work - self.work_done) / max(self.work_done, 1e-9)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: `1:02:03`, `2:03`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minute:02d}:{second:02d}"
    return f"{minute}:{second:02d}"
