"""Nearest training images of each mistake, of the predicted and of the true class; near-duplicates; kNN accuracy.

Examples from the training set help people to foresee a network's answers at least as much as maps do (Nguyen et al.
2021, arXiv 2105.14944). Near means alike to the network: a small angle between the features that enter its last layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seefar.data.images import Data, Split
from seefar.errors import DataError, RunError
from seefar.evaluation.metrics import wilson_interval
from seefar.evaluation.predictions import Predictions, predict
from seefar.explanation.duplicates import Duplicate, find_duplicates
from seefar.explanation.nearest import nearest
from seefar.model.resnet import ResNet18
from seefar.progress import Progress, showing
from seefar.runs.arrays import load_arrays, save_arrays

COUNT = 3
"""Neighbours of each class."""

Indices = NDArray[np.int64]
Distances = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Neighbours:
    """The nearest training images of M mistakes, and what else the training images say about N test images.

    Attributes:
        index: data set indices of the mistakes, int64 (M,), ascending.
        of_predicted: indices of the nearest training images of the predicted class, int64 (M, 3), the nearest first;
            -1 where the class has fewer.
        of_true: those of the true class, likewise.
        distance_predicted: cosine distances of `of_predicted`, float64 (M, 3), 0 to 2; nan where there is none.
        distance_true: those of `of_true`.
        duplicates: test images, mistakes or not, that are nearly training images.
        knn: predicted class by the 10 nearest training images, int64 (N,).
        knn_accuracy: share of them that is right.
        knn_interval: its 95 % Wilson interval.
        accuracy: the network's own, on the same images.
        model: fingerprint of the weights.
        training: fingerprint of the training images and labels.
        images: fingerprint of the test images and labels.
    """

    index: Indices
    of_predicted: Indices
    of_true: Indices
    distance_predicted: Distances
    distance_true: Distances
    duplicates: tuple[Duplicate, ...]
    knn: Indices
    knn_accuracy: float
    knn_interval: tuple[float, float]
    accuracy: float
    model: str
    training: str
    images: str

    def __repr__(self) -> str:
        return (
            f"Neighbours({len(self.index)} mistakes, {len(self.duplicates)} near-duplicates, "
            f"kNN {self.knn_accuracy:.2%}, network {self.accuracy:.2%})"
        )

    def are_of(self, predictions: Predictions, data: Data) -> bool:
        """Whether they are of these predictions for the test images, and of these training images and their classes."""
        mistakes = np.flatnonzero(predictions.predicted != predictions.labels)
        wanted = (predictions.model, predictions.images, data.train.fingerprint)
        if (self.model, self.images, self.training) != wanted or not np.array_equal(self.index, mistakes):
            return False
        count, copies = len(data.train), self.duplicates
        if max(self.of_predicted.max(initial=-1), self.of_true.max(initial=-1)) >= count:
            return False
        near = ((self.of_predicted, predictions.predicted), (self.of_true, predictions.labels))
        return (
            all(((data.train.labels[of] == named[mistakes, None]) | (of < 0)).all() for of, named in near)
            and all(copy.index < len(data.test) and copy.training < count for copy in copies)
            and self.knn.shape == (len(data.test),)
            and self.knn.max() < len(data.classes)
        )

    def save(self, path: str | Path) -> None:
        """Write an `.npz` of plain arrays, from which `load` gives back exactly the same."""
        arrays: dict[str, Any] = {name: getattr(self, name) for name in _FORM if hasattr(self, name)}
        columns = ("index", "training", "likeness", "mirrored")
        for name in columns:
            values = [getattr(duplicate, name) for duplicate in self.duplicates]
            arrays[f"duplicate_{name}"] = np.array(values, dtype=_FORM[f"duplicate_{name}"][0])
        save_arrays(path, arrays)

    @classmethod
    def load(cls, path: str | Path) -> Neighbours:
        """Read what `save` wrote.

        Raises:
            RunError: the file is missing, damaged, or holds something else.
        """
        arrays = load_arrays(path, _FORM)
        right = {
            "indices below 0": all((arrays[name] >= 0).all() for name in _PLACES),
            "indices below -1": all((arrays[f"of_{near}"] >= -1).all() for near in ("predicted", "true")),
            "mistakes that do not rise": (np.diff(arrays["index"]) > 0).all(),
            "distances that are none": all(
                (np.isfinite(arrays[f"distance_{near}"]) == (arrays[f"of_{near}"] >= 0)).all()
                for near in ("predicted", "true")
            ),
            "shares that are none": all(((arrays[name] >= 0) & (arrays[name] <= 1)).all() for name in _SHARES),
        }
        if not all(right.values()):
            wrong = next(what for what, is_right in right.items() if not is_right)
            raise RunError(f"{path} holds {wrong}: delete it and compute it anew.")
        columns = (arrays.pop(f"duplicate_{name}").tolist() for name in ("index", "training", "likeness", "mirrored"))
        duplicates = tuple(Duplicate(*row) for row in zip(*columns, strict=True))
        low, high = arrays.pop("knn_interval").tolist()
        plain: dict[str, Any] = {name: array.item() if array.ndim == 0 else array for name, array in arrays.items()}
        return cls(**plain, duplicates=duplicates, knn_interval=(low, high))


_PLACES = ("index", "knn", "duplicate_index", "duplicate_training")
_SHARES = ("duplicate_likeness", "knn_accuracy", "knn_interval", "accuracy")
_FORM: dict[str, tuple[str, tuple[int | str, ...]]] = {
    "index": ("int64", ("M",)),
    "of_predicted": ("int64", ("M", COUNT)),
    "of_true": ("int64", ("M", COUNT)),
    "distance_predicted": ("float64", ("M", COUNT)),
    "distance_true": ("float64", ("M", COUNT)),
    "duplicate_index": ("int64", ("D",)),
    "duplicate_training": ("int64", ("D",)),
    "duplicate_likeness": ("float64", ("D",)),
    "duplicate_mirrored": ("bool", ("D",)),
    "knn": ("int64", ("N",)),
    "knn_accuracy": ("float64", ()),
    "knn_interval": ("float64", (2,)),
    "accuracy": ("float64", ()),
    "model": ("str", ()),
    "training": ("str", ()),
    "images": ("str", ()),
}


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
