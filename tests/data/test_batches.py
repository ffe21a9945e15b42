"""What a batch consists of, the thread that makes one ahead, and both augmentations against numbers by hand."""

from __future__ import annotations

import threading
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from seefar.choices import Border, Flip
from seefar.data import Data, Split
from seefar.data.batches import (
    AugmentedBatches,
    Batch,
    BatchAugmentation,
    DeviceBatches,
    crop,
    pipeline,
    training_batches,
)
from seefar.training import loop
from seefar.training.loop import build_batches
from seefar.training.recipe import RECIPES, recipe

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
def test_the_thread_changes_no_batch(shapes: Data, kind: str) -> None:
    """The 27th batch of an epoch has 2 of the 600 images left."""
    positions = [(0, 1), (0, 25), (0, 26), (1, 1), (3, 2)]
    dataset, alone = (batches_of(kind, shapes.train, size=23) for _ in range(2))
    with training_batches(dataset, positions, pin_memory=False) as batches:
        found = list(batches)
    assert [(batch.epoch, batch.number) for batch in found] == positions
    assert [len(batch.labels) for batch in found] == [23, 23, 2, 23, 23]
    assert all(same(batch, alone[position]) for batch, position in zip(found, positions, strict=True))


class Failing(AugmentedBatches):
    """Batches of which the fourth cannot be made."""

    made = 0

    def __getitem__(self, position: tuple[int, int]) -> Batch:
        self.made += 1
        if position[1] == 3:
            raise MemoryError("no room for batch 3")
        return super().__getitem__(position)


def read(dataset: AugmentedBatches, count: int) -> None:
    """Read so many batches of ten, and end as a training does on Ctrl-C."""
    with training_batches(dataset, [(0, number) for number in range(10)], pin_memory=False) as batches:
        assert [next(batches).number for _ in range(count)] == list(range(count))
        raise KeyboardInterrupt


@pytest.mark.parametrize(("count", "error"), [(1, KeyboardInterrupt), (4, MemoryError)])
def test_the_thread_ends_after_an_error_on_either_side(count: int, error: type[BaseException]) -> None:
    dataset = Failing(numbered(20), pipeline(32, *PLAIN), "none", 2, 0)
    with pytest.raises(error):
        read(dataset, count)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]
    assert dataset.made <= count + 1


# ---- Augmentation ----

WHITE = np.full((32, 32, 3), 255, np.uint8)


def augmented(
    kind: str, image: np.ndarray, count: int, padding: int = 0, hole: int = 0, probability: float = 1.0
) -> np.ndarray:
    """The image so many times, each augmented by itself, uint8 (count, H, W, 3)."""
    settings = padding, hole, probability, (0, 0, 0)
    if kind == "torch":
        batch = torch.from_numpy(image).expand(count, *image.shape)
        return BatchAugmentation(*settings)(batch, np.random.default_rng(0)).numpy()
    transform = pipeline(len(image), *settings)
    transform.set_random_seed(0)
    return np.stack([transform(image=image)["image"] for _ in range(count)])


@KINDS
def test_cutout_hides_each_pixel_as_often_as_the_paper_says(kind: str) -> None:
    """DeVries & Taylor: a 16x16 square centred on a pixel drawn evenly; 16 of 32 rows as centre hide the middle row.

    Centre row c hides rows c - 8 to c + 7: 8 to 15 of them for c = 0 to 7, 16 for 8 to 24, 15 to 9 for 25 to 31. That
    is 92 + 17 * 16 + 84 = 448 in 32 places, so 14 rows and 14 * 14 = 196 pixels in the mean.
    """
    hidden = augmented(kind, WHITE, 1500, hole=16)[..., 0] == 0  # (N, H, W)
    assert hidden[:, 16, 16].mean() == pytest.approx(0.25, abs=0.05)  # 4.5 standard errors
    assert hidden.sum((1, 2)).mean() == pytest.approx(196, abs=5)  # of 50 pixels deviation: 3.9 standard errors
    rows = np.array([len([c for c in range(32) if r - 7 <= c <= r + 8]) / 32 for r in range(32)])
    np.testing.assert_allclose(hidden.mean(0), np.outer(rows, rows), atol=0.055)
    half = augmented(kind, WHITE, 500, hole=16, probability=0.5)[..., 0] == 0
    assert half.any((1, 2)).mean() == pytest.approx(0.5, abs=0.09)


@KINDS
def test_the_crop_of_a_padded_image_moves_it_by_up_to_the_padding(kind: str) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    image[4, 4] = 255
    places = [np.argwhere(one[..., 0])[0] - 2 for one in augmented(kind, image, 1250, padding=2)]
    counts = np.zeros((5, 5))
    np.add.at(counts, tuple(np.transpose(places)), 1)
    chi_square = ((counts - 50) ** 2 / 50).sum()
    assert chi_square < 51.2  # of 24 degrees of freedom, in 999 of 1000 cases


@pytest.mark.parametrize(("border", "mode"), [("black", cv2.BORDER_CONSTANT), ("reflected", cv2.BORDER_REFLECT_101)])
def test_a_crop_is_that_of_the_image_padded_by_opencv(border: Border, mode: int) -> None:
    """Not square, and padded by more than its size, so that it is reflected more than once."""
    height, width, padding = 5, 9, 20
    image = np.random.default_rng(0).integers(1, 256, (height, width, 3), dtype=np.uint8)
    padded = cv2.copyMakeBorder(image, padding, padding, padding, padding, mode)
    top, left = np.mgrid[0 : 2 * padding + 1, 0 : 2 * padding + 1].reshape(2, -1)
    images = torch.from_numpy(image).expand(len(top), -1, -1, -1)
    found = crop(images, *(torch.from_numpy(corner - padding) for corner in (top, left)), border).numpy()
    expected = [padded[row : row + height, column : column + width] for row, column in zip(top, left, strict=True)]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["seed", "fast", "demo"])
def test_recipes_crop_where_there_is_padding_and_seed_hides_half_of_the_images(shapes: Data, name: str) -> None:
    changes = {} if name == "seed" else {"cutout": 0, "flip": "none"}
    batches = build_batches(recipe(name, batch_size=200, **changes), shapes)
    images, originals = batches[0, 0].images.numpy(), shapes.train.images[batches.order(0)[:200]]
    touched = (images != originals).any(-1)  # (N, H, W)
    if name == "seed":
        assert touched.any((1, 2)).mean() == pytest.approx(0.5, abs=0.12)
        assert (images[touched] == 127).all()
    else:
        assert 1 - touched.any((1, 2)).mean() < 3 / (2 * RECIPES[name].crop_padding + 1) ** 2
