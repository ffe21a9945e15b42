"""What a person sees of a training: a live line in a terminal, plain lines elsewhere, all of them in log.txt."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from seefar.training.history import HistoryRow

if TYPE_CHECKING:
    from rich.progress import Progress as Bar


class Progress:
    """Writes each line to `log_file` and to standard error, under a live bar if that is a terminal.

    Args:
        log_file: lines are added at its end.
        steps: steps of the whole training.
        done: steps done before this sitting.
        work: what is left to do, in any unit that takes the same time throughout, such as multiply-adds.
        quiet: nothing to standard error.
    """

    def __init__(self, log_file: Path, steps: int, done: int, work: float, quiet: bool) -> None:
        self.log_file, self.work, self.quiet = log_file, work, quiet
        self.work_done, self.images = 0.0, 0
        self.started = self.logged = time.perf_counter()
        self.bar: Bar | None = None
        if sys.stderr.isatty() and not quiet:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
            self.bar = Progress(*columns, console=Console(stderr=True, highlight=False, markup=False))
            self.task = self.bar.add_task("first steps", total=steps, completed=done)

    def __enter__(self) -> Progress:
        self.file = self.log_file.open("a", encoding="utf-8", newline="\n", buffering=1)
        if self.bar:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.bar:
            self.bar.stop()
        self.file.close()

    def advance(self, images: int, work: float) -> None:
        """One step is done: so many images, so much of the work."""
        self.images += images
        self.work_done += work
        if self.bar:
            self.bar.advance(self.task)

    def say(self, line: str) -> None:
        """One line for the log."""
        self.file.write(line + "\n")
        if self.bar:
            self.bar.console.print(line)
        elif not self.quiet:
            print(line, file=sys.stderr, flush=True)

    def log(self, row: HistoryRow, step_in_epoch: int) -> None:
        """A logged step: `[1,  2000] loss: 1.061` as the asked-for log has it, then accuracy, speed and time left.

        At the end of an epoch also `Accuracy is: 65.316`, in percent of the training images as they were augmented.
        """
        now = time.perf_counter()
        left = (now - self.started) * (self.work - self.work_done) / self.work_done
        rest = f"accuracy: {row.accuracy:.1%}  {self.images / (now - self.logged):.0f} images/s  {duration(left)} left"
        self.say(f"[{row.epoch},{step_in_epoch:6d}] loss: {row.loss:.3f}  {rest}")
        if self.bar:
            self.bar.update(self.task, description=f"epoch {row.epoch}  loss {row.loss:.3f}  {rest}")
        self.logged, self.images = now, 0
        if row.epoch_accuracy is not None:
            held_out = "" if row.held_out_accuracy is None else f"  held out: {100 * row.held_out_accuracy:.2f}"
            self.say(f"Accuracy is: {100 * row.epoch_accuracy:.5g}{held_out}")


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: `1:02:03`, `2:03`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
