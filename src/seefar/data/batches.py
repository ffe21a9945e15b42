"""Training batches that depend on (seed, epoch, batch) alone, augmented by albumentations, or by torch on a GPU."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seefar.choices import Border, Flip
from seefar.data.images import Images, ImageSize, Labels, Split, both
from seefar.seeds import Stream

if TYPE_CHECKING:
    import albumentations as A

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # before its import, or it looks for a newer release online


def pipeline(
    size: ImageSize,
    crop_padding: int,
    hole: int,
    cutout_probability: float,
    cutout_fill: tuple[float, ...],
    border: Border = "black",
) -> A.Compose:
    """The albumentations pipeline of a recipe, for one uint8 image (H, W, 3) at a time.

    `crop_padding` is in pixels around the image before the crop, `border` its content. Cutout's square has the side
    `hole` in pixels and the colour `cutout_fill`, in a share `cutout_probability` of the images.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm's, which it may import, in notebooks without widgets
        import albumentations as A  # here: it takes a second, and only a training on the CPU needs it
    steps: list[Any] = []
    if crop_padding:
        import cv2

        mode = cv2.BORDER_REFLECT_101 if border == "reflected" else cv2.BORDER_CONSTANT
        steps.append(A.Pad(padding=crop_padding, fill=0, border_mode=mode))
    steps.append(A.RandomCrop(*both(size)))  # without padding the image itself, as in the recipe `seed`
    if hole and cutout_probability:
        # Cutout (DeVries & Taylor 2017, arXiv 1708.04552): a square centred on any pixel, cut off at the image's edge.
        # CoarseDropout keeps the hole inside the image, which hides the central pixel of a 32x32 image 9 times in 10
        # with a 16-pixel hole, not 1 in 4. So the image is padded until each pixel can be the centre.
        before, after = hole // 2, hole - hole // 2 - 1
        height, width = both(size)
        steps += [
            A.Pad(padding=(before, before, after, after), fill=0),  # left, top, right, bottom
            A.CoarseDropout(
                num_holes_range=(1, 1),
                hole_height_range=(hole, hole),
                hole_width_range=(hole, hole),
                fill=cutout_fill,
                p=cutout_probability,
            ),
            A.Crop(x_min=before, y_min=before, x_max=before + width, y_max=before + height),
        ]
    return A.Compose(steps)


def augment_each(transform: Any, images: Iterable[Images], seed: int) -> list[Any]:
    """Each image, uint8 (H, W, 3), changed by an albumentations pipeline, or by a function of image and generator."""
    if hasattr(transform, "set_random_seed"):
        transform.set_random_seed(seed)
        return [transform(image=image)["image"] for image in images]
    random = np.random.default_rng(seed)
    return [transform(image, random) for image in images]


@dataclass(frozen=True)
class BatchAugmentation:
    """The crop and the Cutout of `pipeline` for a batch, on any device; the fields are its arguments."""

    crop_padding: int
    hole: int
    cutout_probability: float
    cutout_fill: tuple[float, ...]
    border: Border = "black"

    def __call__(self, images: Tensor, random: np.random.Generator) -> Tensor:
        """Augmented images (B, H, W, 3). Random numbers come from `random`, on the CPU, for every device."""
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
    """Images (B, H, W, C), each moved so that row `top` and column `left`, int64 (B,), are its first.

    Pixels outside are black, or `reflected` without repeating the pixel at the edge (cv2.BORDER_REFLECT_101).
    """
    height, width = images.shape[1:3]
    rows = top[:, None] + torch.arange(height, device=images.device)  # (B, H)
    columns = left[:, None] + torch.arange(width, device=images.device)  # (B, W)
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None]  # (B, H, W)
    which = torch.arange(len(images), device=images.device)[:, None, None]
    cropped = images[which, _reflected(rows, height)[:, :, None], _reflected(columns, width)[:, None]]
    if border == "reflected":
        return cropped
    return cropped * inside[..., None]


def cut_out(images: Tensor, top: Tensor, left: Tensor, hole: int, fill: Tensor) -> Tensor:
    """Images (B, H, W, C) with a square of side `hole` from row `top` and column `left` on, int64 (B,), filled.

    The square is cut off at the image's edge; `fill` is (C,), of the images' type.
    """
    rows = torch.arange(images.shape[1], device=images.device) - top[:, None]  # (B, H), counted from the square's first
    columns = torch.arange(images.shape[2], device=images.device) - left[:, None]  # (B, W)
    hidden = ((rows >= 0) & (rows < hole))[:, :, None] & ((columns >= 0) & (columns < hole))[:, None]  # (B, H, W)
    return torch.where(hidden[..., None], fill, images)


def _reflected(positions: Tensor, size: int) -> Tensor:
    """Positions brought into 0..size-1 by reflection at both ends, as often as needed: -2, -1, 0, 1 is 2, 1, 0, 1."""
    period = 2 * (size - 1)
    positions = positions.remainder(period)
    return torch.minimum(positions, period - positions)


def _columns(corners: NDArray[np.int64], images: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns, each (B,), of corners (B, 2), where the images are."""
    top, left = torch.from_numpy(corners).to(images.device, non_blocking=True).unbind(1)
    return top, left


LARGEST_ON_DEVICE = 4 << 30
"""Bytes of training images that a GPU keeps in its own memory at most: 1.4 million of 32x32 pixels."""


@dataclass(frozen=True)
class Batch:
    """One training batch: images uint8 (B, H, W, 3), labels int64 (B,), and which one it is, counted from 0."""

    epoch: int
    number: int
    images: Tensor
    labels: Tensor


class AugmentedBatches:
    """Batch number b of epoch e, for any (e, b): the same in whichever order they are read.

    `transform` changes each image, see `augment_each`. `flip`: `random` mirrors with probability 1/2; `alternating` in
    epoch 0, then every epoch the other way (Jordan 2024, arXiv 2404.00498).
    """

    def __init__(self, split: Split, transform: Any, flip: Flip, batch_size: int, seed: int) -> None:
        self.split, self.transform, self.flip = split, transform, flip
        self.batch_size, self.seed = batch_size, seed
        self._order: tuple[int, Labels] = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        """Batches in one epoch."""
        return -(-len(self.split) // self.batch_size)

    def __getitem__(self, position: tuple[int, int]) -> Batch:
        epoch, number = position
        indices, random = self._begin(epoch, number)
        seed = int(random.integers(2**31))
        originals = (self.split.images[index] for index in indices)
        images: Images = np.stack(augment_each(self.transform, originals, seed))
        mirrored = self._mirrored(indices, epoch, random)
        images[mirrored] = images[mirrored, :, ::-1]
        return Batch(epoch, number, torch.from_numpy(images), torch.from_numpy(self.split.labels[indices]))

    def order(self, epoch: int) -> Labels:
        """The order of the images in this epoch, int64 (N,)."""
        if self._order[0] != epoch:
            random = np.random.default_rng((Stream.ORDER, self.seed, epoch))
            self._order = epoch, random.permutation(len(self.split))
        return self._order[1]

    def _begin(self, epoch: int, number: int) -> tuple[Labels, np.random.Generator]:
        """The images of a batch, and the random generator of its augmentation."""
        indices = self.order(epoch)[number * self.batch_size :][: self.batch_size]
        return indices, np.random.default_rng((Stream.BATCH, self.seed, epoch, number))

    def _mirrored(self, indices: Labels, epoch: int, random: np.random.Generator) -> NDArray[np.bool_]:
        if self.flip == "none":
            return np.zeros(len(indices), dtype=bool)
        if self.flip == "random":
            return random.random(len(indices)) < 0.5
        return self._mirrored_first[indices] ^ bool(epoch % 2)

    @cached_property
    def _mirrored_first(self) -> NDArray[np.bool_]:
        """Which images epoch 0 mirrors where the flip alternates, bool (N,)."""
        return np.random.default_rng((Stream.FLIP, self.seed)).random(len(self.split)) < 0.5


class DeviceBatches(AugmentedBatches):
    """The same for a GPU, which keeps the training images and augments a batch at once.

    One CPU core augments 22,000 images/s at most, a fast GPU trains twice as many. The batches have the distribution
    of those on the CPU, not the same pixels.
    """

    def __init__(
        self,
        split: Split,
        transform: BatchAugmentation,
        flip: Flip,
        batch_size: int,
        seed: int,
        device: torch.device,
    ) -> None:
        super().__init__(split, transform, flip, batch_size, seed)
        self._images = torch.from_numpy(split.images).to(device)
        self._labels = torch.from_numpy(split.labels).to(device)

    def __getitem__(self, position: tuple[int, int]) -> Batch:
        epoch, number = position
        indices, random = self._begin(epoch, number)
        which = self._to_device(indices)
        images = self.transform(self._images[which], random)
        if self.flip != "none":
            mirrored = self._to_device(self._mirrored(indices, epoch, random))
            images = torch.where(mirrored[:, None, None, None], images.flip(2), images)
        return Batch(epoch, number, images, self._labels[which])

    def _to_device(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self._images.device, non_blocking=True)


@contextmanager
def training_batches(
    dataset: AugmentedBatches, positions: Sequence[tuple[int, int]], pin_memory: bool
) -> Iterator[Iterator[Batch]]:
    """The batches at these (epoch, number) positions, in order; on the CPU a thread makes one ahead.

    The thread ends with the `with` block; its error is raised where its batch is read. With `pin_memory` it puts them
    into page-locked memory, from which a GPU copies while the host continues.
    """
    if isinstance(dataset, DeviceBatches):  # the GPU makes it when it is needed: a few kernels, and nothing to copy
        yield map(dataset.__getitem__, positions)
        return

    def make(position: tuple[int, int]) -> Batch:
        batch = dataset[position]
        if pin_memory:
            batch = replace(batch, images=batch.images.pin_memory(), labels=batch.labels.pin_memory())
        return batch

    def one_ahead() -> Iterator[Batch]:
        coming = deque[Future[Batch]]()
        for position in positions:
            coming.append(pool.submit(make, position))
            if len(coming) > 1:
                yield coming.popleft().result()
        yield from (batch.result() for batch in coming)

    pool = ThreadPoolExecutor(1, "batches")
    try:
        yield one_ahead()
    finally:
        pool.shutdown(cancel_futures=True)
