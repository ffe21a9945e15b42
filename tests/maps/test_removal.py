from __future__ import annotations

import numpy as np
import pytest

from seefar.maps.removal import blurred, hide, impute


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
    assert (impute(images, np.ones((2, 16, 16), bool), noise=0) == 128).all()


def test_imputation_puts_hidden_pixels_in_balance_with_their_neighbours() -> None:
    """One pixel: (2 * its four neighbours + its four diagonal ones) / 12."""
    image = np.zeros((1, 16, 16, 3), np.uint8)
    image[0, 4, 5], image[0, 5, 6], image[0, 6, 6] = 120, 60, 240
    hidden = np.zeros((1, 16, 16), bool)
    hidden[0, 5, 5] = True
    assert impute(image, hidden, noise=0)[0, 5, 5].tolist() == [(2 * 120 + 2 * 60 + 240) / 12] * 3


def test_imputation_solves_all_equations_together() -> None:
    """A slope is in balance everywhere, so any hole in it is filled as it was; the border has fewer neighbours."""
    slope = np.broadcast_to((10 + 15 * np.arange(16))[None, None, :, None], (1, 16, 16, 3)).astype(np.uint8)
    hidden = np.zeros((1, 16, 16), bool)
    hidden[0, 2:14, 3:13] = True
    np.testing.assert_array_equal(impute(slope, hidden, noise=0), slope)
    corner = np.zeros((1, 16, 16), bool)
    corner[0, 0, 0] = True
    # (0, 1) and (1, 0) count twice, (1, 1) once: (2 * 25 + 2 * 10 + 25) / 5 = 19.
    assert impute(slope, corner, noise=0)[0, 0, 0].tolist() == [19] * 3


def test_imputation_agrees_with_a_dense_solver(images: np.ndarray) -> None:
    hidden = np.random.default_rng(1).random((2, 16, 16)) < 0.6
    found = impute(images, hidden, noise=0)
    for image, gone, result in zip(images.astype(float), hidden, found, strict=True):
        matrix, right = np.eye(256), image.reshape(256, 3).copy()
        for row, column in np.argwhere(gone):
            p = row * 16 + column
            matrix[p], right[p] = 0, 0
            for dy, dx in [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]:
                if 0 <= row + dy < 16 and 0 <= column + dx < 16:
                    weight = 1 if dy and dx else 2
                    matrix[p, p] += weight
                    matrix[p, p + 16 * dy + dx] -= weight
        expected = np.linalg.solve(matrix, right).reshape(16, 16, 3)
        np.testing.assert_allclose(result, expected, atol=0.501)


def test_imputation_leaves_visible_pixels_and_adds_noise_to_the_others(images: np.ndarray) -> None:
    hidden = np.random.default_rng(1).random((2, 16, 16)) < 0.5
    noisy, calm = impute(images, hidden, noise=5), impute(images, hidden, noise=0)
    np.testing.assert_array_equal(noisy[~hidden], images[~hidden])
    assert 4 < (noisy.astype(float) - calm)[hidden].std() < 6
    np.testing.assert_array_equal(noisy, impute(images, hidden, noise=5))


def test_a_flat_image_stays_flat_under_the_blur() -> None:
    flat = np.full((1, 16, 16, 3), 77, np.uint8)
    np.testing.assert_array_equal(blurred(flat), flat)
