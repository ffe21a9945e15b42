"""Devices and precision: CPU, CUDA or MPS; float32, bfloat16 or float16; CUDA graphs; memory and cores."""

from __future__ import annotations

import ctypes
import os
import platform
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import torch
from torch import Tensor

from seefar.choices import DeviceName, PrecisionName
from seefar.data.images import ImageSize
from seefar.errors import ChoiceError, RecipeError
from seefar.model.resnet import ResNet18, memory_format


@dataclass(frozen=True)
class Compute:
    """Where and how to compute.

    Attributes:
        device: `cpu`, `cuda` or `mps`.
        precision: of matrix products and convolutions; weights, norms and the loss stay float32.
    """

    device: torch.device
    precision: torch.dtype

    def __str__(self) -> str:
        return f"{self.device_name}, {self.precision_name}"

    @property
    def device_name(self) -> str:
        """Name of the GPU, or `cpu` with its threads, or `mps`."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        if self.device.type == "cpu":
            return f"cpu ({torch.get_num_threads()} threads)"
        return self.device.type

    @property
    def precision_name(self) -> str:
        """Such as `bfloat16`."""
        return str(self.precision).removeprefix("torch.")

    @property
    def pins(self) -> bool:
        """Whether batches are put into page-locked memory, from which the host need not wait for a copy.

        Only there: from other memory such a copy may arrive changed on MPS (pytorch issue 189690).
        """
        return self.device.type == "cuda"

    @property
    def fuses(self) -> bool:
        """Whether SGD is one kernel that reads its rate from the GPU's memory, so that steps can be CUDA graphs.

        Not in float16: where its loss scaler finds that the first step overflows, torch leaves the momentum of fused
        SGD unwritten.
        """
        return self.device.type == "cuda" and self.precision != torch.float16

    def place(self, model: ResNet18) -> ResNet18:
        """The network on the device, in the memory format that suits it."""
        placed = model.to(self.device, memory_format=memory_format(self.device))  # type: ignore[call-overload]
        assert isinstance(placed, ResNet18)
        return placed

    def copy(self, tensor: Tensor) -> Tensor:
        """A batch's tensor on the device."""
        return tensor.to(self.device, non_blocking=self.pins)

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which the forward pass runs."""
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.precision)


def choose_compute(device: DeviceName = "auto", precision: PrecisionName = "auto") -> Compute:
    """The given device and precision; `auto` is the best on this machine.

    CUDA in bfloat16 where its cores have it, else float16 with a loss scaler; MPS in float32; the CPU in bfloat16
    only where it has it natively (emulated bfloat16 is slower than float32), else float32.

    Raises:
        ChoiceError: the device is not available, or cannot compute in that precision.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    kind = next(name for name, usable in available.items() if usable) if device == "auto" else device
    if not available.get(kind):
        others = ", ".join(name for name, usable in available.items() if usable)
        raise ChoiceError(f"torch finds no {kind} on this machine, only {others}: choose device {others} or auto.")
    if precision not in get_args(PrecisionName):
        names = ", ".join(get_args(PrecisionName))
        raise ChoiceError(f"precision must be one of {names} (got {precision!r}).")
    if precision == "float16" and kind != "cuda":
        raise ChoiceError(f"float16 needs CUDA, the device is {kind}: choose precision auto, bfloat16 or float32.")
    dtype = _best_precision(kind) if precision == "auto" else cast(torch.dtype, getattr(torch, precision))
    return Compute(torch.device(kind), dtype)


def _best_precision(kind: str) -> torch.dtype:
    if kind == "cuda":
        # Compute capability 8.0 is the first with bfloat16 units; torch would emulate it on older ones.
        return torch.bfloat16 if torch.cuda.get_device_capability() >= (8, 0) else torch.float16
    return torch.bfloat16 if kind == "cpu" and _has_native_bfloat16() else torch.float32


def _has_native_bfloat16() -> bool:
    if hasattr(torch.cpu, "get_capabilities"):
        found = {name for name, usable in torch.cpu.get_capabilities().items() if usable}
    else:  # torch 2.10 and earlier; on other systems than Linux nothing is found
        try:
            lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        except OSError:
            lines = []
        found = {word for line in lines if line.startswith(("flags", "Features")) for word in line.split()}
    return not found.isdisjoint({"avx512_bf16", "amx_bf16", "bf16"})


def plan_training(device: DeviceName, precision: PrecisionName, checkpoint_minutes: float) -> Compute:
    """The device and precision of a training, checked before anything is written.

    Raises:
        ChoiceError: see `choose_compute`.
        RecipeError: the minutes between checkpoints are negative or not a number.
    """
    if not checkpoint_minutes >= 0:  # nor if it is no number
        raise RecipeError(f"checkpoint_minutes must be 0 or more (got {checkpoint_minutes}).")
    return choose_compute(device, precision)


def core_count() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next step instead of returning it to the system each time.

    A step of training or evaluation frees and allocates the same gigabytes each time, and the system must clear the
    pages each time. With another C library nothing happens.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD: take blocks below 1 GiB from the heap
        libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD: never shrink the heap


WARM_UP = 3
"""Steps of each kind that run unrecorded: in these cuDNN and the optimizer allocate the memory that they keep."""


class RecordedStep:
    """A training step that a GPU records and replays, once for each number of images and each image size.

    A step is a few hundred kernels of a few microseconds each, and starting a kernel takes the host longer than that. A
    recorded step is started by one call (NVIDIA's CUDA graphs, `torch.cuda.CUDAGraph`). The arithmetic is the same.

    Args:
        step: takes images (B, H, W, 3) and labels (B,) on the GPU, and the image size; changes tensors in place, never
            waits for the GPU, and returns nothing.
    """

    def __init__(self, step: Callable[[Tensor, Tensor, ImageSize], None]) -> None:
        self._step = step
        self._seen: Counter[tuple[int, ImageSize]] = Counter()
        self._recorded: dict[tuple[int, ImageSize], tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}
        self._memory: Any = None  # shared: no replay reads values of another one

    def __call__(self, images: Tensor, labels: Tensor, size: ImageSize) -> None:
        """One step."""
        kind = len(labels), size
        self._seen[kind] += 1
        if self._seen[kind] <= WARM_UP:
            self._step(images, labels, size)
            return
        if kind not in self._recorded:
            self._recorded[kind] = self._record(images.clone(), labels.clone(), size)
        graph, own_images, own_labels = self._recorded[kind]
        own_images.copy_(images)
        own_labels.copy_(labels)
        graph.replay()

    def _record(self, images: Tensor, labels: Tensor, size: ImageSize) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        """The graph and the tensors that it reads; nothing is computed yet."""
        graph = torch.cuda.CUDAGraph()
        self._memory = self._memory or torch.cuda.graph_pool_handle()
        # thread_local: the thread that copies batches into page-locked memory is not part of it
        with torch.cuda.graph(graph, pool=self._memory, capture_error_mode="thread_local"):
            self._step(images, labels, size)
        return graph, images, labels
