"""One map of any network over its picture: pictures that are not square, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import seefar
from seefar.errors import ChoiceError


@pytest.mark.parametrize("shape", [(40, 60), (60, 40)])
def test_the_outline_and_the_colours_are_where_the_evidence_is(shape: tuple[int, int]) -> None:
    picture = np.full((*shape, 3), 200, np.uint8)
    map_ = np.zeros((shape[0] // 4, shape[1] // 4), np.float32)
    map_[1:4, 1:3], map_[-3:, -3:] = 1.0, -1.0
    figure = seefar.plot_map(picture, map_, title="cat")
    axes = figure.axes[0]
    (shown,) = [image for image in axes.images if image.get_label() == "map"]
    pixels = np.asarray(shown.get_array(), dtype=np.int64)
    assert pixels.shape == (*shape, 3)
    for_class, against = pixels[8, 8], pixels[-4, -4]
    assert for_class[0] > for_class[2] + 50  # red
    assert against[2] > against[0] + 50  # blue
    left, right, bottom, top = shown.get_extent()
    assert (right - left) / (bottom - top) == pytest.approx(shape[1] / shape[0])
    width, height = figure.get_size_inches()
    assert 0 < left < right < width
    assert 0 < top < bottom < height


@pytest.mark.parametrize(("picture", "map_"), [((1, 32, 32, 3), (8, 8)), ((32, 32, 3), (1, 8, 8))])
def test_what_is_not_one_picture_and_one_map_is_refused(picture: tuple[int, ...], map_: tuple[int, ...]) -> None:
    with pytest.raises(ChoiceError):
        seefar.plot_map(np.zeros(picture, np.uint8), np.zeros(map_))
