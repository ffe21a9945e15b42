"""Pixels of stored images made to tell nothing, in the ways that the tests of maps need."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from seefar.data.images import Images
from seefar.names import HideName
from seefar.seeds import Stream

GREY = 128
Pixels = NDArray[np.bool_]  # (N, H, W)


def hide(images: Images, hidden: Pixels, how: HideName = "blur") -> Images:
    """The images with their hidden pixels replaced; the others are not touched.

    Args:
        images: uint8 (N, H, W, 3).
        hidden: bool (N, H, W).
        how: `blur`: each hidden pixel becomes the average of the visible ones around it, under a Gaussian an eighth
            of the image wide, so nothing of what was there shines through; `grey`: 128; `mean`: the average of the
            image's visible pixels. Where no pixel is visible, `blur` and `mean` give grey.
    """
    visible = ~hidden[..., None]
    if how == "grey":
        filled: NDArray[np.float64] = np.full(images.shape, float(GREY))
    else:
        shown = images * visible.astype(np.float64)
        weight = visible.astype(np.float64)
        if how == "blur":
            sigma = (0, images.shape[1] / 8, images.shape[2] / 8, 0)
            shown, weight = (gaussian_filter(part, sigma, mode="constant", truncate=6) for part in (shown, weight))
        else:
            shown, weight = (part.sum((1, 2), keepdims=True) for part in (shown, weight))
        known = weight > 1e-9
        filled = np.broadcast_to(np.where(known, shown / np.where(known, weight, 1), GREY), images.shape)
    return np.where(visible, images, filled.round().astype(np.uint8))


def blurred(images: Images) -> Images:
    """The whole images under the Gaussian that `hide` uses."""
    sigma = (0, images.shape[1] / 8, images.shape[2] / 8, 0)
    smooth: NDArray[np.float64] = gaussian_filter(images.astype(np.float64), sigma, mode="nearest")
    return smooth.round().astype(np.uint8)


def impute(images: Images, hidden: Pixels, noise: float = 2.55, seed: int = 0) -> Images:
    """Noisy linear imputation (Rong et al. 2022, arXiv 2202.00449): it hardly shows where pixels are missing.

    Each hidden pixel is the weighted mean of its up to eight neighbours, direct ones counting twice the diagonal ones,
    and all of these equations are solved together. They are those of a membrane held at the visible pixels: symmetric
    and positive definite as soon as one pixel is visible, so a banded Cholesky decomposition solves them exactly.
    An image without a visible pixel becomes grey.

    Args:
        images: uint8 (N, H, W, 3).
        hidden: bool (N, H, W).
        noise: standard deviation of what is added to hidden pixels, in grey levels; the paper's 0.01 of the range.
        seed: of the noise.
    """
    count, height, width = hidden.shape
    weights = _neighbours(height, width)
    imputed = np.array(images, dtype=np.float64, order="C")  # so that the rows below are views of it
    for image, gone in zip(imputed, hidden.reshape(count, -1), strict=True):
        if gone.all():
            image[:] = GREY
        elif gone.any():
            flat = image.reshape(-1, 3)
            flat[gone] = _solve(weights, flat, gone)[gone]
    drawn = np.random.default_rng((Stream.IMPUTE, seed)).normal(0, noise, images.shape)
    imputed += np.where(hidden[..., None], drawn, 0)
    return imputed.round().clip(0, 255).astype(np.uint8)


def _neighbours(height: int, width: int) -> dict[int, NDArray[np.float64]]:
    """For each distance in the flattened image, the weight of the pair (p - distance, p) at position p, or 0."""
    columns = np.tile(np.arange(width), height)
    rows = np.repeat(np.arange(height), width)
    right, down = columns > 0, rows > 0
    left = columns < width - 1
    weights = {1: 2 * right, width - 1: down & left, width: 2 * down, width + 1: down & right}
    return {distance: weight.astype(np.float64) for distance, weight in weights.items()}


def _solve(
    weights: dict[int, NDArray[np.float64]], known: NDArray[np.float64], gone: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """All pixels, (H * W, 3), with those that are gone in balance with their neighbours."""
    from scipy.linalg import solveh_banded  # here: only ROAD needs it, and every command would wait for it

    size, bandwidth = len(gone), max(weights)
    bands = np.zeros((bandwidth + 1, size))  # upper form: row bandwidth - d holds the entries (p - d, p)
    right = np.where(gone[:, None], 0.0, known)
    bands[-1] = ~gone  # a visible pixel's equation is: keep your value
    for distance, weight in weights.items():
        before, after = slice(None, size - distance), slice(distance, None)
        both = weight[after] * gone[before] * gone[after]
        bands[bandwidth - distance, after] = -both
        bands[-1, before] += weight[after] * gone[before]
        bands[-1, after] += weight[after] * gone[after]
        right[before] += (weight[after] * (gone[before] & ~gone[after]))[:, None] * known[after]
        right[after] += (weight[after] * (gone[after] & ~gone[before]))[:, None] * known[before]
    solution: NDArray[np.float64] = solveh_banded(bands, right, overwrite_ab=True, overwrite_b=True, check_finite=False)
    return solution
