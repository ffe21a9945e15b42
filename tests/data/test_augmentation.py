from __future__ import annotations

import numpy as np
import pytest

from seefar.data import Data, Split
from seefar.data.augmentation import AugmentedBatches, Batch, pipeline
from seefar.data.loader import training_batches
from seefar.names import Flip
from seefar.seeds import Stream
from seefar.training.loop import build_batches
from seefar.training.recipe import RECIPES, recipe


def test_cutout_hides_each_pixel_as_often_as_the_paper_says() -> None:
    """DeVries & Taylor: a 16x16 square centred on a pixel drawn evenly; 16 of 32 rows as centre hide the middle row."""
    transform = pipeline(32, crop_padding=0, hole=16, cutout_probability=1.0, cutout_fill=(0, 0, 0))
    transform.set_random_seed(0)
    image = np.full((32, 32, 3), 255, np.uint8)
    hidden = np.mean([transform(image=image)["image"][..., 0] == 0 for _ in range(4000)], axis=0)
    assert hidden[16, 16] == pytest.approx(0.25, abs=0.03)  # 4.4 standard errors
    # Row r is hidden by centres r - 7 to r + 8 that lie in 0 to 31.
    rows = np.array([len([c for c in range(32) if r - 7 <= c <= r + 8]) / 32 for r in range(32)])
    np.testing.assert_allclose(hidden, np.outer(rows, rows), atol=0.035)


def test_cutout_fills_with_the_colour_it_is_given() -> None:
    transform = pipeline(32, crop_padding=0, hole=8, cutout_probability=1.0, cutout_fill=(10, 20, 30))
    transform.set_random_seed(1)
    changed = transform(image=np.full((32, 32, 3), 255, np.uint8))["image"]
    assert {tuple(pixel) for pixel in changed.reshape(-1, 3).tolist()} == {(10, 20, 30), (255, 255, 255)}


def test_the_crop_of_a_padded_image_moves_it_by_up_to_the_padding() -> None:
    transform = pipeline(32, crop_padding=4, hole=0, cutout_probability=0.0, cutout_fill=(0, 0, 0))
    transform.set_random_seed(2)
    image = np.zeros((32, 32, 3), np.uint8)
    image[16, 16] = 255
    places = [np.argwhere(transform(image=image)["image"][..., 0])[0] - 16 for _ in range(1500)]
    down, right = np.transpose(places)
    assert set(down) == set(right) == set(range(-4, 5))
    assert np.bincount(down + 4).min() > 1500 / 9 * 0.7


def test_the_asked_for_crop_changes_nothing_and_its_cutout_half_of_the_images(shapes: Data) -> None:
    batches = build_batches(recipe("seed", batch_size=400), shapes)
    images, originals = batches[0, 0].images.numpy(), shapes.train.images[batches.order(0)[:400]]
    touched = (images != originals).any(-1)  # (N, H, W)
    assert touched.any((1, 2)).mean() == pytest.approx(0.5, abs=0.1)
    hidden = images[touched]
    assert (hidden == 127).all()


@pytest.mark.parametrize("name", ["fast", "quick", "demo"])
def test_a_random_crop_that_crops_nothing_is_gone(shapes: Data, name: str) -> None:
    batches = build_batches(recipe(name, batch_size=200, flip="none", cutout=0), shapes)
    originals = shapes.train.images[batches.order(0)[:200]]
    unchanged = (batches[0, 0].images.numpy() == originals).all((1, 2, 3)).mean()
    padding = RECIPES[name].crop_padding
    assert unchanged < 3 / (2 * padding + 1) ** 2


def numbered(count: int) -> Split:
    """Images whose left half says which they are: (i, 0, 0); the right half is black."""
    images = np.zeros((count, 32, 32, 3), np.uint8)
    images[:, :, :16, 0] = np.arange(1, count + 1)[:, None, None]
    return Split(images, np.arange(count) % 2, ("even", "odd"))


def batches_of(split: Split, flip: Flip = "random", batch_size: int = 16, seed: int = 0) -> AugmentedBatches:
    transform = pipeline(32, crop_padding=4, hole=16, cutout_probability=1.0, cutout_fill=(9, 9, 9))
    return AugmentedBatches(split, transform, flip, batch_size, seed)


def test_an_epoch_shows_every_image_once_with_its_own_label() -> None:
    split = numbered(50)
    plain = pipeline(32, crop_padding=0, hole=0, cutout_probability=0.0, cutout_fill=(0, 0, 0))
    dataset = AugmentedBatches(split, plain, "none", 16, seed=0)
    assert len(dataset) == 4
    for epoch in range(2):
        batches = [dataset[epoch, number] for number in range(4)]
        assert [len(batch.labels) for batch in batches] == [16, 16, 16, 2]
        which = np.concatenate([batch.images[:, 0, 0, 0].numpy() for batch in batches]) - 1
        assert sorted(which) == list(range(50))
        np.testing.assert_array_equal(np.concatenate([batch.labels.numpy() for batch in batches]), which % 2)
    assert not np.array_equal(dataset.order(0), dataset.order(1))


def test_order_mirroring_and_batches_are_drawn_apart() -> None:
    """With seed, epoch and batch all 0, numpy's generator for (0,), (0, 0) and (0, 0, 0) would be the same one."""
    drawn = [np.random.default_rng((stream, 0)).random() for stream in Stream]
    assert len({round(number, 9) for number in drawn}) == len(Stream)
    split = numbered(2000)
    plain = pipeline(32, crop_padding=0, hole=0, cutout_probability=0.0, cutout_fill=(0, 0, 0))
    dataset = AugmentedBatches(split, plain, "alternating", 1000, seed=0)
    mirrored = [(dataset[0, number].images[:, 0, 0, 0] == 0).float().mean().item() for number in range(2)]
    assert mirrored == pytest.approx([0.5, 0.5], abs=0.08)  # those shown first are mirrored as often as the others


def same(one: Batch, other: Batch) -> bool:
    return bool((one.images == other.images).all() and (one.labels == other.labels).all())


def test_a_batch_depends_on_seed_epoch_and_number_only() -> None:
    split = numbered(48)
    dataset = batches_of(split)
    first = [dataset[position] for position in ((0, 0), (0, 1), (1, 0), (2, 2))]
    again = batches_of(split)
    assert same(again[2, 2], first[3])  # asked for in another order, by another object
    assert same(again[0, 0], first[0])
    assert same(dataset[0, 1], first[1])
    assert not same(batches_of(split, seed=1)[0, 0], first[0])


def test_two_epochs_differ_in_more_than_their_order() -> None:
    dataset = batches_of(numbered(16))
    epochs = [dataset[epoch, 0].images.numpy()[np.argsort(dataset.order(epoch))] for epoch in range(2)]
    assert (epochs[0] != epochs[1]).any((1, 2, 3)).mean() > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", list(RECIPES))
def test_workers_do_not_change_the_images(shapes: Data, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches a message, so two processes have work; the 27th batch of an epoch has 2 of the 600 images left."""
    monkeypatch.setattr("seefar.data.loader.IMAGES_A_MESSAGE", 2 * 23)
    positions = [(0, 1), (0, 25), (0, 26), (1, 1), (3, 2)]

    def made_by(workers: int) -> list[Batch]:
        dataset = build_batches(recipe(name, batch_size=23), shapes)
        with training_batches(dataset, positions, workers, pin_memory=False) as batches:
            return list(batches)

    alone, one, two = (made_by(workers) for workers in (0, 1, 2))
    assert [(batch.epoch, batch.number) for batch in two] == positions
    assert [len(batch.labels) for batch in two] == [23, 23, 2, 23, 23]
    for a, b, c in zip(alone, one, two, strict=True):
        assert same(a, b)
        assert same(a, c)


def test_alternating_flip_shows_each_image_both_ways_round_in_two_epochs() -> None:
    split = numbered(40)
    plain = pipeline(32, crop_padding=0, hole=0, cutout_probability=0.0, cutout_fill=(0, 0, 0))
    dataset = AugmentedBatches(split, plain, "alternating", 40, seed=5)

    def mirrored(epoch: int) -> np.ndarray:
        images = dataset[epoch, 0].images.numpy()[np.argsort(dataset.order(epoch))]
        return images[:, 0, 0, 0] == 0  # the number is on the right now

    assert 8 < mirrored(0).sum() < 32
    np.testing.assert_array_equal(mirrored(1), ~mirrored(0))
    np.testing.assert_array_equal(mirrored(2), mirrored(0))


def test_random_flip_mirrors_half_of_the_images() -> None:
    split = numbered(200)
    plain = pipeline(32, crop_padding=0, hole=0, cutout_probability=0.0, cutout_fill=(0, 0, 0))
    images = AugmentedBatches(split, plain, "random", 200, seed=5)[0, 0].images.numpy()
    assert (images[:, 0, 0, 0] == 0).mean() == pytest.approx(0.5, abs=0.15)


def test_a_reflected_border_by_hand() -> None:
    """The pixel at the edge is not repeated: of 0 1 2 ... 7, padded by 2, the row is 2 1 0 1 2 ... 7 6 5."""
    image = np.broadcast_to(np.arange(8, dtype=np.uint8)[None, :, None], (8, 8, 3)).copy()
    padded = pipeline(8, 2, 0, 0.0, (0,), "reflected")
    rows = {tuple(padded(image=image)["image"][0, :, 0].tolist()) for _ in range(200)}
    whole = (2, 1, 0, 1, 2, 3, 4, 5, 6, 7, 6, 5)
    assert rows == {whole[start : start + 8] for start in range(5)}
