"""Two views: predictions averaged over each image and its mirror image.

Two views cost twice as much as one. Their accuracy is always reported beside that of the single view.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from seefar.data.images import Labels, Split
from seefar.errors import DataError
from seefar.evaluation.metrics import wilson_interval
from seefar.evaluation.predictions import Predictions, predict
from seefar.model.inference import weights_fingerprint
from seefar.progress import Progress


@dataclass(frozen=True, eq=False)
class TwoViews:
    """Predictions from the mean of the probabilities for an image and for its mirror image.

    Attributes:
        log_probabilities: natural logarithm of the mean, float64 (N, K).
        accuracy: share of correct predictions; not comparable with single-view accuracies.
        interval: 95 % Wilson interval of the accuracy.
    """

    log_probabilities: NDArray[np.float64]
    accuracy: float
    interval: tuple[float, float]

    @property
    def predicted(self) -> Labels:
        """The more probable class, int64 (N,)."""
        return np.asarray(self.log_probabilities.argmax(1), dtype=np.int64)


def predict_two_views(
    model: nn.Module, split: Split, predictions: Predictions, *, progress: Progress | None = None
) -> TwoViews:
    """Predict the mirror images, and average the probabilities with those of the images.

    Raises:
        DataError: the predictions are of other weights or images.
    """
    if not predictions.are_for(split) or predictions.model != weights_fingerprint(model):
        raise DataError("The predictions are of other weights or images: predict these images first.")
    mirrored = replace(split, images=np.ascontiguousarray(split.images[:, :, ::-1]), masks=None)
    other = predict(model, mirrored, progress=progress)
    logs = np.logaddexp(predictions.log_probabilities, other.log_probabilities) - np.log(2)
    right = int((logs.argmax(1) == split.labels).sum())
    return TwoViews(logs, right / len(split), wilson_interval(right, len(split)))
