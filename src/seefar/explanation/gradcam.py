"""Grad-CAM (Selvaraju et al. 2016, arXiv 1610.02391), signed, in logit units, on cells fine enough to see something."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from seefar.data.images import Images
from seefar.errors import MapError
from seefar.explanation.capture import capture
from seefar.model.inference import device_of
from seefar.model.resnet import STAGES, ResNet18
from seefar.model.twin import dense_twin

BATCH_SIZE = 100
SMALLEST_MAP = 6  # cells on a side; 5x5 and less shows no region


def gradcam(
    model: nn.Module,
    images: Images | Tensor,
    classes: ArrayLike,
    layer: str | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> NDArray[np.float32]:
    """Grad-CAM maps: where the evidence for a class (above 0) and against it (below 0) lies.

    Each channel of the layer is weighted by the gradient of the class's logit, summed over the cells, and the
    channels are added up. The paper averages the gradient instead; its map is this one divided by the number of
    cells, h * w. The sum makes the unit logits: at the last stage, whose global average enters a linear layer, the
    mean over the cells that enter the logit, plus the bias, is the logit. There Grad-CAM is CAM (Zhou et al. 2015,
    arXiv 1512.04150).

    Nothing is cut off at zero or rescaled. The network is left as it came: same mode, no hook, no `.grad`.

    Args:
        model: a `ResNet18`, or any torch network that ends in logits (N, K).
        images: stored images, uint8 (N, H, W, 3), which a `ResNet18` normalises with its own constants; or the
            network's input itself, a float tensor (N, ...).
        classes: the class to explain for each image, int (N,), or one for all. A class index, 0 to K-1.
        layer: name of a submodule that gives (N, C, h, w), such as `layer3`. Default: the last stage of the dense
            twin, which has the same weights and finer cells.
        cells: cells on a side that the default layer is to have: 8, 16 or 32 for 32-pixel images; default 8.
        force: also give a map of 5x5 cells or fewer.

    Returns:
        float32 (N, h, w).

    Raises:
        MapError: the layer does not exist, has too few cells, or a class is out of range.
    """
    inputs = _to_input(model, images)
    chosen = np.asarray(classes)
    if chosen.shape not in ((), (len(inputs),)) or (chosen.dtype.kind not in "iu" and chosen.size):
        raise MapError(
            f"Classes are {chosen.dtype} {chosen.shape}, class indices were wanted: one integer from 0 for all "
            f"images, or one for each of the {len(inputs)}."
        )
    target = torch.from_numpy(np.broadcast_to(chosen, len(inputs)).astype(np.int64)).to(inputs.device)
    if layer is None:
        model, layer = _twin(model, inputs.shape[-1], cells, force), STAGES[-1]
    elif cells is not None:
        raise MapError("Cells can be chosen for the default layer only: pass either layer or cells.")
    maps = [
        _maps(model, batch, batch_classes, layer, force)
        for batch, batch_classes in zip(torch.split(inputs, BATCH_SIZE), torch.split(target, BATCH_SIZE), strict=True)
    ]
    return torch.cat(maps).cpu().numpy() if maps else np.empty((0, 0, 0), np.float32)


def _maps(model: nn.Module, inputs: Tensor, classes: Tensor, layer: str, force: bool) -> Tensor:
    captured = capture(model, inputs, classes, layer)
    height, width = captured.activations.shape[2:]
    if min(height, width) < SMALLEST_MAP and not force:
        raise MapError(
            f"Layer {layer} gives maps of {height}x{width} cells, at least {SMALLEST_MAP}x{SMALLEST_MAP} are wanted to "
            "see a region: leave layer out for the dense twin's finer cells, or name an earlier layer. "
            "From Python, force=True gives them all the same."
        )
    weights = captured.gradients.sum((2, 3), keepdim=True)  # (N, C, 1, 1)
    return (weights * captured.activations).sum(1)  # (N, h, w)


def _to_input(model: nn.Module, images: Images | Tensor) -> Tensor:
    if isinstance(images, np.ndarray):
        images = torch.from_numpy(images)
    images = images.to(device_of(model))
    if images.dtype != torch.uint8:
        return images
    if not isinstance(model, ResNet18):
        raise MapError(f"{type(model).__name__} cannot take uint8 images: pass the float tensor it was trained on.")
    normalized: Tensor = model.normalize(images)
    return normalized


def _twin(model: nn.Module, image_size: int, cells: int | None, force: bool) -> ResNet18:
    if not isinstance(model, ResNet18):
        raise MapError(f"The default layer is that of a ResNet18, this is a {type(model).__name__}: name a layer.")
    # A stride of 2 halves the cells, rounding up; the network has three of them.
    sizes = {-(-image_size // 2 ** (3 - doublings)): doublings for doublings in range(4)}
    fine = {size: doublings for size, doublings in sizes.items() if size >= SMALLEST_MAP or force}
    wanted = next(size for size in sizes if size >= SMALLEST_MAP and sizes[size]) if cells is None else cells
    if wanted not in fine:
        those = ", ".join(map(str, fine))
        raise MapError(f"{wanted} cells cannot be had of {image_size}-pixel images: pass one of {those}.")
    return dense_twin(model, sizes[wanted])
