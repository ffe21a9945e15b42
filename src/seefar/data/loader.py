"""Training batches made ahead by worker processes; the death of one loses nothing and breaks no step in the middle."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data._utils import signal_handling

from seefar.data.augmentation import AugmentedBatches, Batch
from seefar.errors import Interrupted, WorkerError

STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""What asks a training to stop. SIGHUP, which Windows has not, comes of a closed terminal or a lost connection."""
CAUSES = {
    "SIGKILL": ", most likely because memory ran out",
    "SIGBUS": ", most likely because the shared memory in /dev/shm is full",
}

IMAGES_A_MESSAGE = 128
"""A worker process sends so many images at once: a message takes longer than a GPU needs for a batch of 4."""


@contextmanager
def training_batches(
    dataset: AugmentedBatches, positions: Sequence[tuple[int, int]], workers: int, pin_memory: bool
) -> Iterator[LoadedBatches]:
    """The batches at these (epoch, number) positions, in order, made ahead by `workers` processes (0: by this one).

    The processes live within `with`: they are begun when it begins, and ended when it ends, however it ends.

    Raises:
        WorkerError: in place of `Interrupted`, after one of the processes has died.
    """
    with _Deaths() as deaths:
        batches = LoadedBatches(dataset, positions, workers, pin_memory, deaths)
        try:
            yield batches
        except Interrupted as error:
            if batches.failure is None:
                raise
            raise WorkerError(f"{error} {batches.failure}. If that happens again choose 0 workers.") from error
        finally:
            batches.close()


class LoadedBatches(Iterator[Batch]):
    """Batches from worker processes; when one of these has died, the next ones are made in this process.

    They are the same batches, since a batch depends on nothing but its position.

    Attributes:
        failure: what has become of the worker processes, if they are of no more use; a training had better end then.
    """

    def __init__(
        self,
        dataset: AugmentedBatches,
        positions: Sequence[tuple[int, int]],
        workers: int,
        pin_memory: bool,
        deaths: _Deaths,
    ) -> None:
        self.failure: str | None = None
        self._dataset, self._positions, self._pin_memory, self._deaths = dataset, positions, pin_memory, deaths
        self._workers, self._done = workers, 0
        self._there: deque[Batch] = deque()
        if workers:
            deaths.listen()  # before they are begun, since one may be killed at once
        self._made = self._begin()

    def __next__(self) -> Batch:
        if not self._there:
            self._there.extend(self._next().batches())
        self._done += 1
        return self._there.popleft()

    def _next(self) -> _Message:
        try:
            with self._deaths.heard():
                message: _Message = next(self._made)
        except StopIteration:
            raise
        except Exception as error:
            if not self._workers:
                raise
            self.failure = _fate(self._made, error)
            self.close()
            self._workers = 0
            self._made = self._begin()
            message = next(self._made)
        return message

    def close(self) -> None:
        """End the worker processes."""
        # Left alone, they live as long as the iterator, which a notebook keeps with the error of an interrupted cell.
        getattr(self._made, "_shutdown_workers", lambda: None)()

    def _begin(self) -> Any:
        left = self._positions[self._done :]
        at_once = max(1, IMAGES_A_MESSAGE // self._dataset.batch_size) if self._workers else 1
        loader: DataLoader[_Message] = DataLoader(
            _Messages(self._dataset),
            batch_size=None,
            sampler=[left[start : start + at_once] for start in range(0, len(left), at_once)],
            num_workers=self._workers,
            pin_memory=self._pin_memory,
            prefetch_factor=4 if self._workers else None,
            worker_init_fn=_leave_signals_to_the_parent,
            generator=torch.Generator(),  # the loader would draw from the process's own
        )
        others = set(multiprocessing.active_children())
        try:
            return iter(loader)
        except BaseException:
            for begun in set(multiprocessing.active_children()) - others:
                begun.kill()  # it does not listen to SIGTERM, by which Python would end it and then wait for ever
                begun.join()
            raise


@dataclass(frozen=True)
class _Message:
    """Batches that follow each other, as one tensor of images and one of labels."""

    positions: Sequence[tuple[int, int]]
    sizes: list[int]
    images: Tensor
    labels: Tensor

    def pin_memory(self) -> _Message:
        """The same in page-locked memory; the loader calls it where a GPU waits."""
        return _Message(self.positions, self.sizes, self.images.pin_memory(), self.labels.pin_memory())

    def batches(self) -> Iterator[Batch]:
        """Each batch, as a view."""
        images, labels = torch.split(self.images, self.sizes), torch.split(self.labels, self.sizes)
        for (epoch, number), of_images, of_labels in zip(self.positions, images, labels, strict=True):
            yield Batch(epoch, number, of_images, of_labels)


class _Messages(Dataset[_Message]):
    """The batches at some positions at once."""

    def __init__(self, dataset: AugmentedBatches) -> None:
        self.dataset = dataset

    def __getitem__(self, positions: Sequence[tuple[int, int]]) -> _Message:
        batches = [self.dataset[position] for position in positions]
        images, labels = (torch.cat(parts) for parts in zip(*((b.images, b.labels) for b in batches), strict=True))
        return _Message(positions, [len(batch.labels) for batch in batches], images, labels)


class _Deaths:
    """Within `with`, torch's error of a dead worker is raised only where the next batch is waited for.

    By itself torch raises it when the signal arrives, be it in the middle of a step, with half of the weights changed.
    """

    def __init__(self) -> None:
        self._of_torch: Any = None
        self._told = self._hears = False

    def __enter__(self) -> _Deaths:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._of_torch is not None:
            signal.signal(signal.SIGCHLD, self._of_torch)

    def listen(self) -> None:
        """Take the place of the handler that torch sets; elsewhere than in the main thread it sets none."""
        if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGCHLD"):
            signal_handling._set_SIGCHLD_handler()  # once in a process, by itself only after it has begun workers
            handler = signal.getsignal(signal.SIGCHLD)
            if callable(handler):
                self._of_torch = handler
                signal.signal(signal.SIGCHLD, self._tell)

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Within `with`, the error is raised, that of a death before it too."""
        self._hears = True
        try:
            if self._told:
                self._of_torch(signal.SIGCHLD, None)
            yield
        finally:
            self._hears = False

    def _tell(self, number: int, frame: FrameType | None) -> None:
        self._told = True
        if self._hears:
            self._of_torch(number, frame)


def _fate(loader: Any, error: Exception) -> str:
    """What became of the worker processes, as a sentence without its full stop."""
    workers = {worker.sentinel: worker for worker in getattr(loader, "_workers", ())}
    for ended in wait(workers, timeout=1.0):  # a process is found gone before its exit code is there
        workers[ended].join(1.0)
        code = workers[ended].exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            return f"A process that makes batches was ended by {name}{CAUSES.get(name, '')}"
    why = str(error).strip() or type(error).__name__
    return f"The processes that make batches failed ({why.splitlines()[-1]})"


def _leave_signals_to_the_parent(_worker: int) -> None:
    """Ctrl-C, and the end of a job, reach a whole process group; the training, not its workers, decides when to stop.

    A worker whose parent is killed notices by itself.
    """
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
