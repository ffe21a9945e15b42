from __future__ import annotations

import numpy as np

from seefar.data import Data
from seefar.data.shapes import SHAPES


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
