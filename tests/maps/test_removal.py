from __future__ import annotations

import numpy as np
import pytest

from seefar.explanation.occlusion import hide


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize("how", ["blur", "grey", "mean"])
def test_nothing_of_what_was_hidden_is_left_and_nothing_else_is_touched(images: np.ndarray, how: str) -> None:
    hidden = np.zeros((2, 16, 16), bool)
    hidden[0, 3:9, 5:12] = True
    other = images.copy()
    other[hidden] = 255 - other[hidden]
    first, second = hide(images, hidden, how), hide(other, hidden, how)  # type: ignore[arg-type]
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first[~hidden], images[~hidden])
    np.testing.assert_array_equal(first[1], images[1])


def test_what_takes_its_place() -> None:
    image = np.full((1, 16, 16, 3), 40, np.uint8)
    image[0, :, 8:] = 200
    hidden = np.zeros((1, 16, 16), bool)
    hidden[0, 0, 0] = hidden[0, 0, 15] = True
    assert hide(image, hidden, "grey")[0, 0, 0].tolist() == [128] * 3
    assert hide(image, hidden, "mean")[0, 0, 0].tolist() == [120] * 3  # 127 of each colour are visible
    # The Gaussian is 2 pixels wide: 8 away nothing is left of the other colour.
    blur = hide(image, hidden, "blur")
    assert (blur[0, 0, 0, 0], blur[0, 0, 15, 0]) == (40, 200)
    hidden[0, :, 7] = hidden[0, :, 8] = True
    middle = hide(image, hidden, "blur")[0, 8, 7:9, 0].astype(int)
    assert 40 < middle[0] < 120 < middle[1] < 200
    assert middle.sum() == pytest.approx(240, abs=1)  # the mirror image of each other


@pytest.mark.parametrize("how", ["blur", "grey", "mean"])
def test_an_image_without_a_visible_pixel_is_grey(images: np.ndarray, how: str) -> None:
    assert (hide(images, np.ones((2, 16, 16), bool), how) == 128).all()  # type: ignore[arg-type]
