"""Eigen-CAM and Score-CAM: maps that use no gradient. They are called like `seefar.gradcam`."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seefar.maps.formulas import Captured, compute_maps
from seefar.maps.grid import Maps
from seefar.model.adapt import Classifier, Pictures, adapt
from seefar.model.inference import evaluating
from seefar.model.resnet import ResNet18


def eigencam(model: nn.Module | Classifier, images: Pictures, classes: Any = None, **where: Any) -> Maps:
    """Eigen-CAM (Muhammad & Yeasin 2020, arXiv 2008.00299): the first principal component, positive in sum."""

    def formula(at: Captured) -> Tensor:
        matrix = at.activations.flatten(2).cpu().double()  # (n, C, h * w); not every accelerator has float64
        matrix = matrix.masked_fill(~matrix.isfinite().flatten(1).all(1)[:, None, None], 0.0)
        _, values, vectors = torch.linalg.svd(matrix, full_matrices=False)
        projection = values[:, :1] * vectors[:, 0]  # (n, h * w)
        projection = projection * torch.where(projection.sum(1, keepdim=True) < 0, -1.0, 1.0)
        return projection.view(at.activations[:, 0].shape)

    return compute_maps(formula, model, images, classes, **where)


def scorecam(model: nn.Module | Classifier, images: Pictures, classes: Any = None, **where: Any) -> Maps:
    """Score-CAM (Wang et al. 2019, arXiv 1910.01279): what the logit gains when only one channel's cells are shown."""

    def formula(at: Captured) -> Tensor:
        each = zip(at.inputs, at.activations, at.classes, strict=True)
        return torch.stack([_of_one(adapt(model), *one) for one in each])

    return compute_maps(formula, model, images, classes, **where)


GRADIENT_FREE = {"eigencam": eigencam, "scorecam": scorecam}


def _of_one(classifier: Classifier, image: Tensor, activations: Tensor, class_: Tensor) -> Tensor:
    low, high = activations.amin((1, 2), keepdim=True), activations.amax((1, 2), keepdim=True)
    stretched = (activations - low) / torch.where(high > low, high - low, 1.0)  # a flat channel shows nothing
    masks = F.interpolate(stretched[:, None], image.shape[1:], mode="bilinear", align_corners=False)
    masks = torch.cat((torch.zeros_like(masks[:1]), masks))  # the first shows nothing at all
    # What is hidden becomes 0 after normalisation, the mean colour; a `ResNet18` normalises its input itself.
    network = classifier.network
    mean = network.normalize.mean[0] if isinstance(network, ResNet18) else 0.0
    with evaluating(network):
        parts = [classifier.forward(mean + (image - mean) * part) for part in torch.split(masks, 256)]
    logits = torch.cat(parts)[:, class_]
    weights = (logits[1:] - logits[0]).float().softmax(0)  # (C,)
    return (weights[:, None, None] * activations).sum(0)
