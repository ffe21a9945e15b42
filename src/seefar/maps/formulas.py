"""Grad-CAM, Grad-CAM++, HiResCAM, LayerCAM: class activation maps from gradients and activations of a layer.

They differ in how the gradient of the class's logit weighs the activations. At the last stage of a `ResNet18`, whose
global average enters a linear layer, Grad-CAM and HiResCAM are the same map, CAM (Zhou et al. 2015, arXiv 1512.04150),
and it is exact: the mean over the cells that enter the logit, plus the bias, is the logit.
"""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from seefar.maps.capture import Captured
from seefar.maps.grid import Maps
from seefar.maps.mapped import mapped
from seefar.maps.network import Pictures

EPSILON = 1e-12


def gradcam(
    model: nn.Module,
    images: Pictures,
    classes: ArrayLike | None = None,
    layer: str | nn.Module | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """Grad-CAM (Selvaraju et al. 2016, arXiv 1610.02391): evidence for a class (above 0) and against it (below 0).

    Each channel is weighted by the gradient of the class's logit, summed over the cells, and the channels are added
    up. The paper averages the gradient instead; its map is this one divided by the number of cells, h * w. The sum
    makes the unit logits. Good for: the last stage, where it is exact.

    Nothing is cut off at zero or rescaled. Where the network's numbers are not finite the map is zero, see
    `seefar.map_status`. The network is left as it came: same mode, no hook, no `.grad`.

    Args:
        model: a `ResNet18`, or any torch network that ends in logits (N, K). Of a compiled network, the original.
        images: for a `ResNet18`, which normalises them itself, uint8 (N, H, W, 3) or float (N, 3, H, W) in 0 to 1;
            for another network its input, a float tensor (N, ...). A single picture is a batch of one, and a list of
            pictures of one size is a batch.
        classes: the class index to explain, 0 to K-1: one for each image, int (N,), or one for all. Default: the class
            that the network predicts.
        layer: a submodule that gives (N, C, h, w), by name, such as `layer3`, or itself. Default: the last stage of
            the dense twin, which has the same weights and finer cells; a `ResNet18` only.
        cells: cells on a side that the default layer is to have: 8, 16 or 32 for 32-pixel images; default 8.
        force: also give a map of 5x5 cells or fewer.

    Returns:
        float32 (N, h, w).

    Raises:
        DataError: the images are no pictures that a `ResNet18` can take.
        MapError: the layer does not exist, has too few cells, or a class is out of range.

    Example:
        >>> import numpy as np
        >>> import seefar
        >>> images = np.zeros((2, 32, 32, 3), np.uint8)
        >>> seefar.gradcam(seefar.ResNet18(width=2), images, classes=3).shape
        (2, 8, 8)
    """

    def formula(at: Captured) -> Tensor:
        weights = at.gradients.sum((2, 3), keepdim=True)  # (n, C, 1, 1)
        return (weights * at.activations).sum(1)

    return mapped(formula, model, images, classes, layer, cells, force)


def gradcam_plus_plus(
    model: nn.Module,
    images: Pictures,
    classes: ArrayLike | None = None,
    layer: str | nn.Module | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """Grad-CAM++ (Chattopadhyay et al. 2017, arXiv 1710.11063): cells with a steep gradient count more.

    The score is exp(logit) as in the paper, which makes the higher derivatives powers of the gradient; its common
    factor exp(logit) is left out, so the values have no unit. Good for: several objects of one class.

    Args:
        model: see `gradcam`, like the result and the errors.
        images: what the network takes.
        classes: whose maps; default: the predicted classes.
        layer: where; default: the last stage of the dense twin.
        cells: how fine the default layer is.
        force: also 5x5 cells and fewer.

    Example:
        >>> import numpy as np
        >>> import seefar
        >>> images = np.zeros((2, 32, 32, 3), np.uint8)
        >>> seefar.gradcam_plus_plus(seefar.ResNet18(width=2), images, layer="layer2").shape
        (2, 16, 16)
    """

    def formula(at: Captured) -> Tensor:
        square, total = at.gradients**2, at.activations.sum((2, 3), keepdim=True)
        denominator = 2 * square + total * at.gradients**3
        alpha = torch.where(denominator.abs() > EPSILON, square / denominator, 0.0)
        weights = (alpha * at.gradients.relu()).sum((2, 3), keepdim=True)  # (n, C, 1, 1)
        return (weights * at.activations).sum(1)

    return mapped(formula, model, images, classes, layer, cells, force)


def hirescam(
    model: nn.Module,
    images: Pictures,
    classes: ArrayLike | None = None,
    layer: str | nn.Module | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """HiResCAM (Draelos & Carin 2020, arXiv 2011.08891): gradient times activation, cell by cell.

    The paper's map times h * w, so that it has the unit of `gradcam`: divided by h * w, a cell is what the logit
    would lose, to first order, without the cell's activations. Good for: earlier stages, where each cell has its own
    gradient.

    Args:
        model: see `gradcam`, like the result and the errors.
        images: what the network takes.
        classes: whose maps; default: the predicted classes.
        layer: where; default: the last stage of the dense twin.
        cells: how fine the default layer is.
        force: also 5x5 cells and fewer.

    Example:
        >>> import numpy as np
        >>> import seefar
        >>> images = np.zeros((2, 32, 32, 3), np.uint8)
        >>> seefar.hirescam(seefar.ResNet18(width=2), images, [3, 1], layer="layer2").shape
        (2, 16, 16)
    """

    def formula(at: Captured) -> Tensor:
        return (at.gradients * at.activations).sum(1) * at.activations[0, 0].numel()

    return mapped(formula, model, images, classes, layer, cells, force)


def layercam(
    model: nn.Module,
    images: Pictures,
    classes: ArrayLike | None = None,
    layer: str | nn.Module | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """LayerCAM (Jiang et al. 2021, doi 10.1109/TIP.2021.3089943): positive gradients times activations, cell by cell.

    Good for: fine detail at early stages. It shows evidence for a class only, never against it, as long as
    activations are not negative. Times h * w, as `hirescam`.

    Args:
        model: see `gradcam`, like the result and the errors.
        images: what the network takes.
        classes: whose maps; default: the predicted classes.
        layer: where; default: the last stage of the dense twin.
        cells: how fine the default layer is.
        force: also 5x5 cells and fewer.

    Example:
        >>> import numpy as np
        >>> import seefar
        >>> images = np.zeros((2, 32, 32, 3), np.uint8)
        >>> seefar.layercam(seefar.ResNet18(width=2), images, 3, layer="layer1").shape
        (2, 32, 32)
    """

    def formula(at: Captured) -> Tensor:
        return (at.gradients.relu() * at.activations).sum(1) * at.activations[0, 0].numel()

    return mapped(formula, model, images, classes, layer, cells, force)
