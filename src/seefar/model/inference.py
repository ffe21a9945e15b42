"""The state of torch in which networks run, readable errors of a device, log softmax, the fingerprint of weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from seefar.errors import ChoiceError

BATCH_SIZE = 250


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Natural logarithm of the softmax of logits (N, K), float64 (N, K)."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    logs: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return logs


# ---- How a network computes ----


def device_of(model: nn.Module) -> torch.device:
    """The device of a network's parameters; the CPU for one without parameters."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def float_type(model: nn.Module) -> torch.dtype:
    """The type of a network's float parameters; float32 for one without."""
    own = (parameter.dtype for parameter in model.parameters() if parameter.is_floating_point())
    return next(own, torch.float32)


@contextmanager
def plain_torch(*, gradients: bool) -> Iterator[None]:
    """Within `with`, whatever the caller's state: gradients as given, no inference mode, no autocast, float32."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(False), torch.set_grad_enabled(gradients), ExitStack() as stack:
            for kind in filter(torch.is_autocast_enabled, ("cpu", "cuda", "mps")):
                stack.enter_context(torch.autocast(kind, enabled=False))
            yield
    finally:
        torch.set_default_dtype(default)


@contextmanager
def evaluating(network: nn.Module, *, gradients: bool = False) -> Iterator[None]:
    """`plain_torch` with the network in eval mode and in true float32, and with readable errors of its device."""
    with plain_torch(gradients=gradients), eval_mode(network), true_float32(), device_errors():
        yield


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """The network is in eval mode within `with`; afterwards the mode of each of its modules is restored."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def true_float32() -> Iterator[None]:
    """Within `with`, float32 convolutions and matrix products are not rounded to TF32 or bfloat16 by the processor.

    CUDA rounds convolutions by default: of 10,000 CIFAR-10 images that changes about 7 predictions.
    """
    backends: Any = torch.backends
    exact: str | bool
    if hasattr(backends.cudnn, "conv"):  # torch 2.9 and later; reading the older flag beside this one would raise
        name, exact = "fp32_precision", "ieee"
        switches = [backends.cudnn.conv, backends.cuda.matmul, backends.mkldnn.conv, backends.mkldnn.matmul]
    else:
        name, exact = "allow_tf32", False
        switches = [backends.cudnn, backends.cuda.matmul]
    before = [(backend, getattr(backend, name)) for backend in switches]
    rounding = [(backend, value) for backend, value in before if value not in (exact, "none")]
    for backend, _ in rounding:
        setattr(backend, name, exact)
    try:
        yield
    finally:
        for backend, value in rounding:
            setattr(backend, name, value)


@contextmanager
def device_errors() -> Iterator[None]:
    """Within `with`, errors of a device that is full, or too old for this torch, are raised with the next step."""
    try:
        yield
    except RuntimeError as error:
        first = (str(error).splitlines() or [""])[0]
        if "out of memory" in first or "can't allocate memory" in first:  # of a GPU, of the CPU
            message = f"The device has too little memory left ({first}): choose a smaller batch size, or device cpu."
        elif "no kernel image" in first:
            message = (
                f"This torch {torch.__version__} was not built for this GPU ({first}): choose device cpu, or install a "
                "build of torch for it."
            )
        else:
            raise
        raise ChoiceError(message) from error


# ---- Which weights ----


def weights_fingerprint(model: nn.Module) -> str:
    """SHA-256 of a network's parameters and buffers, compiled or not: names, shapes and float32 values."""
    digest = hashlib.sha256()
    for name, value in sorted(getattr(model, "_orig_mod", model).state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
