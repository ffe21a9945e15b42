"""Training batches that depend on (seed, epoch, batch) alone: made one ahead in a thread, or on the GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seefar.choices import Flip
from seefar.data.augmentation import BatchAugmentation, mirror
from seefar.data.images import Images, Labels, Split
from seefar.seeds import Stream

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

    Args:
        split: the training images.
        transform: an albumentations pipeline, applied to each image.
        flip: `random`: mirrored with probability 1/2; `alternating`: as random in epoch 0, then every epoch the other
            way (Jordan 2024, arXiv 2404.00498), so that two epochs show every image both ways round.
        batch_size: images in a batch; the last batch of an epoch may be smaller.
        seed: the run's seed.
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

    def _begin(self, epoch: int, number: int) -> tuple[Labels, np.random.Generator]:
        """Which images a batch consists of, and what its augmentation is drawn from."""
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
    """The same for a GPU, which keeps the training images and augments a whole batch at once.

    One CPU core augments 22,000 images/s at most, a fast GPU trains twice as many. The batches have the distribution
    of those on the CPU, not the same pixels.

    Args:
        split: as before.
        transform: the crop and the Cutout.
        flip: as before.
        batch_size: as before.
        seed: as before.
        device: where the images are kept and augmented.
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
            images = mirror(images, self._to_device(self._mirrored(indices, epoch, random)))
        return Batch(epoch, number, images, self._labels[which])

    def _to_device(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self._images.device, non_blocking=True)


@contextmanager
def training_batches(
    dataset: AugmentedBatches, positions: Sequence[tuple[int, int]], pin_memory: bool
) -> Iterator[Iterator[Batch]]:
    """The batches at these (epoch, number) positions, in order; on the CPU a thread makes one ahead.

    The thread ends with the `with`, however that ends. An error in it is raised where its batch is read.

    Args:
        dataset: the batches.
        positions: which of them, in order.
        pin_memory: whether the thread puts batches into page-locked memory, from which a GPU copies while the host
            continues.
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
        coming: Future[Batch] | None = None
        for position in positions:
            ready, coming = coming, pool.submit(make, position)
            if ready is not None:
                yield ready.result()
        if coming is not None:
            yield coming.result()

    pool = ThreadPoolExecutor(1, "batches")
    try:
        yield one_ahead()
    finally:
        pool.shutdown(cancel_futures=True)
