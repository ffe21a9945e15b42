"""Devices and precision: CPU, CUDA or MPS; float32, bfloat16 or float16; CUDA graphs; memory and cores."""

from __future__ import annotations

import ctypes
import os
import platform
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, cast, get_args

import torch
from torch import Tensor

from seefar.choices import DeviceName, PrecisionName
from seefar.data.images import ImageSize
from seefar.errors import ChoiceError, RecipeError
from seefar.model.resnet import ResNet18, memory_format
from seefar.training.distributed import world_size

COMPILER = "inductor"


@dataclass(frozen=True)
class Compute:
    """Where and how to compute; `precision` is that of matrix products and convolutions, all else is float32."""

    device: torch.device
    precision: torch.dtype
    compiles: bool = False

    def __str__(self) -> str:
        return f"{self.device_name}, {self.precision_name}{', compiled' if self.compiles else ''}"

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
        """Whether batches are in page-locked memory; without it a copy that is not waited for may arrive changed.

        See pytorch issue 189690, on MPS.
        """
        return self.device.type == "cuda"

    @property
    def fuses(self) -> bool:
        """Whether SGD is one kernel that reads its rate from the GPU's memory, so that steps can be CUDA graphs.

        Not in float16: if the first step overflows, torch leaves the momentum of fused SGD unwritten.
        """
        return self.device.type == "cuda" and self.precision != torch.float16

    def place(self, model: ResNet18) -> ResNet18:
        """The network on the device, in the memory format that suits it."""
        model.to(self.device, memory_format=memory_format(self.device))  # type: ignore[call-overload]
        return model

    def copy(self, tensor: Tensor) -> Tensor:
        """A batch's tensor on the device."""
        return tensor.to(self.device, non_blocking=self.pins)

    def compiled(self, function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """The function, compiled once for each shape of its input if that was chosen."""
        return torch.compile(function, dynamic=False, backend=COMPILER) if self.compiles else function

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which the forward pass runs."""
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.precision)


def choose_compute(device: DeviceName = "auto", precision: PrecisionName = "auto") -> Compute:
    """The given device and precision; `auto` is the best on this machine.

    CUDA in bfloat16 where its cores have it, else float16 with a loss scaler; MPS in float32; the CPU in bfloat16
    only where it has it natively (emulated bfloat16 is slower than float32), else float32. A `ChoiceError` if the
    device is not available, or cannot compute in that precision.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    kind = next(name for name, usable in available.items() if usable) if device == "auto" else device
    if not available.get(kind):
        others = ", ".join(name for name, usable in available.items() if usable)
        raise ChoiceError(f"torch finds no {kind} on this machine, only {others}: choose device {others} or auto.")
    if precision not in get_args(PrecisionName):
        names = ", ".join(get_args(PrecisionName))
        raise ChoiceError(f"precision must be one of {names} (got {precision!r}).")
    if precision == "float16" and kind != "cuda":
        raise ChoiceError(f"float16 needs CUDA, but the device is {kind}: choose precision auto, bfloat16 or float32.")
    if precision != "auto":
        dtype = cast(torch.dtype, getattr(torch, precision))
    elif kind == "cuda":
        # Compute capability 8.0 is the first with bfloat16 units; torch would emulate it on older ones.
        dtype = torch.bfloat16 if torch.cuda.get_device_capability() >= (8, 0) else torch.float16
    else:
        dtype = torch.bfloat16 if kind == "cpu" and has_native_bfloat16() else torch.float32
    return Compute(torch.device(kind), dtype)


def has_native_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16; False where torch (2.10 and earlier) does not report it."""
    usable = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(usable.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def plan_training(
    device: DeviceName, precision: PrecisionName, checkpoint_minutes: float, compile: bool = False
) -> Compute:
    """The device and precision of a training; all settings are checked, and a compiler is tried on a small function."""
    if not checkpoint_minutes >= 0:  # nor if it is no number
        raise RecipeError(f"checkpoint_minutes must be 0 or more (got {checkpoint_minutes}).")
    compute = replace(choose_compute(device, precision), compiles=compile)
    if compile:
        if world_size() > 1:
            raise ChoiceError("compile works in one process only: leave it out, or start one process.")
        try:
            compute.compiled(torch.relu)(torch.zeros(2, device=compute.device))
        except Exception as error:  # there is no compiler, or it fails in its own way
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ChoiceError(f"torch.compile does not work on this machine ({reason}): leave compile out.") from error
    return compute


def core_count() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next step, since the system clears the pages of memory that it gives."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD: take blocks below 1 GiB from the heap
        libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD: never shrink the heap


WARM_UP = 3
"""Steps of each kind that run unrecorded: in these cuDNN and the optimizer allocate the memory that they keep."""


class RecordedStep:
    """A training step as a CUDA graph, recorded once for each number of images and each image size, then replayed.

    A step is a few hundred kernels of a few microseconds each, and starting a kernel takes the host longer than that.
    `step` takes images (B, H, W, 3) and labels (B,) on the GPU, and the image size; it changes tensors in place, never
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
            graph, own_images, own_labels = torch.cuda.CUDAGraph(), images.clone(), labels.clone()
            self._memory = self._memory or torch.cuda.graph_pool_handle()
            # thread_local: the thread that copies batches into page-locked memory is not part of it
            with torch.cuda.graph(graph, pool=self._memory, capture_error_mode="thread_local"):
                self._step(own_images, own_labels, size)  # recorded, not computed
            self._recorded[kind] = graph, own_images, own_labels
        graph, own_images, own_labels = self._recorded[kind]
        own_images.copy_(images)
        own_labels.copy_(labels)
        graph.replay()
