"""Which processor to use, and in which precision: chosen by what the machine has, said in one line."""

from __future__ import annotations

import ctypes
import os
import platform
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import cast

import torch

from seefar.errors import DeviceError
from seefar.names import DeviceName, PrecisionName


@dataclass(frozen=True)
class Compute:
    """Where and how to compute.

    Attributes:
        device: `cpu`, `cuda` or `mps`.
        precision: what matrix products and convolutions use; weights, norms and the loss stay float32.
    """

    device: torch.device
    precision: torch.dtype

    def __str__(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        threads = f" ({torch.get_num_threads()} threads)" if self.device.type == "cpu" else ""
        return f"{name}{threads}, {str(self.precision).removeprefix('torch.')}"

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which the forward pass runs."""
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.precision)


def choose_compute(device: DeviceName = "auto", precision: PrecisionName = "auto") -> Compute:
    """The best this machine has, or what was asked for.

    CUDA in bfloat16 where its cores have it, else float16 with a loss scaler; MPS in float32; the CPU in bfloat16
    only where it has it natively (emulated bfloat16 is slower than float32), else float32.

    Raises:
        DeviceError: the device is not there, or cannot compute in that precision.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    kind = next(name for name, there in available.items() if there) if device == "auto" else device
    if not available[kind]:
        there = ", ".join(name for name in available if available[name])
        raise DeviceError(f"This machine has no {kind} for torch, only {there}: pass --device {there} or auto.")
    if precision == "float16" and kind != "cuda":
        raise DeviceError(f"float16 needs CUDA, the device is {kind}: pass --precision auto, bfloat16 or float32.")
    dtype = _best_precision(kind) if precision == "auto" else cast(torch.dtype, getattr(torch, precision))
    return Compute(torch.device(kind), dtype)


def _best_precision(kind: str) -> torch.dtype:
    if kind == "cuda":
        # Compute capability 8.0 is the first with bfloat16 units; torch would emulate it on older ones.
        return torch.bfloat16 if torch.cuda.get_device_capability() >= (8, 0) else torch.float16
    return torch.bfloat16 if kind == "cpu" and _has_native_bfloat16() else torch.float32


def _has_native_bfloat16() -> bool:
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def worker_count(asked: int | None, compute: Compute) -> int:
    """How many processes make batches: as many as were asked for, else none on a CPU and the spare cores beside a GPU.

    Raises:
        DeviceError: the number is negative.
    """
    if asked is not None and asked < 0:
        raise DeviceError(f"{asked} processes cannot make batches: pass --workers of 0 or more.")
    spare = max(0, min(8, (os.cpu_count() or 1) - 1))
    return asked if asked is not None else 0 if compute.device.type == "cpu" else spare


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory for the next step instead of handing it back to the system each time.

    A step of training or evaluation frees and takes the same gigabytes again and again; each time the system must
    clear the pages.
    Nothing happens where the C library is another one.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD: take blocks below 1 GiB from the heap
        libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD: never shrink the heap
