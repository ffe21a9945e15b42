from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch

import seefar
from seefar.data import Data, Split
from seefar.data.images import channel_statistics
from seefar.data.shapes import SHAPES
from seefar.errors import DataError


def test_statistics_are_over_all_pixels_of_all_images(shapes: Data) -> None:
    # Red: one image all 0, one all 255: mean 0.5, deviation 0.5 over pixels; within each image it would be 0.
    images = np.zeros((2, 4, 4, 3), np.uint8)
    images[1, ..., 0] = 255
    images[..., 1] = 51  # 0.2 everywhere
    mean, deviation = channel_statistics(images)
    np.testing.assert_allclose(mean, (0.5, 0.2, 0), atol=1e-12)
    np.testing.assert_allclose(deviation, (0.5, 0, 0), atol=1e-12)
    assert len(shapes.train) == 600  # more than the 500 that are counted at a time, and no multiple of it
    scaled = shapes.train.images / 255
    mean, deviation = channel_statistics(shapes.train.images)
    np.testing.assert_allclose(mean, scaled.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(deviation, scaled.std(axis=(0, 1, 2)), rtol=1e-12)


def test_held_out_images_are_taken_from_the_training_images_and_from_nowhere_else(shapes: Data) -> None:
    kept, held_out = shapes.hold_out(100, seed=3)
    assert (len(kept.train), len(held_out)) == (500, 100)
    found = sorted(image.tobytes() for image in (*kept.train.images, *held_out.images))
    assert found == sorted(image.tobytes() for image in shapes.train.images)
    again, other = (shapes.hold_out(100, seed)[0].train.fingerprint for seed in (3, 4))
    assert again == kept.train.fingerprint != other
    assert shapes.hold_out(0, seed=0)[0] is shapes
    with pytest.raises(DataError, match="600 cannot be held out"):
        shapes.hold_out(600, seed=0)


def test_the_fingerprint_is_of_pixels_and_labels(shapes: Data) -> None:
    """SHA-256 of the pixels, then of the labels as int64: run folders hold it, and must be found to match."""
    images, labels = shapes.train.images.copy(), shapes.train.labels.copy()
    expected = hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest()
    assert shapes.train.fingerprint == expected
    images[5, 6, 7, 1] ^= 1
    assert Split(images, labels, shapes.classes).fingerprint != expected


IMAGES = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)
CLASSES = ("cat", "dog")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"images": np.zeros((2, 8, 8, 3))}, "float64"),
        ({"images": np.full((2, 8, 8, 3), 256)}, "int64 .*256 to 256"),
        ({"images": np.zeros((2, 3, 8, 8), np.uint8)}, r"\(2, 3, 8, 8\)"),
        ({"images": np.zeros((2, 7, 9, 3), np.uint8)}, "8x8.*7x9"),
        ({"images": [np.zeros((8, 8, 3)), np.zeros((9, 9, 3))]}, "cannot be read as one array"),
        ({"labels": [0, 2]}, r"labels must be 0 to 1 for 2 classes; labels\[1\] is 2 \(1 of 2"),
        ({"labels": [0, 1, 1]}, r"labels must be \(2,\).*\(3,\)"),
        ({"labels": [0.0, 1.0]}, "labels must be integers"),
        ({"labels": ["cat", "dog"]}, "labels must be numbers in one array"),
        ({"classes": "cat"}, "names of at least two classes"),
        ({"classes": [*map(str, range(1001))]}, r"1,000 names \(got 1,001\)"),
        ({"classes": ("cat", "cat")}, "cat appears more than once"),
        ({"masks": np.zeros((2, 4, 4), bool)}, r"masks must .*\(2, 8, 8\).*\(2, 4, 4\)"),
        ({"files": ("a.png",)}, "one name for each of the 2 images .got 1"),
    ],
)
def test_fields_that_do_not_fit_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Split(**{"images": IMAGES, "labels": [0, 1], "classes": CLASSES, **fields})


def test_harmless_variants_are_converted() -> None:
    """Lists, other integers, a mirrored view, a read-only array, a column of labels."""
    frozen = IMAGES.copy()
    frozen.flags.writeable = False
    for images in (IMAGES[:, :, ::-1], frozen, IMAGES.tolist(), IMAGES.astype(np.int64)):
        split = Split(images, np.array([[0], [1]], np.int32), list(CLASSES), files=[Path("a.png"), "b.png"])  # type: ignore[arg-type]
        np.testing.assert_array_equal(split.images, images)
        assert torch.from_numpy(split.images).is_contiguous()  # torch takes no negative strides
        assert (split.images.dtype, split.labels.dtype, split.labels.shape) == (np.uint8, np.int64, (2,))
        assert (split.classes, split.files) == (CLASSES, ("a.png", "b.png"))
    assert Split(IMAGES, [0, 1], ["\x1b[31mcat", "dog"]).classes == (r"\x1b[31mcat", "dog")  # safe in a terminal
    assert Split(IMAGES, [0, 1], CLASSES).images is IMAGES  # and nothing is copied without need


def test_taking_images_takes_all_of_them(shapes: Data) -> None:
    names = tuple(f"{number}.png" for number in range(150))
    split = Split(shapes.test.images, shapes.test.labels, shapes.classes, shapes.test.masks, names)
    some = split.take([7, 3])
    np.testing.assert_array_equal(some.images, split.images[[7, 3]])
    np.testing.assert_array_equal(some.masks, np.asarray(split.masks)[[7, 3]])  # type: ignore[arg-type]
    assert some.files == ("7.png", "3.png")
    assert split.take(split.labels == 4).labels.tolist() == [4] * 15


def test_splits_that_do_not_fit_each_other_are_refused() -> None:
    one = Split(IMAGES, [0, 1], CLASSES)
    with pytest.raises(DataError, match="they differ in dog, fox"):
        Data("mine", one, Split(IMAGES, [0, 1], ("cat", "fox")))
    with pytest.raises(DataError, match=r"same size \(got 8x8 and 16x16"):
        Data("mine", one, Split(np.zeros((1, 16, 16, 3), np.uint8), [0], CLASSES))


# ---- The built-in shapes ----


def test_classes_are_balanced_and_no_test_image_is_a_training_image(shapes: Data) -> None:
    assert shapes.classes == tuple(SHAPES)
    assert np.bincount(shapes.train.labels).tolist() == [60] * 10
    assert np.bincount(shapes.test.labels).tolist() == [15] * 10
    train = {image.tobytes() for image in shapes.train.images}
    assert not any(image.tobytes() in train for image in shapes.test.images)


def test_masks_have_the_form_of_their_class(shapes: Data) -> None:
    masks, labels = shapes.train.masks, shapes.train.labels
    assert masks is not None
    y, x = np.mgrid[:32, :32]

    def fill(name: str) -> float:
        """Mean share of the bounding box that the shape covers."""
        shares = []
        for mask in masks[labels == tuple(SHAPES).index(name)]:
            height, width = np.ptp(y[mask]) + 1, np.ptp(x[mask]) + 1
            shares.append(mask.sum() / (height * width))
        return float(np.mean(shares))

    assert abs(fill("circle") - np.pi / 4) < 0.05
    assert fill("ring") < fill("circle") - 0.15
    assert fill("cross") < 0.6 < fill("square")


def test_shapes_are_drawn_once_and_again_if_their_file_is_damaged(
    few: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = Mock(return_value=few)
    monkeypatch.setattr("seefar.data.shapes.load_shapes", draw)
    monkeypatch.setenv("SEEFAR_CACHE", str(tmp_path / "cache"))
    for damaged in (False, True):
        if damaged:
            (file,) = (tmp_path / "cache").iterdir()
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 1
            file.write_bytes(content)
        for _ in range(2):
            data = seefar.load_data("shapes")
            for found, drawn in ((data.train, few.train), (data.test, few.test)):
                assert (found.fingerprint, found.classes) == (drawn.fingerprint, drawn.classes)
                assert found.masks is not None
                assert np.array_equal(found.masks, drawn.masks)
    assert draw.call_count == 2
    monkeypatch.setenv("SEEFAR_CACHE", str(file / "no folder"))
    assert seefar.load_data("shapes").test.fingerprint == few.test.fingerprint
