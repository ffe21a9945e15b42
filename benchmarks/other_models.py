"""The models of other packages through `seefar.adapt`: layer chosen, cells, agreement with pytorch-grad-cam.

Random weights and small configurations; nothing is downloaded. The maps are compared with those of pytorch-grad-cam on
the same layer, before it cuts and rescales them; tokens get a reshape transform there. In an environment with
torchvision, timm, transformers and grad-cam:

    python benchmarks/other_models.py > results/other_models.json
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lab.measuring import print_result

FAKE = torch.library.register_fake


def register_fake(name: Any, *rest: Any, **settings: Any) -> Any:
    """As torch's, but not for operators that torchvision's binary, built for another torch, does not bring along."""
    if isinstance(name, str) and name.startswith("torchvision::"):
        return lambda function: function
    return FAKE(name, *rest, **settings)


torch.library.register_fake = register_fake

import timm  # noqa: E402  # after torch is prepared for torchvision
import torchvision  # noqa: E402
import transformers  # noqa: E402
from pytorch_grad_cam import GradCAM  # noqa: E402
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget  # noqa: E402
from torchvision.models.convnext import CNBlockConfig  # noqa: E402

import seefar  # noqa: E402
from seefar.model.adapt import Classifier  # noqa: E402

vision = torchvision.models
CLASSES = 10
HALF: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
STAGES = {"hidden_sizes": [8, 16, 32, 64], "depths": [1, 1, 1, 1]}


def hugging_face(kind: str, **settings: Any) -> nn.Module:
    """An image classifier of transformers, of this configuration."""
    config = getattr(transformers, f"{kind}Config")(num_labels=CLASSES, **settings)
    network: nn.Module = getattr(transformers, f"{kind}ForImageClassification")(config)
    return network


def convnext() -> nn.Module:
    """A small ConvNeXt of torchvision."""
    stages = [(8, 16), (16, 32), (32, 64), (64, None)]
    return vision.ConvNeXt([CNBlockConfig(*widths, 1) for widths in stages], num_classes=CLASSES)


MODELS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "torchvision resnet18": (lambda: vision.resnet18(num_classes=CLASSES), 224),
    "torchvision vgg11": (lambda: vision.vgg11(num_classes=CLASSES), 96),
    "torchvision DenseNet": (lambda: vision.DenseNet(8, (2, 2, 2, 2), 16, num_classes=CLASSES), 224),
    "torchvision efficientnet_b0": (lambda: vision.efficientnet_b0(num_classes=CLASSES), 224),
    "torchvision ConvNeXt": (convnext, 224),
    "torchvision mobilenet_v3_small": (lambda: vision.mobilenet_v3_small(num_classes=CLASSES), 224),
    "torchvision VisionTransformer": (lambda: vision.VisionTransformer(64, 8, 3, 2, 32, 64, num_classes=CLASSES), 64),
    "torchvision SwinTransformer": (
        lambda: vision.SwinTransformer([4, 4], 16, [1, 1, 2, 1], [1, 2, 4, 8], [7, 7], num_classes=CLASSES),
        224,
    ),
    "timm resnet10t": (lambda: timm.create_model("resnet10t", num_classes=CLASSES), 176),
    "timm convnext_atto": (lambda: timm.create_model("convnext_atto", num_classes=CLASSES), 224),
    "timm vit_tiny_patch16_224": (lambda: timm.create_model("vit_tiny_patch16_224", num_classes=CLASSES, depth=3), 224),
    "timm deit_tiny_distilled": (
        lambda: timm.create_model("deit_tiny_distilled_patch16_224", num_classes=CLASSES, depth=3),
        224,
    ),
    "timm swin_tiny": (
        lambda: timm.create_model(
            "swin_tiny_patch4_window7_224", num_classes=CLASSES, depths=(1, 1, 1, 1), embed_dim=24
        ),
        224,
    ),
    "transformers ViT": (lambda: hugging_face("ViT", image_size=64, patch_size=8, **SMALL), 64),
    "transformers DeiT": (lambda: hugging_face("DeiT", image_size=64, patch_size=8, **SMALL), 64),
    "transformers Dinov2": (
        lambda: hugging_face(
            "Dinov2", image_size=112, patch_size=14, hidden_size=32, num_hidden_layers=3, num_attention_heads=2
        ),
        112,
    ),
    "transformers Swin": (
        lambda: hugging_face("Swin", embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8], image_size=224),
        224,
    ),
    "transformers ResNet": (lambda: hugging_face("ResNet", embedding_size=8, **STAGES), 224),
    "transformers ConvNext": (lambda: hugging_face("ConvNext", **STAGES), 224),
}
"""How each is made, and the side of its pictures."""


class Logits(nn.Module):
    """What pytorch-grad-cam needs of a Hugging Face model."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, (N, K)."""
        output = self.network(inputs)
        logits: Tensor = getattr(output, "logits", output)
        return logits


class PlainGradCam(GradCAM):  # type: ignore[misc]
    """The map before pytorch-grad-cam cuts it at zero, rescales and enlarges it; the mean gradient as the paper's."""

    def __call__(self, inputs: Tensor, targets: list[Any]) -> NDArray[np.float32]:
        """Maps, (N, h, w)."""
        outputs = self.activations_and_grads(inputs)
        self.model.zero_grad()
        sum(target(output) for target, output in zip(targets, outputs, strict=True)).backward()
        activations, gradients = (
            parts[0].cpu().numpy()
            for parts in (self.activations_and_grads.activations, self.activations_and_grads.gradients)
        )
        weights = self.get_cam_weights(inputs, self.target_layers[0], targets, activations, gradients)
        maps: NDArray[np.float32] = (weights[:, :, None, None] * activations).sum(1)
        return maps


def compare(name: str, make: Callable[[], nn.Module], size: int) -> dict[str, Any]:
    """One row of the table."""
    torch.manual_seed(0)
    network = make().eval()
    for module in network.modules():  # heads that start at zero give no gradient
        if isinstance(module, nn.Linear) and module.out_features == CLASSES and not module.weight.any():
            nn.init.normal_(module.weight, std=0.1)
    own = {} if name.startswith("timm") else HALF
    classifier: Classifier = seefar.adapt(network, **own)
    images = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    inputs = classifier.inputs(images)
    layer = str(classifier.map_layer(None, inputs.shape[1:]))
    ours = seefar.gradcam(classifier, images, [3, 7], layer)

    def reshape(activations: Any) -> Tensor:
        found = activations[0] if isinstance(activations, tuple) else activations
        return classifier.to_cells(found, inputs, layer).clone()  # DenseNet changes what is stored, in place

    theirs = PlainGradCam(Logits(network), [network.get_submodule(layer)], reshape_transform=reshape)(
        inputs, [ClassifierOutputTarget(3), ClassifierOutputTarget(7)]
    )
    expected = theirs * theirs[0].size  # ours adds up gradients, theirs averages them
    return {
        "model": name,
        "pixels": list(inputs.shape[2:]),
        "layer": layer,
        "cells": list(ours.shape[1:]),
        "largest_difference": float(np.abs(ours - expected).max() / np.abs(expected).max()),
    }


def main() -> None:
    """Print the table as JSON."""
    warnings.simplefilter("ignore")
    rows = [compare(name, *rest) for name, rest in MODELS.items()]
    versions = {name: version(name) for name in ("torchvision", "timm", "transformers", "grad-cam")}
    print_result({**versions, "models": rows})


if __name__ == "__main__":
    main()
