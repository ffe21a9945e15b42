"""Eigen-CAM and Score-CAM: class activation maps that use no gradient."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from seefar.maps.capture import Captured, check_classes
from seefar.maps.grid import Maps
from seefar.maps.mapped import finite, mapped, to_classes
from seefar.maps.network import Pictures, original, to_inputs, to_logits
from seefar.model.inference import eval_mode, true_float32

BATCH_SIZE = 256


def eigencam(
    model: nn.Module,
    images: Pictures,
    classes: ArrayLike | None = None,
    layer: str | nn.Module | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """Eigen-CAM (Muhammad & Yeasin 2020, arXiv 2008.00299): the strongest pattern among the channels.

    The activations projected on their first right singular vector, with the sign that makes the sum positive. Good
    for: what stands out to the network at all.

    Args:
        model: see `seefar.gradcam`, like the result and the errors.
        images: what the network takes.
        classes: not used: the map is the same for every class.
        layer: where; default: the last stage of the dense twin.
        cells: how fine the default layer is.
        force: also 5x5 cells and fewer.

    Example:
        >>> import numpy as np
        >>> import seefar
        >>> seefar.eigencam(seefar.ResNet18(width=2), np.zeros((2, 32, 32, 3), np.uint8)).shape
        (2, 8, 8)
    """

    def formula(at: Captured) -> Tensor:
        matrix = at.activations.flatten(2).cpu().double()  # (n, C, h * w); not every accelerator has float64
        matrix = matrix.masked_fill(~matrix.isfinite().flatten(1).all(1)[:, None, None], 0.0)
        # The singular vectors are eigenvectors of the product, either way round; the smaller one is solved.
        channels, places = matrix.shape[1:]
        if places <= channels:
            values, vectors = torch.linalg.eigh(matrix.mT @ matrix)
            projection = vectors[:, :, -1] * values[:, -1:].clamp(min=0).sqrt()
        else:
            _, vectors = torch.linalg.eigh(matrix @ matrix.mT)
            projection = (matrix * vectors[:, :, -1:]).sum(1)
        projection = projection * torch.where(projection.sum(1, keepdim=True) < 0, -1.0, 1.0)
        maps: Tensor = projection.view(at.activations[:, 0].shape)
        return maps

    return mapped(formula, model, images, classes, layer, cells, force)


def scorecam(
    model: nn.Module,
    images: Pictures,
    classes: ArrayLike | None = None,
    layer: str | nn.Module | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """Score-CAM (Wang et al. 2019, arXiv 1910.01279): what the logit gains when only a channel's cells are shown.

    Each channel, stretched to 0 to 1 and enlarged to the image, multiplies the network's input; the weights are the
    softmax over the channels of the logit's gain on an input of zeros. Good for: networks whose gradients mislead.
    It costs one forward pass a channel and image: 512 at the last stage.

    Args:
        model: see `seefar.gradcam`, like the result and the errors.
        images: what the network takes.
        classes: whose maps; default: the predicted classes.
        layer: where; default: the last stage of the dense twin.
        cells: how fine the default layer is.
        force: also 5x5 cells and fewer.

    Example:
        >>> import numpy as np
        >>> import seefar
        >>> seefar.scorecam(seefar.ResNet18(width=2), np.zeros((2, 32, 32, 3), np.uint8), 3).shape
        (2, 8, 8)
    """
    network = original(model)

    def formula(at: Captured) -> Tensor:
        gains = [_gains(network, *one) for one in zip(at.inputs, at.activations, strict=True)]
        maps = [_weighted(*one) for one in zip(gains, at.activations, at.classes, strict=True)]
        return torch.stack(maps)

    return mapped(formula, model, images, classes, layer, cells, force)


def scorecam_of_two(
    model: nn.Module,
    images: Pictures,
    predicted: ArrayLike,
    true: ArrayLike,
    layer: str | nn.Module | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> tuple[Maps, Maps]:
    """`scorecam` of two classes an image, in the time of one: the forward passes are the same.

    Args:
        model: see `seefar.gradcam`, like the errors.
        images: what the network takes.
        predicted: classes of the first maps.
        true: classes of the second maps.
        layer: where.
        cells: how fine.
        force: also 5x5 cells and fewer.
    """
    network = original(model)
    inputs = to_inputs(network, images)
    others = to_classes(network, inputs, true)
    second: list[Tensor] = []

    def formula(at: Captured) -> Tensor:
        first = []
        for image, activations, class_ in zip(at.inputs, at.activations, at.classes, strict=True):
            gains = _gains(network, image, activations)
            first.append(_weighted(gains, activations, class_))
            if len(second) < len(others):
                other = others[len(second)]
                check_classes(other[None], gains.shape[1])
                second.append(finite(_weighted(gains, activations, other)[None])[0])
        return torch.stack(first)

    maps = mapped(formula, model, images, predicted, layer, cells, force)
    return maps, torch.stack(second).cpu().numpy() if second else maps.copy()


@torch.no_grad()
def _gains(network: nn.Module, image: Tensor, activations: Tensor) -> Tensor:
    """How much each of C channels, shown alone, raises each logit, (C, K).

    Args:
        network: the network, not its twin: the logits are the same, and cheaper.
        image: its input, (C_in, H, W).
        activations: the channels, (C, h, w).
    """
    low, high = activations.amin((1, 2), keepdim=True), activations.amax((1, 2), keepdim=True)
    span = high - low
    stretched = (activations - low) / torch.where(span > 0, span, 1.0)  # a flat channel shows nothing
    masks = F.interpolate(stretched[:, None], image.shape[1:], mode="bilinear", align_corners=False)
    shown = torch.cat((torch.zeros_like(masks[:1]), masks))  # the first shows nothing at all
    with eval_mode(network), true_float32():
        logits = torch.cat([to_logits(network, image * part).float() for part in torch.split(shown, BATCH_SIZE)])
    return logits[1:] - logits[0]


def _weighted(gains: Tensor, activations: Tensor, class_: Tensor) -> Tensor:
    weights = gains[:, class_].softmax(0)  # (C,)
    return (weights[:, None, None] * activations).sum(0)
