"""Distributed training: what several processes agree on, share and gather, over torch.distributed.

Within `joined()` the processes that torch's launcher began are one group. Outside of it, and in a group of one, each
function here does nothing: `first()` is True, `part(n)` is all, what is passed comes back.

All processes of a group must call these functions in the same order, or they wait for each other for ever. So a
decision that hangs on a clock, a signal or a file is made by `agree`, `first_then_others`
or on files that are the same for all, see `seefar.runs.copies`.
"""

from __future__ import annotations

import ctypes
import io
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from seefar.errors import ProcessError, SeefarError

T = TypeVar("T")
Arrays = tuple[NDArray[Any], ...]


@dataclass
class _Group:
    rank: int
    size: int
    scratch: Path


_group: _Group | None = None


@dataclass(frozen=True)
class Part:
    """What one process does of a batch.

    Attributes:
        rows: its images; one at least, also where there are fewer images than processes.
        count: how many of them count: all, or none.
        weight: what its mean loss is multiplied by, so that the mean over the processes is that over the batch.
    """

    rows: slice
    count: int
    weight: float

    def weigh(self, loss: Tensor) -> Tensor:
        """The loss () by its share of the batch."""
        return loss if self.weight == 1 else loss * self.weight


def launched() -> bool:
    """Whether a launcher, such as torchrun, began this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ and "MASTER_ADDR" in os.environ


@contextmanager
def joined() -> Iterator[None]:
    """Within `with`, this process is one of the group that its launcher began; alone it does nothing.

    gloo connects what lies on CPUs, nccl what lies on CUDA. Each process has the GPU of its number on its machine.

    Raises:
        ProcessError: another process of the group ended before its time.
    """
    global _group
    if _group is not None or not launched():
        yield
        return
    _end_with_launcher()
    backend, local = "gloo", int(os.environ.get("LOCAL_RANK", "0"))
    if torch.cuda.is_available() and local < torch.cuda.device_count():
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl" if dist.is_nccl_available() else backend
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store, _, _ = next(rendezvous("env://", rank, size))
    # After a restart the store still holds the addresses of the processes before.
    attempt = PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    dist.init_process_group(backend, store=attempt, rank=rank, world_size=size)
    try:
        with tempfile.TemporaryDirectory(prefix="seefar-") as scratch:
            _group = _Group(rank, size, Path(scratch))
            yield
    except RuntimeError as error:
        if "gloo" not in str(error) and not isinstance(error, dist.DistError):
            raise
        raise ProcessError(
            f"Process {rank} of {size} lost another one ({str(error).splitlines()[0][:200]}): see what that one says; "
            "the same command goes on from what is saved."
        ) from error
    finally:
        _group = None
        dist.destroy_process_group()  # else gloo's threads abort the process at its end


def _end_with_launcher() -> None:
    """Ask for SIGTERM when the launcher is killed, which then tells nobody: else its processes would go on unseen."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def size() -> int:
    """Processes in the group; 1 alone."""
    return 1 if _group is None else _group.size


def first() -> bool:
    """Whether this process is the one that writes and prints."""
    return _group is None or _group.rank == 0


def part(count: int) -> Part:
    """This process's part of a batch of so many images; the parts are in order and differ by one image at most."""
    if _group is None:
        return Part(slice(0, count), count, 1.0)
    start, stop = _bounds(count)
    if start == stop:  # it must take part in the step, but not change it
        return Part(slice(0, 1), 0, 0.0)
    return Part(slice(start, stop), stop - start, (stop - start) * _group.size / count)


def total(tensor: Tensor) -> Tensor:
    """The sum over all processes, on each of them."""
    if _group is None:
        return tensor
    summed = tensor.clone()
    dist.all_reduce(summed)
    return summed


def agree(*flags: bool) -> tuple[bool, ...]:
    """For each flag whether it is true in any process."""
    if _group is None:
        return flags
    raised = total(torch.tensor(flags, dtype=torch.int32))  # on the CPU: no GPU is waited for
    return tuple(bool(flag) for flag in raised.tolist())


def first_then_others(function: Callable[[], T]) -> T:
    """Call it in the first process of each machine, and then, when what it fetched is there, in the others.

    Raises:
        ProcessError: it raised a `SeefarError` in another process; in this one that error itself is raised.
    """
    if _group is None:
        return function()
    leads, result = os.environ.get("LOCAL_RANK", "0") == "0", None
    for turn in (leads, not leads):
        own: SeefarError | None = None
        if turn:
            try:
                result = function()
            except SeefarError as error:
                own = error
        said = [text.decode() for text in _exchanged(str(own or "").encode())]
        if own is not None:
            raise own
        if any(said):
            raise ProcessError(next(text for text in said if text))
    return cast(T, result)


def in_parts(function: Callable[..., Arrays], *rows: NDArray[Any], unit: int = 1) -> Arrays:
    """Arrays that a function makes row by row, each process of its own rows, gathered in order on every process.

    Args:
        function: takes as many rows of each array as it is given, at least one, and returns a tuple of arrays with as
            many rows.
        rows: arrays of one length, at least 1.
        unit: rows are shared out in whole batches of so many, so that each is computed in the batch that it would be
            in with one process.
    """
    if _group is None:
        return function(*rows)
    start, stop = _bounds(-(-len(rows[0]) // unit))
    found = function(*(array[start * unit : stop * unit] for array in rows)) if start < stop else ()
    file = io.BytesIO()
    np.savez(file, *found)
    gathered = []
    for data in _exchanged(file.getvalue()):
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            if archive.files:
                gathered.append([archive[name] for name in archive.files])
    return tuple(np.concatenate(arrays) for arrays in zip(*gathered, strict=True))


def told(data: bytes) -> bytes:
    """The bytes of the first process, on each."""
    if _group is None:
        return data
    length = torch.tensor([len(data)])
    dist.broadcast(length, 0)
    content = torch.zeros(int(length), dtype=torch.uint8)
    if first():
        content.copy_(_tensor(data))
    dist.broadcast(content, 0)
    return content.numpy().tobytes()


def scratch() -> Path:
    """A temporary folder of this process, which lasts as long as the group."""
    assert _group is not None
    return _group.scratch


def _bounds(count: int) -> tuple[int, int]:
    """The first of so many things that is this process's, and the one after its last; the first process has most."""
    assert _group is not None
    start, stop = (-(-count * (_group.rank + more) // _group.size) for more in (0, 1))
    return start, stop


def _exchanged(data: bytes) -> list[bytes]:
    """The bytes of each process, in order."""
    lengths = torch.zeros(size(), dtype=torch.int64)
    lengths[dist.get_rank()] = len(data)
    lengths = total(lengths)
    padded = torch.zeros(int(lengths.max()), dtype=torch.uint8)
    padded[: len(data)] = _tensor(data)
    gathered = [torch.empty_like(padded) for _ in range(size())]
    dist.all_gather(gathered, padded)
    return [one[:length].numpy().tobytes() for one, length in zip(gathered, lengths.tolist(), strict=True)]


def _tensor(data: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(data, dtype=np.uint8).copy())
