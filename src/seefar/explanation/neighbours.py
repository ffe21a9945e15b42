"""Nearest training images of each mistake, from the predicted and from the true class; near-duplicates.

Examples from the training set help people to predict a network's decisions at least as much as maps do (Nguyen et al.
2021, arXiv 2105.14944). Near means similar to the network: a small angle between the features that enter its last
layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seefar.data.images import Data
from seefar.errors import DataError, counted
from seefar.evaluation.predictions import Predictions
from seefar.explanation.leaks import Duplicate, find_duplicates, nearest
from seefar.runs.arrays import load_arrays, save_arrays

COUNT = 3
"""Neighbours of each class."""

Indices = NDArray[np.int64]
Distances = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Neighbours:
    """The nearest training images of M mistakes, and the test images that are nearly training images.

    Attributes:
        index: data set indices of the mistakes, int64 (M,), ascending.
        of_predicted, of_true: indices of the nearest training images of either class, int64 (M, 3), the nearest first;
            -1 where the class has fewer.
        distance_predicted, distance_true: their cosine distances, float64 (M, 3), 0 to 2; nan for -1.
        duplicates: test images, mistakes or not, that are nearly training images.
        model, training, images: fingerprints of the weights, and of training and test images with their labels.
    """

    index: Indices
    of_predicted: Indices
    of_true: Indices
    distance_predicted: Distances
    distance_true: Distances
    duplicates: tuple[Duplicate, ...]
    model: str
    training: str
    images: str

    def __repr__(self) -> str:
        mistakes = counted(len(self.index), "mistake")
        return f"Neighbours({mistakes}, {counted(len(self.duplicates), 'near-duplicate')})"

    def save(self, path: str | Path) -> None:
        """Write an `.npz` of plain arrays, from which `load` restores the same."""
        arrays = {name: value for name, value in vars(self).items() if name != "duplicates"}
        for name, kind in _DUPLICATE.items():
            arrays[f"duplicate_{name}"] = np.array([getattr(one, name) for one in self.duplicates], kind)
        save_arrays(path, arrays)

    @classmethod
    def load(cls, path: str | Path) -> Neighbours:
        """Read what `save` wrote; a `RunError` if the file is missing or damaged."""
        plain = [name for name in cls.__dataclass_fields__ if name != "duplicates"]
        arrays: dict[str, Any] = load_arrays(path, (*plain, *(f"duplicate_{name}" for name in _DUPLICATE)))
        columns = [arrays.pop(f"duplicate_{name}").tolist() for name in _DUPLICATE]
        duplicates = tuple(Duplicate(*row) for row in zip(*columns, strict=True))
        values = {name: array.item() if array.ndim == 0 else array for name, array in arrays.items()}
        return cls(**values, duplicates=duplicates)


_DUPLICATE = {"index": "int64", "training": "int64", "likeness": "float64", "mirrored": "bool"}


def find_neighbours(predictions: Predictions, training: Predictions | None, data: Data) -> Neighbours:
    """The nearest training images of all mistakes, and near-duplicates among the test images.

    From predictions for the test and, without augmentation, for the training images. Without the latter, or without
    features, only the near-duplicates are found.

    Raises:
        DataError: the predictions are of different weights, or of other images than `data`.
    """
    if training is not None and predictions.model != training.model:
        raise DataError("The predictions for both parts must be from the same weights: compute them again.")
    images = predictions.images, data.train.fingerprint if training is None else training.images
    if images != (data.test.fingerprint, data.train.fingerprint):
        raise DataError(f"The predictions are for other images than {data.name} has: compute them again.")
    index = np.flatnonzero(predictions.predicted != predictions.labels)
    features = predictions.features[index]
    of_predicted, distance_predicted = _nearest_of_class(features, predictions.predicted[index], training)
    of_true, distance_true = _nearest_of_class(features, predictions.labels[index], training)
    return Neighbours(
        index=index,
        of_predicted=of_predicted,
        of_true=of_true,
        distance_predicted=distance_predicted,
        distance_true=distance_true,
        duplicates=tuple(find_duplicates(data.test.images, data.train.images)),
        model=predictions.model,
        training=data.train.fingerprint,
        images=predictions.images,
    )


def _nearest_of_class(
    features: NDArray[np.float32], classes: Indices, training: Predictions | None
) -> tuple[Indices, Distances]:
    """For each row of features (M, C) the nearest training images of its class (M,): indices, distances, (M, 3)."""
    indices = np.full((len(features), COUNT), -1, np.int64)
    distances = np.full((len(features), COUNT), np.nan)
    if training is None or not features.shape[1]:
        return indices, distances
    for k in np.unique(classes):
        rows, members = np.flatnonzero(classes == k), np.flatnonzero(training.labels == k)
        near, far = nearest(features[rows], training.features[members], COUNT)
        indices[rows, : near.shape[1]] = members[near]
        distances[rows, : far.shape[1]] = far
    return indices, distances
