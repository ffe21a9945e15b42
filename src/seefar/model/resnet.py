"""ResNet-18 of BasicBlocks (He et al. 2015, arXiv 1512.03385): the 3x3 stem of CIFAR, or its own above 64 pixels."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seefar.errors import ChoiceError, DataError

Module = TypeVar("Module", bound=nn.Module)
STAGES = ("layer1", "layer2", "layer3", "layer4")
LARGEST_OF_SMALL_STEM = 64
"""Pixels on the shorter side up to which the stem keeps the image's resolution."""


def stem_stride_for(image_size: int | tuple[int, int]) -> int:
    """The stride of the stem for images of this size: 1 up to 64 pixels on the shorter side, 4 above."""
    return 1 if (image_size if isinstance(image_size, int) else min(image_size)) <= LARGEST_OF_SMALL_STEM else 4


def memory_format(device: torch.device) -> torch.memory_format:
    """Memory format of images and kernels on a device: channels last, but contiguous on MPS.

    There the backward pass of batch norm is wrong or fails with channels last (pytorch issue 175189).
    """
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


class Normalize(nn.Module):
    """Normalisation: images become the network's input only here. Its constants are saved with the weights.

    A channel that is constant in all training images has a standard deviation of 0; 1 is used instead.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        deviation = torch.tensor([value or 1.0 for value in std])
        self.register_buffer("std", deviation.view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Images, uint8 (N, H, W, 3) or float (N, 3, H, W) in 0 to 1, to network input, float (N, 3, H, W)."""
        if not torch.compiler.is_compiling():
            _check_images(images)
        floats = images.to(self.mean.dtype)
        if images.dtype == torch.uint8:
            floats = floats.permute(0, 3, 1, 2) / 255
        inputs = (floats - self.mean) / self.std
        return inputs.contiguous(memory_format=memory_format(inputs.device))


def _check_images(images: Tensor) -> None:
    actual = f"{images.dtype} {tuple(images.shape)}"
    if images.dtype == torch.uint8 and images.ndim == 4 and images.shape[3] == 3:
        return
    if images.is_floating_point() and images.ndim == 4 and images.shape[1] == 3:
        low, high = images.aminmax() if images.numel() else (0.0, 1.0)
        if 0 <= low <= high <= 1:  # false for NaN
            return
        actual = f"floats from {low:.3g} to {high:.3g}: pass images without normalisation, which is the network's"
    raise DataError(f"Images must be a tensor, uint8 (N, H, W, 3) or float (N, 3, H, W) in 0 to 1 (got {actual}).")


class Projection(nn.Conv2d):
    """The 1x1 convolution of a shortcut, (N, C_in, H, W) to (N, C, H / stride, W / stride).

    With fewer than 16 channels it selects every stride-th cell first: with the stride, oneDNN 3 writes past its memory
    in the gradient of the weights (uxlfoundation/oneDNN issue 6035). With more, the stride saves 5% of a training step.
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
        # Out of place, since `residual += shortcut` would change the activations that a hook on bn2 has stored.
        return F.relu(residual + self.downsample(features))


class ResNet18(nn.Module):
    """ResNet-18: a stem, four stages of two BasicBlocks (strides 1, 2, 2, 2), global average, linear head.

    11,173,962 parameters at width 64 and 10 classes; 0.556 GMAC for a 32x32 image. It normalises images itself.

    Args:
        num_classes: K, at least 2.
        width: channels of the stem and of layer1; the later stages have 2, 4 and 8 times as many.
        mean: per-channel mean of the training images, on the scale 0 to 1.
        std: per-channel standard deviation, likewise; 1 is used instead of 0.
        stem_stride: 1: a 3x3 convolution; 4: a 7x7 convolution and max pooling, of stride 2 each.

    Examples:
        >>> import torch
        >>> ResNet18(num_classes=10, width=2)(torch.zeros(3, 32, 32, 3, dtype=torch.uint8)).shape
        torch.Size([3, 10])
    """

    def __init__(
        self,
        num_classes: int = 10,
        width: int = 64,
        mean: tuple[float, ...] = (0.5, 0.5, 0.5),
        std: tuple[float, ...] = (0.5, 0.5, 0.5),
        stem_stride: int = 1,
    ) -> None:
        super().__init__()
        if stem_stride not in (1, 4):
            raise ChoiceError(f"stem_stride must be 1 or 4 (got {stem_stride!r}).")
        self.normalize = Normalize(mean, std)
        self.stem_stride = stem_stride
        if stem_stride == 1:
            self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        else:
            self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
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
        self.in_bfloat16 = False  # convolutions, for inference; the head stays float32, so that no two logits tie

    def features(self, inputs: Tensor) -> Tensor:
        """The last stage's activations, (N, C, h, w), from network input (N, 3, H, W)."""
        with torch.autocast(inputs.device.type, torch.bfloat16) if self.in_bfloat16 else nullcontext():
            features = F.relu(self.bn1(self.conv1(inputs)))
            if self.stem_stride > 1:
                features = F.max_pool2d(features, 3, stride=2, padding=1)
            for name in STAGES:
                features = self.get_submodule(name)(features)
        return features.to(inputs.dtype) if self.in_bfloat16 else features

    def pool(self, features: Tensor) -> Tensor:
        """Global average over the cells that enter the logits: (N, C, h, w) to (N, C)."""
        return features[:, :, :: self.cell_stride, :: self.cell_stride].mean((2, 3))

    def classify(self, inputs: Tensor) -> Tensor:
        """Logits (N, K) of network input (N, 3, H, W), the output of `normalize`."""
        logits: Tensor = self.fc(self.pool(self.features(inputs)))
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images, uint8 (N, H, W, 3) or float (N, 3, H, W) in 0 to 1; else a `DataError`."""
        return self.classify(self.normalize(images))


def dense_twin(model: ResNet18, doublings: int = 1) -> ResNet18:
    """The network without its last `doublings` strides, 0 to 3: 4x4, 8x8, 16x16 or 32x32 cells for a 32x32 image.

    A convolution that halved its input now keeps every position, and those after it are dilated (Holschneider et al.
    1989, Yu & Koltun 2015, arXiv 1511.07122). So every 2 ** doublings-th cell, from the first, equals a cell of the
    network, and only these enter the logits. The cells between are the activations of the network on a shifted grid.

    Parameters and buffers are shared, not copied: training the network trains the twin.
    """
    if doublings not in range(4):
        raise ChoiceError(f"doublings must be 0 to 3, since the network has three strides (got {doublings}).")
    twin = _copy_modules(model)
    dilation = 1
    for stage in STAGES[len(STAGES) - doublings :]:
        first, second = (block for block in twin.get_submodule(stage).modules() if isinstance(block, BasicBlock))
        first.conv1.stride = (1, 1)
        _dilate(first.conv1, dilation)
        shortcut = first.get_submodule("downsample.0")
        assert isinstance(shortcut, nn.Conv2d)
        shortcut.stride = (1, 1)
        dilation *= 2
        for convolution in (first.conv2, second.conv1, second.conv2):
            _dilate(convolution, dilation)
    twin.cell_stride = dilation
    return twin


def _copy_modules(module: Module) -> Module:
    """Copies of a module and of those in it, with the same tensors; `copy.deepcopy` takes a third of a prediction."""
    copied = copy.copy(module)
    copied._modules = {name: _copy_modules(child) for name, child in module.named_children()}
    return copied


def _dilate(convolution: nn.Conv2d, dilation: int) -> None:
    convolution.dilation = convolution.padding = (dilation, dilation)
