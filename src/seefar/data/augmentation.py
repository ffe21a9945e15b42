"""Augmentation twice, with the same distribution: albumentations for one image, torch for a batch on a GPU."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seefar.choices import Border

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # before its import, or it asks the network for a newer release
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # tqdm's, which it may import, in notebooks without widgets
    import albumentations as A
import cv2


def pipeline(
    size: int,
    crop_padding: int,
    hole: int,
    cutout_probability: float,
    cutout_fill: tuple[float, ...],
    border: Border = "black",
) -> A.Compose:
    """The albumentations pipeline of a recipe, for one uint8 image (H, W, 3) at a time; hole 0: no cutout."""
    steps = random_crop(size, crop_padding, border)
    if hole and cutout_probability:
        steps += cutout(size, hole, cutout_probability, cutout_fill)
    return A.Compose(steps)


def random_crop(size: int, padding: int, border: Border = "black") -> list[Any]:
    """Pad by `padding` pixels on each side, black or reflected at the edge, then cut out `size` x `size` at random.

    With a padding of 0 the crop of a `size` x `size` image is the image itself, as in the recipe `seed`.
    """
    mode = cv2.BORDER_REFLECT_101 if border == "reflected" else cv2.BORDER_CONSTANT
    pad = [A.Pad(padding=padding, fill=0, border_mode=mode)] if padding else []
    return [*pad, A.RandomCrop(size, size)]


def cutout(size: int, hole: int, probability: float, fill: tuple[float, ...]) -> list[Any]:
    """Cutout (DeVries & Taylor 2017, arXiv 1708.04552): a square centred on any pixel, cut off at the image's edge.

    albumentations' CoarseDropout keeps the hole inside the image, which hides the central pixel of a 32x32
    image 9 times in 10 with a 16-pixel hole, not 1 in 4. So the image is padded until each pixel can be the centre,
    the hole is dropped, and the padding is cut away again.
    """
    before, after = hole // 2, hole - hole // 2 - 1
    return [
        A.Pad(padding=(before, before, after, after), fill=0),  # left, top, right, bottom
        A.CoarseDropout(
            num_holes_range=(1, 1),
            hole_height_range=(hole, hole),
            hole_width_range=(hole, hole),
            fill=fill,
            p=probability,
        ),
        A.Crop(x_min=before, y_min=before, x_max=before + size, y_max=before + size),
    ]


@dataclass(frozen=True)
class BatchAugmentation:
    """The crop and the Cutout of `pipeline` for a whole batch, on any device.

    Attributes:
        crop_padding: pixels around the image before the crop; 0: no crop.
        hole: side of Cutout's square in pixels; 0: no cutout.
        cutout_probability: share of the images that have the square.
        cutout_fill: its colour.
        border: what the padding is filled with.
    """

    crop_padding: int
    hole: int
    cutout_probability: float
    cutout_fill: tuple[float, ...]
    border: Border = "black"

    def __call__(self, images: Tensor, random: np.random.Generator) -> Tensor:
        """Augmented images (B, H, W, 3). The numbers come from `random`, on the CPU, so every device draws the same."""
        count, height, width, _ = images.shape
        if self.crop_padding:
            corners = random.integers(-self.crop_padding, self.crop_padding, (count, 2), endpoint=True)
            images = crop(images, *_columns(corners, images), self.border)
        if self.hole and self.cutout_probability:
            corners = random.integers(0, (height, width), (count, 2)) - self.hole // 2  # any pixel can be the centre
            corners[random.random(count) >= self.cutout_probability] = height, width  # outside: no square
            fill = torch.tensor(self.cutout_fill).to(images, non_blocking=True)
            images = cut_out(images, *_columns(corners, images), self.hole, fill)
        return images


def crop(images: Tensor, top: Tensor, left: Tensor, border: Border) -> Tensor:
    """Each image moved so that (top, left) is its new corner; pixels outside the image are black or reflected.

    Args:
        images: (B, H, W, C), of any type.
        top: int64 (B,), the row that becomes the first; may be negative.
        left: int64 (B,), the column that becomes the first.
        border: `black`, or `reflected` without repeating the pixel at the edge (cv2.BORDER_REFLECT_101).

    Example:
        >>> row = torch.tensor([[[[1], [2], [3]]]])  # (1, 1, 3, 1)
        >>> crop(row, torch.tensor([0]), torch.tensor([-1]), "black").flatten().tolist()
        [0, 1, 2]
        >>> crop(row, torch.tensor([0]), torch.tensor([-1]), "reflected").flatten().tolist()
        [2, 1, 2]
    """
    height, width = images.shape[1:3]
    rows = top[:, None] + torch.arange(height, device=images.device)  # (B, H)
    columns = left[:, None] + torch.arange(width, device=images.device)  # (B, W)
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None]  # (B, H, W)
    which = torch.arange(len(images), device=images.device)[:, None, None]
    cropped = images[which, _reflected(rows, height)[:, :, None], _reflected(columns, width)[:, None]]
    return cropped * inside[..., None] if border == "black" else cropped


def cut_out(images: Tensor, top: Tensor, left: Tensor, hole: int, fill: Tensor) -> Tensor:
    """Each image with a square of `hole` pixels filled, cut off at the image's edge.

    Args:
        images: (B, H, W, C), of any type.
        top: int64 (B,), the square's first row; may be negative.
        left: int64 (B,), the square's first column.
        hole: side of the square in pixels.
        fill: (C,), of the images' type.

    Example:
        >>> row = torch.tensor([[[[1], [2], [3]]]])  # (1, 1, 3, 1)
        >>> cut_out(row, torch.tensor([0]), torch.tensor([-1]), 2, torch.tensor([9])).flatten().tolist()
        [9, 2, 3]
    """
    rows = torch.arange(images.shape[1], device=images.device) - top[:, None]  # (B, H), counted from the square's first
    columns = torch.arange(images.shape[2], device=images.device) - left[:, None]  # (B, W)
    hidden = ((rows >= 0) & (rows < hole))[:, :, None] & ((columns >= 0) & (columns < hole))[:, None]  # (B, H, W)
    return torch.where(hidden[..., None], fill, images)


def mirror(images: Tensor, mirrored: Tensor) -> Tensor:
    """Images (B, H, W, C), left-right mirrored where `mirrored`, bool (B,), is true."""
    return torch.where(mirrored[:, None, None, None], images.flip(2), images)


def _reflected(positions: Tensor, size: int) -> Tensor:
    """Positions brought into 0..size-1 by reflection at both ends, as often as needed: -2, -1, 0, 1 is 2, 1, 0, 1."""
    period = 2 * (size - 1)
    positions = positions.remainder(period) if period else torch.zeros_like(positions)
    return torch.minimum(positions, period - positions)


def _columns(corners: NDArray[np.int64], images: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns, each (B,), of corners (B, 2), where the images are."""
    top, left = torch.from_numpy(corners).to(images.device, non_blocking=True).unbind(1)
    return top, left
