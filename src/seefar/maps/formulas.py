"""The family of class activation maps, one formula each; all are called alike, see `MapMethod`.

They differ in how the gradient of the class's logit weighs the activations of a layer. At the last stage of this
network, whose global average enters a linear layer, Grad-CAM and HiResCAM are the same map, CAM (Zhou et al. 2015,
arXiv 1512.04150), and it is exact: the mean over the cells that enter the logit, plus the bias, is the logit.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from seefar.maps.map_method import Question, map_method

EPSILON = 1e-12


@map_method
def gradcam(question: Question) -> Iterator[Tensor]:
    """Grad-CAM (Selvaraju et al. 2016, arXiv 1610.02391): evidence for a class (above 0) and against it (below 0).

    Each channel is weighted by the gradient of the class's logit, summed over the cells, and the channels are added
    up. The paper averages the gradient instead; its map is this one divided by the number of cells, h * w. The sum
    makes the unit logits. Good for: the last stage, where it is exact.
    """
    for _, at in question.captured():
        yield (at.gradients.sum((2, 3), keepdim=True) * at.activations).sum(1)


@map_method
def gradcam_plus_plus(question: Question) -> Iterator[Tensor]:
    """Grad-CAM++ (Chattopadhyay et al. 2017, arXiv 1710.11063): cells with a steep gradient count more.

    The score is exp(logit) as in the paper, which makes the higher derivatives powers of the gradient; its common
    factor exp(logit) is left out, so the values have no unit. Good for: several objects of one class.
    """
    for _, at in question.captured():
        square, total = at.gradients**2, at.activations.sum((2, 3), keepdim=True)
        denominator = 2 * square + total * at.gradients**3
        alpha = torch.where(denominator.abs() > EPSILON, square / denominator, torch.zeros(()))
        weights = (alpha * at.gradients.relu()).sum((2, 3), keepdim=True)
        yield (weights * at.activations).sum(1)


@map_method
def hirescam(question: Question) -> Iterator[Tensor]:
    """HiResCAM (Draelos & Carin 2020, arXiv 2011.08891): gradient times activation, cell by cell.

    The paper's map times h * w, so that it has the unit of `gradcam`: divided by h * w, a cell is what the logit
    would lose, to first order, without the cell's activations. Good for: earlier stages, where each cell has its own
    gradient.
    """
    for _, at in question.captured():
        yield (at.gradients * at.activations).sum(1) * at.activations[0, 0].numel()


@map_method
def layercam(question: Question) -> Iterator[Tensor]:
    """LayerCAM (Jiang et al. 2021, doi 10.1109/TIP.2021.3089943): positive gradients times activations, cell by cell.

    Good for: fine detail at early stages. It shows evidence for a class only, never against it, as long as
    activations are not negative. Times h * w, as `hirescam`.
    """
    for _, at in question.captured():
        yield (at.gradients.relu() * at.activations).sum(1) * at.activations[0, 0].numel()


@map_method
def eigencam(question: Question) -> Iterator[Tensor]:
    """Eigen-CAM (Muhammad & Yeasin 2020, arXiv 2008.00299): the strongest pattern among the channels.

    The activations projected on their first right singular vector, with the sign that makes the sum positive. It
    does not depend on the class. Good for: what stands out to the network at all.
    """
    for _, at in question.captured():
        matrix = at.activations.flatten(2).cpu().double()  # (N, C, h * w); not every accelerator has float64
        finite = matrix.isfinite().flatten(1).all(1)
        matrix = torch.where(finite[:, None, None], matrix, torch.zeros((), dtype=matrix.dtype))
        # The singular vectors are eigenvectors of the product, either way round; the smaller one is solved.
        channels, cells = matrix.shape[1:]
        if cells <= channels:
            values, vectors = torch.linalg.eigh(matrix.mT @ matrix)
            projection = vectors[:, :, -1] * values[:, -1:].clamp(min=0).sqrt()
        else:
            _, vectors = torch.linalg.eigh(matrix @ matrix.mT)
            projection = (matrix * vectors[:, :, -1:]).sum(1)
        projection = projection * torch.where(projection.sum(1, keepdim=True) < 0, -1.0, 1.0)
        yield projection.view(at.activations[:, 0].shape)
