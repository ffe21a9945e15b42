"""Class activation maps (CAM) of all classes, their contrasts and the logits, from one forward pass of a dense twin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import nn

from seefar.maps.grid import Maps
from seefar.maps.mapped import finite
from seefar.maps.network import BATCH_SIZE, Pictures, fine_twin, original, to_inputs
from seefar.model.inference import device_errors, eval_mode, true_float32


@dataclass(frozen=True)
class ClassMaps:
    """The maps of every class at the last stage.

    Attributes:
        maps: float32 (N, K, h, w), in logits.
        logits: float32 (N, K), the network's own: the mean of the cells that enter them, plus the bias.
        cell_stride: every how many-th cell in each direction, from the first, enters the logits.
    """

    maps: NDArray[np.float32]
    logits: NDArray[np.float32]
    cell_stride: int

    def of(self, classes: ArrayLike) -> Maps:
        """The maps of one class an image, int (N,), or of one for all: float32 (N, h, w)."""
        return self.maps[np.arange(len(self.maps)), np.asarray(classes, dtype=np.int64)]

    def contrast(self, predicted: ArrayLike, true: ArrayLike) -> Maps:
        """Why `predicted` rather than `true`: the difference of their maps, float32 (N, h, w)."""
        return self.of(predicted) - self.of(true)


def class_maps(model: nn.Module, images: Pictures, cells: int | None = None, *, force: bool = False) -> ClassMaps:
    """CAM (Zhou et al. 2015, arXiv 1512.04150) for every class at the last stage of the dense twin.

    Equal to `seefar.gradcam` of each class there, but without a gradient: the head's weights are applied to each cell.

    Args:
        model: a `ResNet18`, compiled or not.
        images: uint8 (N, H, W, 3), or float (N, 3, H, W) in 0 to 1.
        cells: as in `seefar.gradcam`.
        force: likewise.

    Raises:
        DataError: the images are no pictures.
        MapError: the network is no `ResNet18`, or cannot give that many cells.

    Example:
        >>> import numpy as np
        >>> import seefar
        >>> found = seefar.class_maps(seefar.ResNet18(width=2), np.zeros((1, 32, 32, 3), np.uint8))
        >>> found.maps.shape, found.contrast(3, 5).shape
        ((1, 10, 8, 8), (1, 8, 8))
    """
    model = original(model)
    inputs = to_inputs(model, images)
    twin = fine_twin(model, inputs.shape[-1], cells, force)
    maps, logits = [], []
    with eval_mode(twin), true_float32(), device_errors(), torch.no_grad():
        for batch in torch.split(inputs, BATCH_SIZE):
            of_batch = F.conv2d(twin.features(batch), twin.fc.weight[:, :, None, None]).float()  # (n, K, h, w)
            logits.append(twin.pool(of_batch) + twin.fc.bias)
            maps.append(finite(of_batch.flatten(0, 1)).view(of_batch.shape))
    return ClassMaps(torch.cat(maps).cpu().numpy(), torch.cat(logits).float().cpu().numpy(), twin.cell_stride)
