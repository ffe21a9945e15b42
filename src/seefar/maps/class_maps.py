"""Maps of all classes from one forward pass; methods by name, contrasts of two classes, the status of a map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import nn

from seefar.maps.capture import BATCH_SIZE, Pictures, fine_twin, original, to_inputs
from seefar.maps.formulas import gradcam, gradcam_plus_plus, hirescam, layercam, zero_if_not_finite
from seefar.maps.grid import Maps
from seefar.model.inference import device_errors, eval_mode, true_float32

MapMethod = Callable[..., Maps]
"""A function with the arguments of `seefar.gradcam`."""

METHODS: dict[str, MapMethod] = {
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
    "hirescam": hirescam,
    "layercam": layercam,
}
"""The methods by the names that `--method` takes."""


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
        """The maps of one class for each image, int (N,), or of one class for all: float32 (N, h, w)."""
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
        cells: see `seefar.gradcam`.
        force: see `seefar.gradcam`.

    Raises:
        DataError: the images are not pictures.
        ChoiceError: the network is not a `ResNet18`, or cannot give that many cells.

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
            maps.append(zero_if_not_finite(of_batch.flatten(0, 1)).view(of_batch.shape))
    return ClassMaps(torch.cat(maps).cpu().numpy(), torch.cat(logits).float().cpu().numpy(), twin.cell_stride)


def contrast_map(
    model: nn.Module,
    images: Pictures,
    predicted: ArrayLike,
    true: ArrayLike,
    layer: str | nn.Module | None = None,
    *,
    method: MapMethod = gradcam,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """Why one class rather than the other: map of `predicted` minus map of `true`.

    With Grad-CAM, which is linear in the gradient, this is the map of the difference of the two logits; at the default
    layer the mean over the cells that enter the logits, plus the difference of the two biases, is the margin. Swapping
    the classes changes the sign; a class against itself is zero.

    Args:
        model: as in `seefar.gradcam`, like images, layer, cells, force, the result and the errors.
        images: N images.
        predicted: class index for each image, int (N,), or one for all.
        true: likewise.
        layer: see `seefar.gradcam`.
        method: one of `METHODS`, such as `seefar.hirescam`.
        cells: see `seefar.gradcam`.
        force: see `seefar.gradcam`.

    Example:
        >>> import numpy as np
        >>> import seefar
        >>> net, images = seefar.ResNet18(width=2), np.zeros((2, 32, 32, 3), np.uint8)
        >>> float(np.abs(seefar.contrast_map(net, images, predicted=3, true=3)).max())
        0.0
    """
    one, two = (method(model, images, classes, layer, cells=cells, force=force) for classes in (predicted, true))
    return one - two
