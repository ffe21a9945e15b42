"""Nearest training images of each mistake, of the predicted and of the true class; near-duplicates; kNN accuracy.

Examples from the training set help people to foresee a network's answers at least as much as maps do (Nguyen et al.
2021, arXiv 2105.14944). Near means alike to the network: a small angle between the features that enter its last layer.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seefar.data.images import Data, Split
from seefar.errors import DataError, RunError
from seefar.evaluation.metrics import wilson_interval
from seefar.evaluation.predictions import Predictions, predict
from seefar.explanation.duplicates import find_duplicates
from seefar.explanation.nearest import nearest
from seefar.explanation.neighbourhood import COUNT, Distances, Indices
from seefar.explanation.neighbourhood import Neighbours as Neighbours
from seefar.model.resnet import ResNet18
from seefar.progress import Progress, showing

VOTERS = 10
"""Nearest training images that decide the kNN answer, each with its cosine as weight."""


def training_features(
    model: ResNet18, training: Split, path: Path | None = None, *, progress: Progress | None = None
) -> Predictions:
    """Predictions for the training images, whose features `find_neighbours` needs; kept in a file for the next time.

    They cost as much as five evaluations of the CIFAR-10 test set.

    Args:
        model: the network.
        training: the training images, without augmentation.
        path: where to keep them. What lies there is used if its fingerprints are those of the weights and the images,
            and else replaced.
        progress: see `seefar.progress`.

    Example:
        >>> import seefar
        >>> from seefar.data.shapes import load_shapes
        >>> training = load_shapes(train=20, test=10).train
        >>> training_features(seefar.ResNet18(width=2).eval(), training, progress=seefar.progress.SILENT).features.shape
        (20, 16)
    """
    if path is not None and path.exists():
        try:
            kept = Predictions.load(path)
            if kept.are_of(model, training):
                return kept
        except RunError:
            pass  # damaged: computed anew
    with showing(progress) as shown:
        predictions = predict(model, training, progress=_Training(shown))
    if path is not None:
        predictions.save(path)
    return predictions


def find_neighbours(predictions: Predictions, training: Predictions, data: Data) -> Neighbours:
    """The nearest training images of all mistakes, near-duplicates among the test images, and the kNN accuracy.

    Args:
        predictions: for the test images.
        training: for the training images, `training_features`.
        data: the images of both.

    Raises:
        DataError: the predictions are of different weights, of other images than `data`, or have no features.

    Example:
        >>> import seefar
        >>> from seefar.data.shapes import load_shapes
        >>> data, quiet = load_shapes(train=40, test=10), seefar.progress.SILENT
        >>> model = seefar.ResNet18(width=2).eval()
        >>> predictions = seefar.predict(model, data.test, progress=quiet)
        >>> found = find_neighbours(predictions, training_features(model, data.train, progress=quiet), data)
        >>> found.of_true.shape == (len(found.index), 3)
        True
    """
    _check(predictions, training, data)
    index = np.flatnonzero(predictions.predicted != predictions.labels)
    features = predictions.features[index]
    near_predicted = _nearest_of_class(features, predictions.predicted[index], training)
    near_true = _nearest_of_class(features, predictions.labels[index], training)
    voters, distances = nearest(predictions.features, training.features, VOTERS)
    votes = np.zeros((len(voters), len(data.classes)))
    np.add.at(votes, (np.arange(len(voters))[:, None], training.labels[voters]), 1 - distances)
    knn = votes.argmax(1)
    right = int((knn == predictions.labels).sum())
    return Neighbours(
        index=index,
        of_predicted=near_predicted[0],
        of_true=near_true[0],
        distance_predicted=near_predicted[1],
        distance_true=near_true[1],
        duplicates=tuple(find_duplicates(data.test.images, data.train.images)),
        knn=knn,
        knn_accuracy=right / len(knn),
        knn_interval=wilson_interval(right, len(knn)),
        accuracy=1 - len(index) / len(knn),
        model=predictions.model,
        training=training.images,
        images=predictions.images,
    )


def _nearest_of_class(
    features: NDArray[np.float32], classes: Indices, training: Predictions
) -> tuple[Indices, Distances]:
    """For each row of features (M, C) the nearest training images of its class (M,): indices, distances, (M, 3)."""
    indices = np.full((len(features), COUNT), -1, np.int64)
    distances = np.full((len(features), COUNT), np.nan)
    for k in np.unique(classes):
        rows, members = np.flatnonzero(classes == k), np.flatnonzero(training.labels == k)
        near, far = nearest(features[rows], training.features[members], COUNT)
        indices[rows, : near.shape[1]] = members[near]
        distances[rows, : far.shape[1]] = far
    return indices, distances


def _check(predictions: Predictions, training: Predictions, data: Data) -> None:
    if predictions.model != training.model:
        raise DataError(
            "The predictions for test and training images are of different weights: compute one of them anew."
        )
    for found, split, name in ((predictions, data.test, "test"), (training, data.train, "training")):
        if found.images != split.fingerprint:
            raise DataError(f"The predictions are of other {name} images than {data.name} has: compute them for these.")
    if predictions.features.shape[1] == 0:
        raise DataError("The predictions hold no features (the model has no last linear layer): no neighbours without.")


class _Training:
    """Progress of predictions under the name of what they are for."""

    def __init__(self, shown: Progress) -> None:
        self.line = shown.line
        self.shown = shown

    def update(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Passed on."""
        self.shown.update("features of the training images", done, total, note)
