"""ResNet-18 of BasicBlocks for small images (He et al. 2015, arXiv 1512.03385, with the 3x3 stem usual for CIFAR)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STAGES = ("layer1", "layer2", "layer3", "layer4")


class Normalize(nn.Module):
    """The one place where stored images become the network's input, and its inverse.

    The constants are buffers of the network, so they travel with the weights: a net cannot be explained with
    other constants than it was trained with.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Stored images, uint8 (N, H, W, 3), to network input, float32 (N, 3, H, W), channels last in memory."""
        return (images.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std

    def inverse(self, inputs: Tensor) -> Tensor:
        """Network input, float (N, 3, H, W), back to stored images, uint8 (N, H, W, 3)."""
        pixels = (inputs * self.std + self.mean) * 255
        return pixels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


class Projection(nn.Conv2d):
    """The 1x1 convolution of a shortcut, (N, C_in, H, W) to (N, C, H / stride, W / stride).

    With fewer than 16 channels it takes every stride-th cell first and convolves those, which gives the same numbers.
    Left with the stride, oneDNN 3 writes past its memory when it computes the weights' gradient, channels last in
    float32 (fewer than 8 channels on AVX2, 16 on AVX-512; uxlfoundation/oneDNN issue 6035): a hang, a crash, or a
    wrong gradient. With more channels the stride is right, and 5 % of a training step faster.
    """

    def forward(self, features: Tensor) -> Tensor:
        """The projected cells."""
        if self.in_channels < 16:
            return F.conv2d(features[:, :, :: self.stride[0], :: self.stride[1]], self.weight)
        return super().forward(features)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; no bottleneck. (N, C_in, H, W) to (N, C, H / stride, W / stride)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                Projection(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, features: Tensor) -> Tensor:
        """One residual step."""
        residual = F.relu(self.bn1(self.conv1(features)))
        residual = self.bn2(self.conv2(residual))
        # Out of place: `residual += shortcut` would change activations that a hook on bn2 has stored.
        return F.relu(residual + self.downsample(features))


class ResNet18(nn.Module):
    """ResNet-18: a 3x3 stem, four stages of two BasicBlocks (strides 1, 2, 2, 2), global average, linear head.

    11,173,962 parameters at width 64 and 10 classes; 0.556 GMAC for a 32x32 image.

    Args:
        num_classes: K, at least 2.
        width: channels of the stem and of layer1; the later stages have 2, 4 and 8 times as many.
        mean: per-channel mean of the training images, on the scale 0 to 1.
        std: per-channel standard deviation, likewise.
    """

    def __init__(
        self,
        num_classes: int = 10,
        width: int = 64,
        mean: tuple[float, ...] = (0.5, 0.5, 0.5),
        std: tuple[float, ...] = (0.5, 0.5, 0.5),
    ) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        channels = width
        for number, name in enumerate(STAGES):
            in_channels, channels = channels, width * 2**number
            stride = 1 if number == 0 else 2
            self.add_module(
                name, nn.Sequential(BasicBlock(in_channels, channels, stride), BasicBlock(channels, channels, 1))
            )
        self.fc = nn.Linear(channels, num_classes)
        self.cell_stride = 1  # the dense twin sets it: only every cell_stride-th cell enters the logits

    def features(self, inputs: Tensor) -> Tensor:
        """The last stage's activations, (N, C, h, w), from network input (N, 3, H, W)."""
        features = F.relu(self.bn1(self.conv1(inputs)))
        for name in STAGES:
            features = self.get_submodule(name)(features)
        return features

    def pool(self, features: Tensor) -> Tensor:
        """Global average over the cells that enter the logits: (N, C, h, w) to (N, C)."""
        return features[:, :, :: self.cell_stride, :: self.cell_stride].mean((2, 3))

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, K) of network input (N, 3, H, W), which `normalize` makes from stored images."""
        logits: Tensor = self.fc(self.pool(self.features(inputs)))
        return logits
