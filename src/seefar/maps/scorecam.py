"""Score-CAM: weights from asking the network again, not from gradients."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seefar.maps.map_method import Question, map_method
from seefar.maps.network import to_logits
from seefar.model.inference import eval_mode, true_float32

BATCH_SIZE = 256


@map_method
def scorecam(question: Question) -> Iterator[Tensor]:
    """Score-CAM (Wang et al. 2019, arXiv 1910.01279): what the logit gains when only a channel's cells are shown.

    Each channel, stretched to 0 to 1 and enlarged to the image, multiplies the network's input; the weights are the
    softmax over the channels of the logit's gain on an input of zeros. Good for: networks whose gradients mislead.
    It costs one forward pass a channel and image: 512 at the last stage.
    """
    classes = iter(question.classes.tolist())
    for inputs, captured in question.captured():
        for image, activations in zip(inputs, captured.activations, strict=True):
            # The network, not its twin: the logits are the same, and cheaper.
            weights = _channel_weights(question.network, image, activations, next(classes))
            yield (weights[:, None, None] * activations).sum(0, keepdim=True)


@torch.no_grad()
def _channel_weights(network: nn.Module, image: Tensor, activations: Tensor, class_: int) -> Tensor:
    """Softmax over the C channels, (C,), for an input (C_in, H, W) and its activations (C, h, w)."""
    low, high = activations.amin((1, 2), keepdim=True), activations.amax((1, 2), keepdim=True)
    stretched = (activations - low) / torch.where(high > low, high - low, 1)  # a flat channel shows nothing
    masks = F.interpolate(stretched[:, None], image.shape[1:], mode="bilinear", align_corners=False)
    shown = torch.cat((torch.zeros_like(masks[:1]), masks))  # the first shows nothing at all
    with eval_mode(network), true_float32():
        logits = torch.cat(
            [to_logits(network, image * part)[:, class_].float() for part in torch.split(shown, BATCH_SIZE)]
        )
    return (logits[1:] - logits[0]).softmax(0)
