from __future__ import annotations

import numpy as np
import pytest

from seefar.data import Data
from seefar.data.images import channel_statistics
from seefar.errors import DataError


def test_statistics_are_over_all_pixels_of_all_images() -> None:
    # Red: one image all 0, one all 255: mean 0.5, deviation 0.5 over pixels; within each image it would be 0.
    images = np.zeros((2, 4, 4, 3), np.uint8)
    images[1, ..., 0] = 255
    images[..., 1] = 51  # 0.2 everywhere
    images[:, :2, :, 2] = 255  # half of each image
    mean, deviation = channel_statistics(images)
    np.testing.assert_allclose(mean, (0.5, 0.2, 0.5), atol=1e-12)
    np.testing.assert_allclose(deviation, (0.5, 0.0, 0.5), atol=1e-12)


def test_statistics_of_more_images_than_are_counted_at_a_time_are_numpys(shapes: Data) -> None:
    assert len(shapes.train) == 600  # more than 500, and no multiple of it
    scaled = shapes.train.images / 255
    mean, deviation = channel_statistics(shapes.train.images)
    np.testing.assert_allclose(mean, scaled.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(deviation, scaled.std(axis=(0, 1, 2)), rtol=1e-12)


def test_held_out_images_are_taken_from_the_training_images_and_from_nowhere_else(shapes: Data) -> None:
    kept, held_out = shapes.hold_out(100, seed=3)
    assert len(kept.train) == 500
    assert len(held_out) == 100
    assert kept.test is shapes.test
    found = sorted(image.tobytes() for image in (*kept.train.images, *held_out.images))
    assert found == sorted(image.tobytes() for image in shapes.train.images)
    again, _ = shapes.hold_out(100, seed=3)
    np.testing.assert_array_equal(again.train.labels, kept.train.labels)
    other, _ = shapes.hold_out(100, seed=4)
    assert not np.array_equal(other.train.images, kept.train.images)


def test_holding_out_nothing_changes_nothing(shapes: Data) -> None:
    kept, held_out = shapes.hold_out(0, seed=0)
    assert kept is shapes
    assert len(held_out) == 0


def test_holding_out_everything_is_refused(shapes: Data) -> None:
    with pytest.raises(DataError, match="600 training images, 600 cannot be held out"):
        shapes.hold_out(600, seed=0)


def test_the_fingerprint_tells_one_changed_pixel_and_one_changed_label(shapes: Data) -> None:
    images, labels = shapes.train.images.copy(), shapes.train.labels.copy()
    images[5, 6, 7, 1] ^= 1
    labels[3] = (labels[3] + 1) % 10
    from seefar.data import Split

    classes = shapes.classes
    others = [Split(images, shapes.train.labels, classes), Split(shapes.train.images, labels, classes)]
    prints = {Data("shapes", split, shapes.test).fingerprint for split in (shapes.train, *others)}
    assert len(prints) == 3
