"""Near-duplicates: test images that are also in the training set, mirrored, shifted by some pixels or recoloured.

About 3 % of the test images of CIFAR-10 are near-duplicates of training images (Barz & Denzler 2019, arXiv 1902.00423).
The network has seen the right example of a mistake among them. Two steps: the training image with the most similar
8x8 thumbnail, then whether the fine detail of both is the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from seefar.data.images import Images
from seefar.errors import DataError
from seefar.explanation.nearest import nearest

SMALLEST_LIKENESS = 0.6
"""Pairs whose detail correlates less are not duplicates. Of the 10,000 test images of CIFAR-10, 367 have a training
image above it; one such pair has different labels and is wrong: a bird and a plane, small on blue sky. Of 47 pairs
inspected between 0.60 and 0.65, three or four showed different things. From 0.5 to 0.6 different labels are more
frequent, and similar scenes cannot be distinguished from duplicates."""
SMALLEST_THUMBNAIL = 0.8
"""Pairs whose thumbnails correlate less are not compared further."""
THUMBNAIL, BLUR, SHIFT = 8, 5 / 32, 3 / 32  # cells on a side; shares of the image's side
BLOCK = 1000


@dataclass(frozen=True)
class Duplicate:
    """A test image and the training image that it nearly equals.

    Attributes:
        index: position of the test image.
        training: position of the training image.
        likeness: correlation of their detail, 0.6 to 1; 1 for exact copies.
        mirrored: whether one of them is the other's mirror image.
    """

    index: int
    training: int
    likeness: float
    mirrored: bool


def find_duplicates(images: Images, training: Images) -> list[Duplicate]:
    """The images that are near-duplicates of training images, in order of index.

    Args:
        images: uint8 (N, H, W, 3).
        training: uint8 (M, H, W, 3).

    Returns:
        One `Duplicate` for each image that has one: with the training image whose thumbnail is most similar.

    Raises:
        DataError: the images have different sizes.

    Example:
        >>> from seefar.data.shapes import load_shapes
        >>> data = load_shapes(train=20, test=10)
        >>> copy = data.train.images[7:8, :, ::-1]
        >>> find_duplicates(copy, data.train.images)
        [Duplicate(index=0, training=7, likeness=1.0, mirrored=True)]
    """
    if images.shape[1:] != training.shape[1:]:
        raise DataError(
            f"Test and training images must have one size (got {images.shape[1:]} and {training.shape[1:]})."
        )
    if not len(images) or not len(training):
        return []
    bank = _thumbnails(np.ascontiguousarray(training))
    found: dict[int, Duplicate] = {}
    for mirrored in (False, True):
        turned = np.ascontiguousarray(images[:, :, ::-1] if mirrored else images)
        best, distances = (column[:, 0] for column in nearest(_thumbnails(turned), bank, 1))
        for start in range(0, len(images), BLOCK):
            rows = start + np.flatnonzero(1 - distances[start : start + BLOCK] >= SMALLEST_THUMBNAIL)
            likeness = _likeness(turned[rows], training[best[rows]])
            for index, other, how in zip(rows.tolist(), best[rows].tolist(), likeness.tolist(), strict=True):
                if how >= SMALLEST_LIKENESS and (index not in found or how > found[index].likeness):
                    found[index] = Duplicate(index, other, how, mirrored)
    return [found[index] for index in sorted(found)]


def _thumbnails(images: Images) -> NDArray[np.float32]:
    """8x8 colour thumbnails without their mean, (N, 192): the cosine of two is their correlation."""
    parts = []
    for start in range(0, len(images), BLOCK):
        pictures = torch.from_numpy(images[start : start + BLOCK]).permute(0, 3, 1, 2).float()
        small = F.adaptive_avg_pool2d(pictures, min(THUMBNAIL, *pictures.shape[2:])).flatten(1)
        parts.append(small - small.mean(1, keepdim=True))
    thumbnails: NDArray[np.float32] = torch.cat(parts).numpy()
    return thumbnails


def _likeness(first: Images, second: Images) -> NDArray[np.float64]:
    """The largest correlation of the fine detail of pairs of images, (N,), over shifts by some pixels."""
    height, width = first.shape[1:3]
    a, b = _detail(first), _detail(second)
    largest = np.zeros(len(first))
    up, across = round(height * SHIFT), round(width * SHIFT)
    for down in range(-up, up + 1):
        for right in range(-across, across + 1):
            one = a[:, max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
            two = b[:, max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)]
            norms = one.square().sum((1, 2)) * two.square().sum((1, 2))
            correlation = (one * two).sum((1, 2)) / norms.sqrt().clamp(min=1e-6)
            largest = np.maximum(largest, correlation.double().numpy())
    largest = largest.clip(max=1.0)
    largest[(first == second).all((1, 2, 3))] = 1.0  # flat images too, which have no detail
    return largest


def _detail(images: Images) -> Tensor:
    """Brightness minus the mean of its surroundings, (N, H, W)."""
    grey = torch.from_numpy(images).float().mean(3)[:, None]
    side = 2 * (round(images.shape[1] * BLUR) // 2) + 1
    padded = F.pad(grey, (side // 2,) * 4, mode="replicate")
    return (grey - F.avg_pool2d(padded, side, stride=1))[:, 0]
