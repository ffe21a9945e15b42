"""The family of class activation maps, one function each, all called alike, all signed and never rescaled.

They differ in how the gradient of the class's logit weighs the activations of a layer. At the last stage of this
network, whose global average enters a linear layer, Grad-CAM and HiResCAM are the same map, CAM (Zhou et al. 2015,
arXiv 1512.04150), and it is exact: the mean over the cells that enter the logit, plus the bias, is the logit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from seefar.data.images import Images
from seefar.explanation.capture import Captured
from seefar.explanation.cells import Maps, ask

EPSILON = 1e-12


def gradcam(
    model: nn.Module,
    images: Images | Tensor,
    classes: ArrayLike,
    layer: str | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """Grad-CAM (Selvaraju et al. 2016, arXiv 1610.02391): evidence for a class (above 0) and against it (below 0).

    Each channel is weighted by the gradient of the class's logit, summed over the cells, and the channels are added
    up. The paper averages the gradient instead; its map is this one divided by the number of cells, h * w. The sum
    makes the unit logits. Good for: the last stage, where it is exact.

    Nothing is cut off at zero or rescaled. The network is left as it came: same mode, no hook, no `.grad`. Where its
    numbers are not finite, the map is zero; see `map_status`.

    Args:
        model: a `ResNet18`, or any torch network that ends in logits (N, K). Of a compiled network, the original.
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

    def combine(at: Captured) -> Tensor:
        return (at.gradients.sum((2, 3), keepdim=True) * at.activations).sum(1)

    return _maps(combine, model, images, classes, layer, cells, force)


def gradcam_plus_plus(
    model: nn.Module,
    images: Images | Tensor,
    classes: ArrayLike,
    layer: str | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """Grad-CAM++ (Chattopadhyay et al. 2017, arXiv 1710.11063): cells with a steep gradient count more.

    The score is exp(logit) as in the paper, which makes the higher derivatives powers of the gradient; its common
    factor exp(logit) is left out, so the values have no unit. Good for: several objects of one class.
    Arguments, result and errors as `gradcam`.
    """

    def combine(at: Captured) -> Tensor:
        square, total = at.gradients**2, at.activations.sum((2, 3), keepdim=True)
        denominator = 2 * square + total * at.gradients**3
        alpha = torch.where(denominator.abs() > EPSILON, square / denominator, torch.zeros(()))
        weights = (alpha * at.gradients.relu()).sum((2, 3), keepdim=True)
        return (weights * at.activations).sum(1)

    return _maps(combine, model, images, classes, layer, cells, force)


def hirescam(
    model: nn.Module,
    images: Images | Tensor,
    classes: ArrayLike,
    layer: str | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """HiResCAM (Draelos & Carin 2020, arXiv 2011.08891): gradient times activation, cell by cell.

    The paper's map times h * w, so that it has the unit of `gradcam`: divided by h * w, a cell is what the logit
    would lose, to first order, without the cell's activations. Good for: earlier stages, where each cell has its own
    gradient. Arguments, result and errors as `gradcam`.
    """

    def combine(at: Captured) -> Tensor:
        return (at.gradients * at.activations).sum(1) * at.activations[0, 0].numel()

    return _maps(combine, model, images, classes, layer, cells, force)


def layercam(
    model: nn.Module,
    images: Images | Tensor,
    classes: ArrayLike,
    layer: str | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """LayerCAM (Jiang et al. 2021, doi 10.1109/TIP.2021.3089943): positive gradients times activations, cell by cell.

    Good for: fine detail at early stages. It shows evidence for a class only, never against it, as long as
    activations are not negative. Times h * w, as `hirescam`. Arguments, result and errors as `gradcam`.
    """

    def combine(at: Captured) -> Tensor:
        return (at.gradients.relu() * at.activations).sum(1) * at.activations[0, 0].numel()

    return _maps(combine, model, images, classes, layer, cells, force)


def eigencam(
    model: nn.Module,
    images: Images | Tensor,
    classes: ArrayLike,
    layer: str | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """Eigen-CAM (Muhammad & Yeasin 2020, arXiv 2008.00299): the strongest pattern among the channels.

    The activations projected on their first right singular vector, with the sign that makes the sum positive. It
    does not depend on the class. Good for: what stands out to the network at all. Arguments, result and errors as
    `gradcam`.
    """

    def combine(at: Captured) -> Tensor:
        matrix = at.activations.flatten(2).double()  # (N, C, h * w)
        finite = matrix.isfinite().flatten(1).all(1)
        matrix = torch.where(finite[:, None, None], matrix, torch.zeros((), dtype=matrix.dtype))
        # Left singular vectors of (h * w, C) are the eigenvectors of the smaller (h * w, h * w) product.
        values, vectors = torch.linalg.eigh(matrix.transpose(1, 2) @ matrix)
        projection = vectors[:, :, -1] * values[:, -1:].clamp(min=0).sqrt()
        projection = projection * torch.where(projection.sum(1, keepdim=True) < 0, -1.0, 1.0)
        projected: Tensor = projection.view(at.activations[:, 0].shape)
        return projected

    return _maps(combine, model, images, classes, layer, cells, force)


def _maps(
    combine: Callable[[Captured], Tensor],
    model: nn.Module,
    images: Images | Tensor,
    classes: ArrayLike,
    layer: str | None,
    cells: int | None,
    force: bool,
) -> Maps:
    question = ask(model, images, classes, layer, cells, force)
    maps = [finite(combine(captured)) for _, captured in question.captured()]
    return torch.cat(maps).cpu().numpy() if maps else np.empty((0, 0, 0), np.float32)


def finite(maps: Tensor) -> Tensor:
    """The maps (N, h, w) as float32, with zeros in place of each map that has a number that is not finite."""
    maps = maps.float()
    return torch.where(maps.isfinite().all(2).all(1)[:, None, None], maps, torch.zeros((), device=maps.device))
