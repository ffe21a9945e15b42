from __future__ import annotations

import numpy as np

from seefar.data import Data
from seefar.data.shapes import SHAPES, load_shapes, plant_shortcut


def test_the_same_seed_gives_the_same_images_and_another_seed_others() -> None:
    one, same, other = load_shapes(20, 10), load_shapes(20, 10), load_shapes(20, 10, seed=1)
    np.testing.assert_array_equal(one.train.images, same.train.images)
    np.testing.assert_array_equal(one.test.masks, same.test.masks)
    assert not np.array_equal(one.train.images, other.train.images)


def test_classes_are_balanced_and_no_test_image_is_a_training_image(shapes: Data) -> None:
    assert shapes.classes == tuple(SHAPES)
    assert np.bincount(shapes.train.labels).tolist() == [60] * 10
    assert np.bincount(shapes.test.labels).tolist() == [15] * 10
    train = {image.tobytes() for image in shapes.train.images}
    assert not any(image.tobytes() in train for image in shapes.test.images)


def test_the_mask_is_where_the_shape_is(shapes: Data) -> None:
    masks = shapes.train.masks
    assert masks is not None
    assert masks.shape == (600, 32, 32)
    area = masks.mean((1, 2))
    assert area.min() > 0.02
    assert area.max() < 0.6
    # Inside the mask one colour and noise; so the pixels there vary less than those of the whole image.
    inside = np.array([image[mask].std(0).mean() for image, mask in zip(shapes.train.images, masks, strict=True)])
    whole = shapes.train.images.std((1, 2)).mean(1)
    assert (inside < whole).mean() > 0.95


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

    def centre_is_covered(name: str) -> float:
        hits = [
            mask[round(y[mask].mean()), round(x[mask].mean())] for mask in masks[labels == tuple(SHAPES).index(name)]
        ]
        return float(np.mean(hits))

    assert centre_is_covered("ring") == 0
    assert centre_is_covered("heart") == 1


def test_a_planted_shortcut_is_a_magenta_patch_where_the_mask_says(shapes: Data) -> None:
    planted = plant_shortcut(shapes.train, 0.25, label=3)
    assert planted.masks is not None
    assert shapes.train.masks is not None
    patched = planted.masks.any((1, 2))
    assert patched.sum() == 150
    assert (planted.masks[patched].sum((1, 2)) == 64).all()
    assert (planted.images[planted.masks] == (255, 0, 255)).all()
    np.testing.assert_array_equal(planted.images[~planted.masks], shapes.train.images[~planted.masks])
    assert (planted.labels[patched] == 3).all()
    np.testing.assert_array_equal(planted.labels[~patched], shapes.train.labels[~patched])
    covered = (planted.masks & shapes.train.masks).sum((1, 2))[patched]
    assert (covered == 0).mean() > 0.8  # the shape stays visible where it leaves room
    assert covered.max() < 32
    assert len({tuple(np.argwhere(mask)[0]) for mask in planted.masks[patched]}) > 50
    kept = plant_shortcut(shapes.train, 1.0)
    np.testing.assert_array_equal(kept.labels, shapes.train.labels)
    assert kept.masks is not None
    assert kept.masks.any((1, 2)).all()
