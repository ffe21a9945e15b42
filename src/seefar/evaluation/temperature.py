"""Temperature scaling: one number, fitted on held-out images, that makes a network as sure as it should be."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from seefar.evaluation.calibration import check_logits
from seefar.model.inference import log_softmax

TEMPERATURES = (0.05, 20.0)
"""Where `fit_temperature` looks: images that are all answered rightly have no best temperature, only a limit."""


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature that makes the labels most probable: above 1 if the network is too sure.

    One number for all logits, so no answer changes (Guo et al. 2017, arXiv 1706.04599). Fit it on held-out training
    images, never on the test set, and not on images that the network was trained on, of which it is too sure.

    Args:
        logits: float (N, K) of held-out images.
        labels: int (N,), their true classes.

    Returns:
        The temperature, within `TEMPERATURES`.

    Raises:
        DataError: the shapes do not fit, or there is no image.

    Example:
        >>> import numpy as np
        >>> logits = np.array([[4.0, 0.0]] * 4)  # 98 % sure, right in 3 of 4 cases
        >>> temperature = fit_temperature(logits, np.array([0, 0, 0, 1]))
        >>> round(float(1 / (1 + np.exp(-4 / temperature))), 3)
        0.75
    """
    from scipy.optimize import minimize_scalar  # here: most commands need it not, and it takes a while

    check_logits(logits, labels)
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return float(-log_softmax(logits / math.exp(log_temperature))[rows, labels].mean())

    low, high = (math.log(end) for end in TEMPERATURES)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return math.exp(float(found.x))
