"""First weights other than torch's own."""

from __future__ import annotations

import torch
from torch import nn

from seefar.model.resnet import STAGES, ResNet18


@torch.no_grad()
def start_near_identity(model: ResNet18) -> None:
    """Let the 3x3 convolutions of the stages pass their input on: the first C_in filters become Dirac kernels.

    The filters beyond C_in keep their random weights. A partly-identity start shortens training (Zagoruyko &
    Komodakis 2017, arXiv 1706.00388; Jordan 2024, arXiv 2404.00498).
    """
    for stage in STAGES:
        for module in model.get_submodule(stage).modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
                nn.init.dirac_(module.weight[: module.in_channels])
