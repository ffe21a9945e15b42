"""Augmentation with albumentations, and training batches that depend on (seed, epoch, batch) and on nothing else."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from seefar.data.images import Images, Labels, Split
from seefar.names import Border, Flip
from seefar.seeds import Stream

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # before its import, or it asks the network for a newer release
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # tqdm's, which it may import, in notebooks without widgets
    import albumentations as A
import cv2


def random_crop(size: int, padding: int, border: Border = "black") -> list[Any]:
    """Pad by `padding` pixels on each side, black or reflected at the edge, then cut out `size` x `size` at random.

    With a padding of 0 the crop of a `size` x `size` image is the image itself, as in the recipe `seed`.
    """
    mode = cv2.BORDER_REFLECT_101 if border == "reflected" else cv2.BORDER_CONSTANT
    pad = [A.Pad(padding=padding, fill=0, border_mode=mode)] if padding else []
    return [*pad, A.RandomCrop(size, size)]


def cutout(size: int, hole: int, probability: float, fill: tuple[float, ...]) -> list[Any]:
    """Cutout (DeVries & Taylor 2017, arXiv 1708.04552): a square centred on any pixel, cut off at the image's edge.

    albumentations' CoarseDropout keeps the whole hole inside the image, which hides the central pixel of a 32x32
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


@dataclass(frozen=True)
class Batch:
    """One training batch: images uint8 (B, H, W, 3), labels int64 (B,), and which one it is, counted from 0."""

    epoch: int
    number: int
    images: Tensor
    labels: Tensor


class AugmentedBatches(Dataset[Batch]):
    """Batch number b of epoch e, for any (e, b): the same in whichever process and order they are asked for.

    Args:
        split: the training images.
        transform: an albumentations pipeline, applied to each image.
        flip: `random`: mirrored with probability 1/2; `alternating`: as random in epoch 0, then every epoch the other
            way (Jordan 2024, arXiv 2404.00498), so that two epochs show every image both ways round.
        batch_size: images in a batch; the last batch of an epoch may be smaller.
        seed: the run's seed.
    """

    def __init__(self, split: Split, transform: A.Compose, flip: Flip, batch_size: int, seed: int) -> None:
        self.split, self.transform, self.flip = split, transform, flip
        self.batch_size, self.seed = batch_size, seed
        self._order: tuple[int, Labels] = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        """Batches in one epoch."""
        return -(-len(self.split) // self.batch_size)

    def __getitem__(self, position: tuple[int, int]) -> Batch:
        epoch, number = position
        indices = self.order(epoch)[number * self.batch_size :][: self.batch_size]
        random = np.random.default_rng((Stream.BATCH, self.seed, epoch, number))
        self.transform.set_random_seed(int(random.integers(2**31)))
        images: Images = np.stack([self.transform(image=self.split.images[index])["image"] for index in indices])
        mirrored = self._mirrored(indices, epoch, random)
        images[mirrored] = images[mirrored, :, ::-1]
        return Batch(epoch, number, torch.from_numpy(images), torch.from_numpy(self.split.labels[indices]))

    def order(self, epoch: int) -> Labels:
        """The images in the order this epoch shows them, int64 (N,)."""
        if self._order[0] != epoch:
            random = np.random.default_rng((Stream.ORDER, self.seed, epoch))
            self._order = epoch, random.permutation(len(self.split))
        return self._order[1]

    def _mirrored(self, indices: Labels, epoch: int, random: np.random.Generator) -> NDArray[np.bool_]:
        if self.flip == "none":
            return np.zeros(len(indices), dtype=bool)
        if self.flip == "random":
            return random.random(len(indices)) < 0.5
        first = np.random.default_rng((Stream.FLIP, self.seed)).random(len(self.split)) < 0.5
        return first[indices] ^ bool(epoch % 2)
