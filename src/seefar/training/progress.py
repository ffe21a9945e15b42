"""The training log: the lines of log.txt, and how far a training is."""

from __future__ import annotations

import time
from pathlib import Path

from seefar.progress import Progress
from seefar.training.history import HistoryRow


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
