"""Distributed training: several processes, each with its part of every batch; only the training step is distributed.

Rank 0, the main process, alone opens the run folder, prints, and evaluates. Within `joined()` the processes are one
group, and must call these functions in the same order; without a launcher each function does nothing.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore

from seefar.errors import ChoiceError, SeefarError

LOOPBACK = ("127.0.0.1", "localhost")
TIMEOUT = timedelta(minutes=10)
"""How long ranks wait for each other, in a step or while rank 0 measures accuracy; then the training fails."""
_joined = False
"""Whether this process is in a group of `joined`: a process group of the caller's own program is none of ours."""


class ProcessError(SeefarError):
    """Another process of a distributed training failed or ended; its own message has the reason."""

    exit_code = 1


def launched() -> bool:
    """Whether a launcher, such as torchrun, started this process as one of several."""
    return _variable("WORLD_SIZE", 1) > 1 and bool(os.environ.get("RANK")) and bool(os.environ.get("MASTER_ADDR"))


@contextmanager
def joined() -> Iterator[None]:
    """Within `with`, this process is one of the group that its launcher started; without a launcher nothing happens.

    gloo connects the CPUs, nccl the GPUs. Each process has the GPU of its number on its machine. A `ProcessError` if
    another process ends early.
    """
    global _joined
    if _joined or not launched():
        yield
        return
    if sys.platform == "linux":  # SIGTERM when the launcher is killed, or the processes keep running unnoticed
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    size, local = _variable("WORLD_SIZE"), _variable("LOCAL_RANK", 0)
    rank = _variable("RANK", below=size)
    backend = "gloo"
    if torch.cuda.is_available() and local < torch.cuda.device_count():
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl" if dist.is_nccl_available() else backend
    _connect(rank, size, backend)
    _joined = True
    try:
        yield
    except RuntimeError as error:
        if "gloo" not in str(error) and not isinstance(error, dist.DistError):
            raise
        raise ProcessError(
            f"Process {rank} of {size} lost the connection to another process "
            f"({str(error).splitlines()[0][:200]}): see its message. The same command resumes from the saved state."
        ) from error
    finally:
        leave()


def leave() -> None:
    """Leave the group, which all ranks do at the same time; rank 0 continues alone."""
    global _joined
    _joined = False
    if dist.is_initialized():
        dist.destroy_process_group()  # else gloo's threads abort the process at its end


def _connect(rank: int, size: int, backend: str) -> None:
    """Join the group; the store through which the processes find each other is run by rank 0, or by torchrun.

    torch listens on all network interfaces; with a loopback address, nothing can be reached from outside.
    """
    address, port = os.environ["MASTER_ADDR"], _variable("MASTER_PORT")
    serves = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    listener = None
    # After a restart by torchrun the store still has the addresses of the processes before.
    attempt = f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    try:
        if address in LOOPBACK:
            for library in ("GLOO", "NCCL"):
                os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
            listener = socket.create_server((address, port)).detach() if serves else None
        store = dist.TCPStore(  # type: ignore[attr-defined]  # torch documents it there
            address, port, size, serves, TIMEOUT, wait_for_workers=False, master_listen_fd=listener
        )
        prefixed = PrefixStore(attempt, store)
        dist.init_process_group(backend, store=prefixed, rank=rank, world_size=size, timeout=TIMEOUT)
    except (OSError, RuntimeError) as error:
        leave()
        raise ChoiceError(
            f"Process {rank} of {size} cannot connect to the others at {address}, port {port} "
            f"({str(error).splitlines()[0][:200]}): start all {size} within 10 minutes, with the "
            "machine of process 0 as MASTER_ADDR and a free port of it as MASTER_PORT."
        ) from error


def _variable(name: str, default: int | str = "", below: int = 1 << 16) -> int:
    """An integer that a launcher puts into the environment."""
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or len(text) > 9 or int(text) >= below:
        raise ChoiceError(
            f"The environment variable {name} must be an integer below {below} (got {text[:20]!r}); a launcher such as "
            "torchrun sets it."
        )
    return int(text)


def world_size() -> int:
    """Processes in the group; 1 without a launcher."""
    return dist.get_world_size() if _joined else 1


def own_rank() -> int:
    """The number of this process in the group; 0 without a launcher."""
    return dist.get_rank() if _joined else 0


def is_main() -> bool:
    """Whether this process writes and prints: rank 0."""
    return own_rank() == 0


def check_processes(device: str) -> None:
    """Refuse more processes than GPUs."""
    if world_size() == 1:
        return
    here = _variable("LOCAL_WORLD_SIZE", 1)  # on this machine
    most = {"mps": 1, "cuda": torch.cuda.device_count()}.get(device, here)
    if here > most:
        raise ChoiceError(f"{here} processes need as many GPUs (got {most}): choose fewer, or --device cpu.")


def broadcast(data: bytes) -> bytes:
    """The bytes of rank 0, on all ranks."""
    if world_size() == 1:
        return data
    length = torch.tensor([len(data)])
    dist.broadcast(length, 0)
    content = torch.zeros(int(length), dtype=torch.uint8)
    if is_main():
        content = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    dist.broadcast(content, 0)
    return content.numpy().tobytes()


def broadcast_tensors(tensors: list[Tensor]) -> None:
    """Overwrite tensors with those of rank 0."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def all_reduce(tensor: Tensor) -> Tensor:
    """The sum over all ranks."""
    if world_size() == 1:
        return tensor
    summed = tensor.clone()
    dist.all_reduce(summed)
    return summed


def any_rank(*flags: bool) -> tuple[bool, ...]:
    """For each flag, whether it is true on any rank: signals and clocks differ between processes."""
    if world_size() == 1:
        return flags  # no tensor in each step
    return tuple(bool(count) for count in all_reduce(torch.tensor(flags, dtype=torch.int32)).tolist())  # on the CPU


def part(count: int) -> tuple[slice, float]:
    """This rank's images of a batch of `count`, and the factor of their mean loss; parts differ by at most one image.

    With the factor the mean over the processes is that over the batch. Where there are fewer images than processes,
    some take part with an image of factor 0.
    """
    size = world_size()
    start, stop = (-(-count * rank // size) for rank in (own_rank(), own_rank() + 1))
    return slice(start, stop) if start < stop else slice(0, 1), (stop - start) * size / count


class _Step(nn.Module):
    """What `DistributedDataParallel` wraps: it runs `forward` and nothing else of a module."""

    def __init__(self, model: nn.Module, function: Callable[[Tensor], Tensor], in_order: bool) -> None:
        super().__init__()
        self.model, self.function = model, function
        if in_order:  # torch warns of looking for parameters without a gradient where there are none
            self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(inputs)


def data_parallel(model: nn.Module, function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """`function`, which runs `model`, with gradients that are the mean over all ranks, and the weights of rank 0.

    Batch norm takes its statistics from a rank's own images on the CPU, and from the complete batch on CUDA.
    """
    if world_size() == 1:
        return function
    on_cuda = any(parameter.is_cuda for parameter in model.parameters())
    if on_cuda:
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]  # in place: the model itself is none
    # Else torch sums the gradients in another order after the first step of each session, which changes the last bits
    # with three ranks or more. CUDA has no fixed order anyway.
    in_order = not on_cuda
    step = nn.parallel.DistributedDataParallel(_Step(model, function, in_order), find_unused_parameters=in_order)
    return cast(Callable[[Tensor], Tensor], step)
