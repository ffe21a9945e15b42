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

from seefar.data.images import Images, Labels
from seefar.maps.logits import Model, logits_of
from seefar.maps.removal import blurred, hide, impute
from seefar.model.inference import log_softmax
from seefar.seeds import Stream

CURVE_SHARES = tuple(step / 10 for step in range(11))
ROAD_SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)

Scores = NDArray[np.float64]  # (N,)
Ranks = NDArray[np.int64]  # (N, H, W), from `rank_pixels`, 0 for the pixel that counts most


def deletion(model: Model, images: Images, classes: Labels, ranks: Ranks) -> Scores:
    """Area under the class's probability while pixels are removed, highest first (Petsiuk et al. 2018, 1806.07421).

    Removed pixels get the mean colour of those that are left. Lower is better.

    Args:
        model: a `ResNet18`; another torch module, of pictures in float32 (n, 3, H, W) in 0 to 1; or a function of
            stored images, uint8 (n, H, W, 3). It gives logits (n, K).
        images: uint8 (N, H, W, 3).
        classes: whose probability is followed, int64 (N,).
        ranks: from `rank_pixels` of maps that `to_pixels` has enlarged to the images, int64 (N, H, W).

    Returns:
        float64 (N,).

    Example:
        >>> import seefar
        >>> image = np.zeros((1, 8, 8, 3), np.uint8)
        >>> image[:, :, :4, 0] = 255  # the left half is red
        >>> red = lambda images: images.mean((1, 2)) / 10  # a model that sees colours; class 0 is red
        >>> best = seefar.rank_pixels(image[..., 0].astype(np.float32))  # the red pixels first
        >>> bool(seefar.deletion(red, image, [0], best)[0] < seefar.deletion(red, image, [0], 63 - best)[0])
        True
    """
    return _area(model, classes, lambda k: hide(images, ranks < k, "mean"), ranks)


def insertion(model: Model, images: Images, classes: Labels, ranks: Ranks) -> Scores:
    """Area under the class's probability while pixels are shown, highest first, on the blurred image (ibid.).

    Higher is better. Arguments as `deletion`.

    Example:
        >>> import seefar
        >>> image = np.zeros((1, 8, 8, 3), np.uint8)
        >>> image[:, :, :4, 0] = 255  # the left half is red
        >>> red = lambda images: images.mean((1, 2)) / 10  # a model that sees colours; class 0 is red
        >>> best = seefar.rank_pixels(image[..., 0].astype(np.float32))  # the red pixels first
        >>> bool(seefar.insertion(red, image, [0], best)[0] > seefar.insertion(red, image, [0], 63 - best)[0])
        True
    """
    ground = blurred(images)
    return _area(model, classes, lambda k: np.where((ranks < k)[..., None], images, ground), ranks)


def road(model: Model, images: Images, classes: Labels, ranks: Ranks) -> Scores:
    """ROAD (Rong et al. 2022, arXiv 2202.00449): removal by imputation, which does not show where pixels are missing.

    The class's probability with the lowest pixels removed minus that with the highest removed, averaged over
    ROAD_SHARES, and halved. Higher is better; a map that shows nothing gets 0. Arguments as `deletion`.

    Example:
        >>> import seefar
        >>> image = np.zeros((1, 8, 8, 3), np.uint8)
        >>> image[:, :, :4, 0] = 255  # the left half is red
        >>> red = lambda images: images.mean((1, 2)) / 10  # a model that sees colours; class 0 is red
        >>> best = seefar.rank_pixels(image[..., 0].astype(np.float32))  # the red pixels first
        >>> bool(seefar.road(red, image, [0], best)[0] > seefar.road(red, image, [0], 63 - best)[0])
        True
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


def _area(model: Model, classes: Labels, shown: Callable[[int], Images], ranks: Ranks) -> Scores:
    pixels = ranks[0].size if len(ranks) else 0
    curve = [_probability(model, shown(round(share * pixels)), classes) for share in CURVE_SHARES]
    area: Scores = trapezoid(curve, CURVE_SHARES, axis=0)
    return area


def _probability(model: Model, images: Images, classes: Labels) -> Scores:
    chosen: Scores = np.exp(log_softmax(logits_of(model, images)))[np.arange(len(classes)), classes]
    return chosen
