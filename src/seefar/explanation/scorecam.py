"""Score-CAM: weights from asking the network again, not from gradients."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from seefar.data.images import Images
from seefar.explanation.cam import finite
from seefar.explanation.cells import Maps, ask
from seefar.model.inference import eval_mode

BATCH_SIZE = 256


def scorecam(
    model: nn.Module,
    images: Images | Tensor,
    classes: ArrayLike,
    layer: str | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """Score-CAM (Wang et al. 2019, arXiv 1910.01279): what the logit gains when only a channel's cells are shown.

    Each channel, stretched to 0 to 1 and enlarged to the image, multiplies the network's input; the weights are the
    softmax over the channels of the logit's gain on an input of zeros. Good for: networks whose gradients mislead.
    It costs one forward pass a channel and image: 512 at the last stage. Arguments, result and errors as
    `seefar.gradcam`.
    """
    question = ask(model, images, classes, layer, cells, force)
    plain = question.model if layer is not None else model  # the twin's logits are the network's, at higher cost
    maps, first = [], 0
    for inputs, captured in question.captured():
        for image, activations in zip(inputs, captured.activations, strict=True):
            weights = _channel_weights(plain, image, activations, int(question.classes[first]))
            maps.append(finite((weights[:, None, None] * activations).sum(0, keepdim=True)))
            first += 1
    return torch.cat(maps).cpu().numpy() if maps else np.empty((0, 0, 0), np.float32)


@torch.no_grad()
def _channel_weights(model: nn.Module, image: Tensor, activations: Tensor, class_: int) -> Tensor:
    """Softmax over the C channels, (C,), for an input (C_in, H, W) and its activations (C, h, w)."""
    low, high = activations.amin((1, 2), keepdim=True), activations.amax((1, 2), keepdim=True)
    stretched = (activations - low) / torch.where(high > low, high - low, 1)  # a flat channel shows nothing
    masks = F.interpolate(stretched[:, None], image.shape[1:], mode="bilinear", align_corners=False)
    shown = torch.cat((torch.zeros_like(masks[:1]), masks))  # the first shows nothing at all
    with eval_mode(model):
        logits = torch.cat([model(image * part)[:, class_].float() for part in torch.split(shown, BATCH_SIZE)])
    return (logits[1:] - logits[0]).softmax(0)
