"""Nearest training images of the mistakes as one result: saved without pickle, checked when it is read back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seefar.data.images import Data
from seefar.errors import RunError
from seefar.evaluation.predictions import Predictions
from seefar.explanation.duplicates import Duplicate
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
