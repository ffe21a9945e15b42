"""Many images through a network, in batches, with nothing kept for gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seefar.data.images import Images
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


@torch.no_grad()
def pooled_features(model: ResNet18, images: Images) -> Tensor:
    """The features that enter the last layer, float32 (N, C), of stored images, uint8 (N, H, W, 3).

    `model.fc` makes logits of them. The network is used in eval mode and left in the mode it came in.
    """
    with eval_mode(model):
        batches = torch.split(torch.from_numpy(images), BATCH_SIZE)
        parts = [model.pool(model.features(model.normalize(batch.to(device_of(model))))) for batch in batches]
        return torch.cat(parts).float()


@torch.no_grad()
def compute_logits(model: ResNet18, images: Images) -> NDArray[np.float32]:
    """Logits, float32 (N, K), of stored images, uint8 (N, H, W, 3)."""
    logits: NDArray[np.float32] = model.fc(pooled_features(model, images)).float().cpu().numpy()
    return logits


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Natural logarithm of the probabilities that logits (N, K) mean, float64 (N, K)."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    logs: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return logs
