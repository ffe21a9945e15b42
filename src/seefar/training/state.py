"""The state of a training: its history and log, its checkpoint, and the signals that interrupt it."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from seefar.data.images import Data
from seefar.errors import RecipeError, RunError, not_read
from seefar.model.resnet import ResNet18
from seefar.progress import Progress
from seefar.runs.arrays import load_tensors, load_weights, save_tensors
from seefar.runs.files import open_to_append, read_bytes, sync
from seefar.runs.folder import RunFolder
from seefar.training.distributed import all_reduce, broadcast, broadcast_tensors, is_main
from seefar.training.recipe import Recipe


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


COLUMNS = tuple(field.name for field in fields(HistoryRow))


def to_csv(rows: Sequence[HistoryRow], *, header: bool = True) -> str:
    """Rows as CSV text; floats keep all their digits, unknown values stay empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()


def read_history(path: Path) -> list[HistoryRow]:
    """The rows of a `history.csv`, but for an incomplete last line, as after a crash; a `RunError` if it is damaged."""
    try:
        lines = read_bytes(path, follow=False).decode("utf-8").splitlines(keepends=True)
        first = "".join(lines[:1]).strip()
        if first != ",".join(COLUMNS):
            raise ValueError(f"its first line is {first!r}")
        return [_row(row) for row in csv.DictReader(line for line in lines if line.endswith("\n"))]
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing: restore it from a copy, or choose another run.") from error
    except OSError as error:
        raise not_read(path, error) from error
    except (TypeError, ValueError, csv.Error) as error:
        columns = ",".join(COLUMNS)
        raise RunError(f"{path} is not a training history ({error}): its columns must be {columns}.") from error


def _row(texts: dict[str, str]) -> HistoryRow:
    values: dict[str, Any] = {name: float(text) for name, text in texts.items() if text}
    return HistoryRow(**values | {name: int(texts[name]) for name in ("step", "epoch", "image_size")})


class TrainingLog:
    """Writes the history and the log of a training, if it has a folder, and shows its progress.

    `work` is what is left to do, in any unit that takes the same time throughout; `done` are the steps before.
    """

    def __init__(self, folder: RunFolder | None, progress: Progress, steps: int, done: int, work: float) -> None:
        self.folder, self.progress, self.steps, self.done, self.work = folder, progress, steps, done, work
        self.work_done, self.images, self.note = 0.0, 0, ""
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
            if row.held_out_accuracy is not None:
                line += f"  held out: {100 * row.held_out_accuracy:.2f}"
            self.line(line)

    def _seconds_left(self) -> float:
        return (time.perf_counter() - self.started) * (self.work - self.work_done) / max(self.work_done, 1e-9)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: `1:02:03`."""
    return str(timedelta(seconds=round(seconds)))


# ---- The checkpoint ----


class Tally:
    """Sums of loss, correct predictions and images since the last logged step and since the start of the epoch.

    `sums` (2, 3) stay on the device, so that no step waits for it. float64 counts exactly; MPS has only float32.
    """

    def __init__(self, device: torch.device) -> None:
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self.sums = torch.zeros(2, 3, dtype=dtype, device=device)

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add one batch: its mean loss (), logits (B, K) and labels (B,)."""
        correct = (logits.argmax(1) == labels).sum()
        images = torch.full_like(correct, len(labels))
        self.sums += torch.stack((loss.detach().to(self.sums.dtype) * len(labels), correct, images))

    def reset(self, epoch_ends: bool) -> None:
        """Reset after a logged step, which may be the last one of an epoch."""
        self.sums[: 2 if epoch_ends else 1].zero_()

    def totals(self) -> list[list[float]]:
        """The sums over all ranks, (2, 3); this waits for a GPU."""
        totals: list[list[float]] = all_reduce(self.sums).tolist()
        return totals


@dataclass
class TrainingState:
    """Everything that a training resumes from.

    `training` is the identity of the training, see `identify`. Steps, seconds and rows of the history are those of all
    sessions. The loss scaler has an effect in float16 only.
    """

    model: ResNet18
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    tally: Tally
    training: str
    step: int = 0
    seconds: float = 0.0
    rows: int = 0

    def save(self, folder: RunFolder | None) -> None:
        """Write the checkpoint of all ranks into the folder, which rank 0 alone has; its history is synced before."""
        totals = self.tally.totals()
        if folder is None:
            return
        sync(folder.history)
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in self._momentum().items()}
        values = {name: getattr(self, name) for name in ("training", "step", "seconds", "rows")}
        save_tensors(folder.checkpoint, tensors, {**values, "totals": totals, "scaler": self.scaler.state_dict()})

    def load(self, path: Path) -> None:
        """Restore what `save` wrote; a `RunError` if the file is damaged or belongs to another training."""
        tensors, values = load_tensors(path)
        if values.get("training") != self.training:
            raise RunError(
                f"{path} belongs to another training: restore the right one from a copy, or delete it to start over."
            )

        def below(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): tensors[name] for name in tensors if name.startswith(prefix)}

        load_weights(path, self.model, below("model."))
        self.step, self.seconds, self.rows = values["step"], values["seconds"], values["rows"]
        self.tally.sums.copy_(torch.tensor(values["totals"], dtype=self.tally.sums.dtype))
        self._load_scaler(values["scaler"])
        saved = below("optimizer.")
        self._create_momentum({name: tensor.shape for name, tensor in saved.items()})
        for name, momentum in self._momentum().items():
            momentum.copy_(saved[name])

    def share(self) -> None:
        """Give all ranks the state of rank 0, except for the weights, which `data_parallel` shares, and the tally."""
        own = {"training": self.training, "step": self.step, "scaler": self.scaler.state_dict()}
        own["momentum"] = {name: list(tensor.shape) for name, tensor in self._momentum().items()}
        values = json.loads(broadcast(json.dumps(own).encode()))
        if values["training"] != self.training:
            raise RecipeError("The processes have different recipes or training images: give all of them the same.")
        if not is_main():
            self.step = values["step"]
            self._load_scaler(values["scaler"])
            self._create_momentum(values["momentum"])
        broadcast_tensors(list(self._momentum().values()))

    def _momentum(self) -> dict[str, Tensor]:
        """The tensors of the optimizer, such as `momentum_buffer/conv1.weight`."""
        states = ((name, self.optimizer.state.get(parameter, {})) for name, parameter in self.model.named_parameters())
        tensors = ((f"{key}/{name}", value) for name, state in states for key, value in state.items())
        return {name: value for name, value in tensors if isinstance(value, Tensor)}

    def _create_momentum(self, shapes: Mapping[str, Sequence[int]]) -> None:
        for name, shape in shapes.items():
            key, _, owner = name.partition("/")
            parameter = self.model.get_parameter(owner)
            alike = parameter.shape == torch.Size(shape)  # else a count of steps, which stays on the CPU
            state = torch.zeros_like(parameter) if alike else torch.zeros(tuple(shape))
            self.optimizer.state[parameter][key] = state

    def _load_scaler(self, state: dict[str, Any]) -> None:
        if state and self.scaler.is_enabled():
            self.scaler.load_state_dict(state)


def identify(recipe: Recipe, data: Data) -> str:
    """The identity of a training: its recipe and training images, wherever the images are now."""
    return replace(recipe, data=data.train.fingerprint).to_json()


STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""The signals that stop a training; Windows has no SIGHUP, which a closed terminal sends."""
REPEATED = 3.0
"""Seconds in which a repeated signal counts as the first one: a process group and a launcher both send it."""


@contextmanager
def noted_signals() -> Iterator[list[float]]:
    """Within `with`, Ctrl-C, SIGTERM and SIGHUP only add their time to a list; one after `REPEATED` ends the process.

    Under nohup SIGHUP stays ignored. Outside the main thread, where Python allows no handlers, nothing is changed.
    """
    times: list[float] = []
    before: dict[signal.Signals, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, _frame: FrameType | None) -> None:
        times.append(time.monotonic())
        if times[-1] - times[0] > REPEATED:
            restore()
            os.kill(os.getpid(), number)

    if threading.current_thread() is threading.main_thread():
        for number in STOPS:
            if not (number.name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):
                before[number] = signal.signal(number, note)
    try:
        yield times
    finally:
        restore()
