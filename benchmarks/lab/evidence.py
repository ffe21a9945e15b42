"""Evidence about mistakes that adds nothing to the loss, so no verdict depends on it; see `results/verdicts.json`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import seefar
from seefar.data.images import Labels, Split
from seefar.evaluation.predictions import Predictions
from seefar.model.inference import log_softmax, true_float32

Floats = NDArray[np.float64]
NEAREST = 50
"""Training images whose labels are counted around each mistake."""
ROWS = 256
"""Mistakes at a time: 50 MB for each 50,000 training images."""


def training_predictions(run: seefar.Run, train: Split, saved: str | None) -> Predictions:
    """Predictions of the training images, which take minutes: read from a file if there is one."""
    if saved and Path(saved).exists():
        return Predictions.load(saved)
    training = seefar.predict(run.model, train, stage="features of the training images")
    if saved:
        training.save(saved)
    return training


def neighbour_shares(
    features: NDArray[np.float32],
    classes: NDArray[np.int64],
    bank: NDArray[np.float32],
    labels: Labels,
    *,
    weights: NDArray[np.float32] | None = None,
    count: int = NEAREST,
) -> Floats:
    """Shares of the nearest training images that have given labels, float64 (M, G); near is a large cosine of features.

    With weights, float32 (M, C), the cosine is sum(w a b) / sqrt(sum(w a a) sum(w b b)): with `|w_P - w_T|`, the last
    layer's weights of the predicted and of the true class, only the features that decided between the two count.
    Neighbours chosen so helped people to find a model's errors (arXiv 2507.06029).

    Args:
        features: of M mistakes, float32 (M, C), 0 or more, as they enter the last layer.
        classes: int (M, G), the classes that are counted for each mistake.
        bank: features of the training images, float32 (B, C).
        labels: their labels, int (B,).
        weights: 0 or more, float32 (M, C); None: all 1.
        count: how many training images are the nearest; fewer if the bank has fewer.
    """
    shares = np.empty(classes.shape)
    known, squares = torch.from_numpy(bank), torch.from_numpy(bank).square()
    for start in range(0, len(features), ROWS):
        rows = slice(start, start + ROWS)
        asked = torch.from_numpy(features[rows])
        weight = torch.ones_like(asked) if weights is None else torch.from_numpy(weights[rows])
        with true_float32():
            norms = (weight @ squares.T).clamp(min=1e-12).sqrt()  # the query's own norm does not change the order
            near = ((asked * weight) @ known.T / norms).topk(min(count, len(bank))).indices.numpy()
        shares[rows] = (labels[near][:, None, :] == classes[rows, :, None]).mean(2)
    return shares


def doubt(logits: NDArray[np.float32], index: NDArray[np.int64], labels: Labels, temperature: float) -> Floats:
    """Margin, and entropy of all classes in bits, of mistakes (their indices) after temperature scaling, (M, 2)."""
    logs = log_softmax(logits[index] / temperature)
    shares = np.exp(logs)
    margins = shares.max(1) - shares[np.arange(len(index)), labels[index]]
    return np.stack([margins, -(shares * logs).sum(1) / np.log(2)], axis=1)
