"""What a training went through: the rows of its history as CSV, the lines of its log, scalars for TensorBoard."""

from __future__ import annotations

import csv
import io
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

from seefar.errors import MissingExtraError, RunError, not_read
from seefar.progress import Progress


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


class TrainingLog:
    """Writes each line to `log_file` and to `progress`, which also gets every step.

    Args:
        log_file: lines are added at its end.
        progress: what shows the lines and the steps.
        steps: steps of the whole training.
        done: steps done before this sitting.
        work: what is left to do, in any unit that takes the same time throughout, such as multiply-adds.
        image_size: height and width of the images before they are shrunken.
    """

    def __init__(self, log_file: Path, progress: Progress, steps: int, done: int, work: float, image_size: int) -> None:
        self.log_file, self.progress, self.steps, self.done, self.work = log_file, progress, steps, done, work
        self.image_size, self.work_done, self.images, self.note = image_size, 0.0, 0, ""
        self.started = self.logged = time.perf_counter()

    def __enter__(self) -> TrainingLog:
        self.file = self.log_file.open("a", encoding="utf-8", newline="\n", buffering=1)
        return self

    def __exit__(self, *_error: object) -> None:
        self.file.close()

    def advance(self, images: int, work: float) -> None:
        """One step is done: so many images, so much of the work."""
        self.done += 1
        self.images += images
        self.work_done += work
        note = f"{self.note}{duration(self._seconds_left())} left" if self.done < self.steps else ""
        self.progress.update("training", self.done, self.steps, note)

    def line(self, text: str) -> None:
        """One line for the log."""
        self.file.write(text + "\n")
        self.progress.line(text)

    def log(self, row: HistoryRow, step_in_epoch: int) -> None:
        """A logged step: `[1,  2000] loss: 1.061` as the asked-for log has it, then accuracy, speed and time left.

        At the end of an epoch also `Accuracy is: 65.316`, in percent, and of what.
        """
        now = time.perf_counter()
        speed = f"{self.images / (now - self.logged):.0f} images/s"
        left = f"{duration(self._seconds_left())} left"
        self.line(
            f"[{row.epoch},{step_in_epoch:6d}] loss: {row.loss:.3f}  accuracy: {row.accuracy:.1%}  {speed}  {left}"
        )
        self.note = f"epoch {row.epoch}  loss {row.loss:.3f}  accuracy {row.accuracy:.1%}  {speed}  "
        self.logged, self.images = now, 0
        if row.epoch_accuracy is not None:
            shrunken = f" and shrunken to {row.image_size} px" if row.image_size < self.image_size else ""
            held_out = "" if row.held_out_accuracy is None else f"  held out: {100 * row.held_out_accuracy:.2f}"
            percent = f"{100 * row.epoch_accuracy:.5g}"
            self.line(f"Accuracy is: {percent} % of the training images, as augmented{shrunken}{held_out}")

    def _seconds_left(self) -> float:
        return (time.perf_counter() - self.started) * (self.work - self.work_done) / max(self.work_done, 1e-9)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: `1:02:03`, `2:03`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


SCALARS = ("loss", "accuracy", "learning_rate", "image_size", "held_out_accuracy")


def load_writer() -> Any:
    """What writes event files.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("tensorboard", "TensorBoard export", error) from error
    return SummaryWriter


def write_scalars(history: Sequence[HistoryRow], folder: Path) -> Path:
    """Write one event file with the loss, accuracies, rate and image size of each logged step; older ones are replaced.

    Args:
        history: the rows of a run.
        folder: where to; TensorBoard is given this folder.

    Returns:
        The folder.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """
    writer_of = load_writer()
    for old in folder.glob("events.out.tfevents.*"):  # TensorBoard would draw both
        old.unlink()
    with writer_of(str(folder)) as writer:
        for row in history:
            for name in SCALARS:
                value = getattr(row, name)
                if value is not None:
                    writer.add_scalar(name, value, row.step)
    return folder
