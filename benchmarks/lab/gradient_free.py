"""Eigen-CAM and Score-CAM: maps that use no gradient. They are called like `seefar.gradcam`."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seefar.maps.capture import Captured, Pictures, original, to_logits
from seefar.maps.formulas import compute_maps
from seefar.maps.grid import Maps
from seefar.model.inference import eval_mode, true_float32


def eigencam(model: nn.Module, images: Pictures, classes: Any = None, **where: Any) -> Maps:
    """Eigen-CAM (Muhammad & Yeasin 2020, arXiv 2008.00299): the first principal component, positive in sum."""

    def formula(at: Captured) -> Tensor:
        matrix = at.activations.flatten(2).cpu().double()  # (n, C, h * w); not every accelerator has float64
        matrix = matrix.masked_fill(~matrix.isfinite().flatten(1).all(1)[:, None, None], 0.0)
        _, values, vectors = torch.linalg.svd(matrix, full_matrices=False)
        projection = values[:, :1] * vectors[:, 0]  # (n, h * w)
        projection = projection * torch.where(projection.sum(1, keepdim=True) < 0, -1.0, 1.0)
        return projection.view(at.activations[:, 0].shape)

    return compute_maps(formula, model, images, classes, **where)


def scorecam(model: nn.Module, images: Pictures, classes: Any = None, **where: Any) -> Maps:
    """Score-CAM (Wang et al. 2019, arXiv 1910.01279): what the logit gains when only one channel's cells are shown."""

    def formula(at: Captured) -> Tensor:
        each = zip(at.inputs, at.activations, at.classes, strict=True)
        return torch.stack([_of_one(original(model), *one) for one in each])

    return compute_maps(formula, model, images, classes, **where)


GRADIENT_FREE = {"eigencam": eigencam, "scorecam": scorecam}


@torch.no_grad()
def _of_one(network: nn.Module, image: Tensor, activations: Tensor, class_: Tensor) -> Tensor:
    low, high = activations.amin((1, 2), keepdim=True), activations.amax((1, 2), keepdim=True)
    stretched = (activations - low) / torch.where(high > low, high - low, 1.0)  # a flat channel shows nothing
    masks = F.interpolate(stretched[:, None], image.shape[1:], mode="bilinear", align_corners=False)
    masks = torch.cat((torch.zeros_like(masks[:1]), masks))  # the first shows nothing at all
    with eval_mode(network), true_float32():
        logits = torch.cat([to_logits(network, image * part)[:, class_] for part in torch.split(masks, 256)])
    weights = (logits[1:] - logits[0]).float().softmax(0)  # (C,)
    return (weights[:, None, None] * activations).sum(0)
