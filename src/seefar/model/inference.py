"""Inference: logits and features of many images, in batches and in true float32; the fingerprint of weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seefar.data.images import Images
from seefar.errors import DataError, DeviceError
from seefar.model.resnet import ResNet18

BATCH_SIZE = 250


def device_of(model: nn.Module) -> torch.device:
    """Where a network's parameters lie; the CPU for one that has none."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """The network in eval mode within `with`; afterwards each of its modules is in the mode it came in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def device_errors() -> Iterator[None]:
    """Within `with`, a device that is full, or too old for this torch, raises an error that says what to do.

    Raises:
        DeviceError: the device is out of memory, or this torch holds no code for it.
    """
    try:
        yield
    except RuntimeError as error:
        first = (str(error).splitlines() or [""])[0]
        if isinstance(error, torch.OutOfMemoryError) or "out of memory" in first:
            raise DeviceError(
                f"The device has too little memory left ({first}): choose a smaller batch size, or device cpu."
            ) from error
        if "can't allocate memory" in first:  # the CPU's
            raise DeviceError(
                f"This machine has too little memory left ({first}): choose a smaller batch size or width."
            ) from error
        if "no kernel image" in str(error):
            raise DeviceError(
                f"This torch {torch.__version__} was not built for this GPU ({first}): choose device cpu, or install a "
                "build of torch for it."
            ) from error
        raise


@contextmanager
def true_float32() -> Iterator[None]:
    """Within `with`, float32 convolutions and matrix products are not rounded to TF32 or bfloat16 by the processor.

    CUDA's convolutions are by default: of 10,000 CIFAR-10 images that changes the answer to about 7.
    """
    backends: Any = torch.backends
    exact: str | bool
    if hasattr(backends.cudnn, "conv"):  # torch 2.9 and later; reading the older flag beside this one would raise
        name, exact = "fp32_precision", "ieee"
        places = [backends.cudnn.conv, backends.cuda.matmul, backends.mkldnn.conv, backends.mkldnn.matmul]
    else:
        name, exact = "allow_tf32", False
        places = [backends.cudnn, backends.cuda.matmul]
    before = [(place, getattr(place, name)) for place in places]
    rounding = [(place, value) for place, value in before if value not in (exact, "none")]
    for place, _ in rounding:
        setattr(place, name, exact)
    try:
        yield
    finally:
        for place, value in rounding:
            setattr(place, name, value)


def weights_fingerprint(model: nn.Module) -> str:
    """SHA-256 of a network's parameters and buffers: names, shapes and float32 values.

    The same on every device and in every memory format, and for a compiled network the original's.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(getattr(model, "_orig_mod", model).state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@torch.no_grad()
def pooled_features(model: ResNet18, images: Images, done: Callable[[int], None] | None = None) -> Tensor:
    """The features that enter the last layer, float32 (N, C); `model.fc` makes logits of them.

    The network is used in eval mode and left in the mode it came in.

    Args:
        model: the network.
        images: uint8 (N, H, W, 3).
        done: called after each batch with its number of images.
    """
    parts = []
    with eval_mode(model), true_float32(), device_errors():
        for batch in torch.split(torch.from_numpy(images), BATCH_SIZE):
            parts.append(model.pool(model.features(model.normalize(batch.to(device_of(model))))))
            if done is not None:
                done(len(batch))
        return torch.cat(parts).float()


@torch.no_grad()
def compute_logits(model: ResNet18, images: Images) -> NDArray[np.float32]:
    """Logits, float32 (N, K), of images uint8 (N, H, W, 3)."""
    features = pooled_features(model, images)
    with true_float32():
        logits: NDArray[np.float32] = model.fc(features).float().cpu().numpy()
    check_finite(logits)
    return logits


def check_finite(logits: NDArray[np.float32]) -> None:
    """Refuse logits of a network that has no answer.

    Raises:
        DataError: a number is infinite or NaN.
    """
    if not np.isfinite(logits).all():
        raise DataError(
            "The network gives logits that are not finite, so it has no answer: its weights are damaged or too large, "
            "restore them from a copy or train anew."
        )


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Natural logarithm of the probabilities that logits (N, K) mean, float64 (N, K)."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    logs: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return logs
