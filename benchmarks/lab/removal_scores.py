"""Removal scores of maps: deletion, insertion, ROAD; for any model.

Exactly k of the pixels that a map ranks first are removed, and the probability of the class is followed. Such scores
reward blurry maps (arXiv 2304.13836), so a method's score means something beside the baselines' only: `random_map`,
`centre_blob` and `sobel_edges`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid
from scipy.linalg import solveh_banded
from scipy.ndimage import gaussian_filter
from torch import nn

from seefar.data.images import Images, Labels
from seefar.explanation.occlusion import GREY, Pixels, hide
from seefar.model.adapt import Classifier, adapt
from seefar.model.inference import log_softmax
from seefar.seeds import Stream

CURVE_SHARES = tuple(step / 10 for step in range(11))
ROAD_SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)

Scores = NDArray[np.float64]  # (N,)
Ranks = NDArray[np.int64]  # (N, H, W), from `rank_pixels`, 0 for the pixel that counts most


def deletion(model: nn.Module | Classifier, images: Images, classes: Labels, ranks: Ranks) -> Scores:
    """Area under the class's probability while pixels are removed, highest first (Petsiuk et al. 2018, 1806.07421).

    Removed pixels get the mean colour of those that are left. Lower is better. Ranks are those of `rank_pixels`, for
    `model` see `seefar.adapt`, and scores float64 (N,).
    """
    return _area(model, classes, lambda k: hide(images, ranks < k, "mean"), ranks)


def insertion(model: nn.Module | Classifier, images: Images, classes: Labels, ranks: Ranks) -> Scores:
    """Area under the class's probability while pixels are shown, highest first, on the blurred image (ibid.).

    Higher is better. Arguments as `deletion`.
    """
    ground = blurred(images)
    return _area(model, classes, lambda k: np.where((ranks < k)[..., None], images, ground), ranks)


def road(model: nn.Module | Classifier, images: Images, classes: Labels, ranks: Ranks) -> Scores:
    """ROAD (Rong et al. 2022, arXiv 2202.00449): removal by imputation, which does not show where pixels are missing.

    The class's probability with the lowest pixels removed minus that with the highest removed, averaged over
    ROAD_SHARES, and halved. Higher is better; a map that shows nothing gets 0. Arguments as `deletion`.
    """
    pixels = ranks[0].size if len(ranks) else 0
    score = np.zeros(len(images))
    for share in ROAD_SHARES:
        k = round(share * pixels)
        lowest, highest = (
            _probability(model, impute(images, hidden), classes) for hidden in (ranks >= pixels - k, ranks < k)
        )
        score += (lowest - highest) / (2 * len(ROAD_SHARES))
    return score


def bootstrap_interval(values: Scores, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean, by drawing the images anew. Of differences between two methods: a paired interval."""
    chosen = np.random.default_rng((Stream.BOOTSTRAP, seed)).integers(0, len(values), (draws, len(values)))
    low, high = np.quantile(values[chosen].mean(1), (0.025, 0.975))
    return float(low), float(high)


def _area(model: nn.Module | Classifier, classes: Labels, shown: Callable[[int], Images], ranks: Ranks) -> Scores:
    pixels = ranks[0].size if len(ranks) else 0
    curve = [_probability(model, shown(round(share * pixels)), classes) for share in CURVE_SHARES]
    area: Scores = trapezoid(curve, CURVE_SHARES, axis=0)
    return area


def _probability(model: nn.Module | Classifier, images: Images, classes: Labels) -> Scores:
    chosen: Scores = np.exp(log_softmax(adapt(model).logits(images)))[np.arange(len(classes)), classes]
    return chosen


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
    An image without a visible pixel becomes grey. The noise is in grey levels; by default the paper's 0.01 of the
    range.
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
