"""Do the pixels that a map ranks first matter most to the network? Exactly k are removed, and it is asked again.

Such scores reward blurry maps (arXiv 2304.13836), so a method's score means something beside the baselines' only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid

from seefar.data.images import Images, Labels
from seefar.maps.removal import blurred, hide, impute
from seefar.model.inference import compute_logits, log_softmax
from seefar.model.resnet import ResNet18
from seefar.seeds import Stream

CURVE_SHARES = tuple(step / 10 for step in range(11))
ROAD_SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)

Scores = NDArray[np.float64]  # (N,)
Ranks = NDArray[np.int64]  # (N, H, W), from `rank_pixels`, 0 for the pixel that counts most


def deletion(model: ResNet18, images: Images, classes: Labels, ranks: Ranks) -> Scores:
    """Area under the class's probability while pixels are removed, highest first (Petsiuk et al. 2018, 1806.07421).

    Removed pixels get the mean colour of those that are left. Lower is better.

    Args:
        model: the network.
        images: uint8 (N, H, W, 3).
        classes: whose probability is followed, int64 (N,).
        ranks: from `rank_pixels` of the map that `to_pixels` has laid over the image.
    """
    return _area(model, classes, lambda k: hide(images, ranks < k, "mean"), ranks)


def insertion(model: ResNet18, images: Images, classes: Labels, ranks: Ranks) -> Scores:
    """Area under the class's probability while pixels are shown, highest first, on the blurred image (ibid.).

    Higher is better. Arguments as `deletion`.
    """
    ground = blurred(images)
    return _area(model, classes, lambda k: np.where((ranks < k)[..., None], images, ground), ranks)


def road(model: ResNet18, images: Images, classes: Labels, ranks: Ranks) -> Scores:
    """ROAD (Rong et al. 2022, arXiv 2202.00449): removal by imputation, which does not show where pixels are missing.

    The class's probability with the lowest pixels removed minus that with the highest removed, averaged over
    ROAD_SHARES, and halved. Higher is better; a map that says nothing gets 0. Arguments as `deletion`.
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


def _area(model: ResNet18, classes: Labels, shown: Callable[[int], Images], ranks: Ranks) -> Scores:
    pixels = ranks[0].size if len(ranks) else 0
    curve = [_probability(model, shown(round(share * pixels)), classes) for share in CURVE_SHARES]
    area: Scores = trapezoid(curve, CURVE_SHARES, axis=0)
    return area


def _probability(model: ResNet18, images: Images, classes: Labels) -> Scores:
    chosen: Scores = np.exp(log_softmax(compute_logits(model, images)))[np.arange(len(classes)), classes]
    return chosen
