"""Two views: test-time augmentation by the mirror image, always reported beside the single view and under this name."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from seefar.data.images import Labels, Split
from seefar.errors import DataError
from seefar.evaluation.metrics import wilson_interval
from seefar.evaluation.predictions import Predictions, predict
from seefar.progress import Progress


@dataclass(frozen=True, eq=False)
class TwoViews:
    """Answers from the mean of the probabilities for an image and for its mirror image.

    Attributes:
        log_probabilities: natural logarithm of the mean, float64 (N, K).
        accuracy: share of right answers; not to be compared with single-view accuracies.
        interval: its 95 % Wilson interval.
    """

    log_probabilities: NDArray[np.float64]
    accuracy: float
    interval: tuple[float, float]

    @property
    def predicted(self) -> Labels:
        """The more probable class, int64 (N,); `accuracy_views` takes them."""
        return np.asarray(self.log_probabilities.argmax(1), dtype=np.int64)


def predict_two_views(
    model: nn.Module, split: Split, predictions: Predictions, *, progress: Progress | None = None
) -> TwoViews:
    """The answers of two views; they cost a second evaluation.

    Args:
        model: the network.
        split: the images.
        predictions: of the model for these images as they are.
        progress: see `seefar.progress`.

    Raises:
        DataError: the predictions are of other weights or images.

    Example:
        >>> import seefar
        >>> from seefar.data.shapes import load_shapes
        >>> test, model = load_shapes(train=20, test=30).test, seefar.ResNet18(width=2).eval()
        >>> single = seefar.predict(model, test, progress=seefar.SILENT)
        >>> predict_two_views(model, test, single, progress=seefar.SILENT).log_probabilities.shape
        (30, 10)
    """
    if not predictions.are_of(model, split):
        raise DataError("The predictions are not of this model and these images: predict them first.")
    mirrored = replace(split, images=np.ascontiguousarray(split.images[:, :, ::-1]), masks=None)
    other = predict(model, mirrored, progress=progress)
    logs = np.logaddexp(predictions.log_probabilities, other.log_probabilities) - np.log(2)
    right = int((logs.argmax(1) == split.labels).sum())
    return TwoViews(logs, right / len(split), wilson_interval(right, len(split)))
