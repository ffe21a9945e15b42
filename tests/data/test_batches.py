"""What a batch consists of, and the thread that makes one ahead."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch

from seefar.choices import Flip
from seefar.data import Data, Split
from seefar.data.batches import AugmentedBatches, Batch, BatchAugmentation, DeviceBatches, pipeline, training_batches
from seefar.training import loop
from seefar.training.loop import build_batches
from seefar.training.recipe import recipe

CPU = torch.device("cpu")
KINDS = pytest.mark.parametrize("kind", ["albumentations", "torch"])
VARIED = (4, 16, 1.0, (9, 9, 9))
PLAIN = (0, 0, 0.0, (0, 0, 0))


def numbered(count: int) -> Split:
    """Images whose left half says which they are: (i, 0, 0); the right half is black."""
    images = np.zeros((count, 32, 32, 3), np.uint8)
    images[:, :, :16, 0] = np.arange(1, count + 1)[:, None, None]
    return Split(images, np.arange(count) % 2, ("even", "odd"))


def batches_of(
    kind: str, split: Split, settings: tuple[Any, ...] = VARIED, flip: Flip = "random", size: int = 16, seed: int = 0
) -> AugmentedBatches:
    if kind == "torch":
        return DeviceBatches(split, BatchAugmentation(*settings), flip, size, seed, CPU)
    return AugmentedBatches(split, pipeline(32, *settings), flip, size, seed)


def same(one: Batch, other: Batch) -> bool:
    return one.images.equal(other.images) and one.labels.equal(other.labels)


@KINDS
def test_an_epoch_shows_every_image_once_with_its_own_label(kind: str) -> None:
    dataset = batches_of(kind, numbered(50), PLAIN, "none")
    assert len(dataset) == 4
    for epoch in range(2):
        batches = [dataset[epoch, number] for number in range(4)]
        assert [len(batch.labels) for batch in batches] == [16, 16, 16, 2]
        assert {batch.images.dtype for batch in batches} == {torch.uint8}
        which = np.concatenate([batch.images[:, 0, 0, 0].numpy() for batch in batches]) - 1
        assert sorted(which) == list(range(50))
        np.testing.assert_array_equal(np.concatenate([batch.labels.numpy() for batch in batches]), which % 2)
    assert not np.array_equal(dataset.order(0), dataset.order(1))


@KINDS
def test_a_batch_depends_on_seed_epoch_and_number_only(kind: str) -> None:
    dataset = batches_of(kind, numbered(48))
    first = [dataset[position] for position in ((0, 0), (0, 1), (1, 0), (2, 2))]
    again = batches_of(kind, numbered(48))
    assert same(again[2, 2], first[3])  # asked for in another order, by another object
    assert same(again[0, 0], first[0])
    assert same(dataset[0, 1], first[1])
    assert not same(batches_of(kind, numbered(48), seed=1)[0, 0], first[0])


@KINDS
def test_alternating_flip_shows_each_image_both_ways_round_in_two_epochs(kind: str) -> None:
    dataset = batches_of(kind, numbered(40), PLAIN, "alternating", 40, seed=5)

    def mirrored(epoch: int) -> np.ndarray:
        images = dataset[epoch, 0].images.numpy()[np.argsort(dataset.order(epoch))]
        return images[:, 0, 0, 0] == 0  # the number is on the right now

    assert 8 < mirrored(0).sum() < 32
    np.testing.assert_array_equal(mirrored(1), ~mirrored(0))
    np.testing.assert_array_equal(mirrored(2), mirrored(0))


def test_a_gpu_augments_what_fits_into_its_memory(shapes: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "DeviceBatches", lambda *settings: settings[-1])
    fast, gpu = recipe("fast"), torch.device("cuda")
    assert build_batches(fast, shapes, gpu) == gpu
    assert type(build_batches(fast, shapes)) is AugmentedBatches
    monkeypatch.setattr(loop, "LARGEST_ON_DEVICE", shapes.train.images.nbytes - 1)
    assert type(build_batches(fast, shapes, gpu)) is AugmentedBatches


@KINDS
@pytest.mark.parametrize("name", ["fast", "seed"])
def test_the_thread_changes_no_batch(shapes: Data, name: str, kind: str) -> None:
    """The 27th batch of an epoch has 2 of the 600 images left."""
    plan = recipe(name, batch_size=23)
    settings = plan.crop_padding, plan.cutout, plan.cutout_probability, (1, 2, 3), plan.crop_border
    positions = [(0, 1), (0, 25), (0, 26), (1, 1), (3, 2)]
    dataset = batches_of(kind, shapes.train, settings, plan.flip, 23)
    with training_batches(dataset, positions, pin_memory=False) as batches:
        found = list(batches)
    assert [(batch.epoch, batch.number) for batch in found] == positions
    assert [len(batch.labels) for batch in found] == [23, 23, 2, 23, 23]
    alone = batches_of(kind, shapes.train, settings, plan.flip, 23)
    assert all(same(batch, alone[position]) for batch, position in zip(found, positions, strict=True))


class Counted(AugmentedBatches):
    """Batches that are counted as they are made, and the third of which cannot be."""

    def __init__(self) -> None:
        super().__init__(numbered(8), pipeline(32, *PLAIN), "none", 2, 0)
        self.made: list[int] = []

    def __getitem__(self, position: tuple[int, int]) -> Batch:
        self.made.append(position[1])
        if position[1] == 3:
            raise MemoryError("no room for batch 3")
        return super().__getitem__(position)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("batches")]


def read(dataset: AugmentedBatches, count: int, error: type[BaseException] | None = None) -> None:
    """Read so many batches of ten, and end as a training does."""
    with training_batches(dataset, [(0, number) for number in range(10)], pin_memory=False) as batches:
        assert [next(batches).number for _ in range(count)] == list(range(count))
        if error:
            raise error


@pytest.mark.parametrize(("count", "error"), [(3, KeyboardInterrupt), (1, RuntimeError), (4, None)])
def test_the_thread_ends_with_an_error_of_the_reader_or_of_its_own(
    count: int, error: type[BaseException] | None
) -> None:
    dataset = Counted()
    read(Counted(), 3)
    with pytest.raises(error or MemoryError):
        read(dataset, count, error)
    assert threads() == []
    assert len(dataset.made) <= count + 1
