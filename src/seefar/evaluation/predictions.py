"""Predictions: logits and features of every image of a split, computed, given or saved."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from seefar.data.images import Labels, Split, check_classes, check_labels
from seefar.errors import DataError, RunError, require
from seefar.model.adapt import Classifier, adapt
from seefar.model.inference import log_softmax
from seefar.progress import Progress, showing
from seefar.runs.arrays import load_arrays, save_arrays

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False, repr=False)
class Predictions:
    """Logits of N images over K classes.

    Attributes:
        logits: float32 (N, K).
        features: float32 (N, C), the input of the linear layer that makes the logits; (N, 0) without such a layer.
        labels: int64 (N,), the true classes.
        model: fingerprint of the weights, `seefar.model.inference.weights_fingerprint`.
        images: fingerprint of the images and labels, `Split.fingerprint`.
    """

    logits: Floats
    features: Floats
    labels: Labels
    classes: tuple[str, ...]
    model: str
    images: str

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        right = int((self.predicted == self.labels).sum())
        return f"Predictions({len(self)} images, {len(self.classes)} classes, {right} correct)"

    @property
    def predicted(self) -> Labels:
        """The class with the largest logit, int64 (N,)."""
        return np.asarray(self.logits.argmax(1), dtype=np.int64)

    @property
    def log_probabilities(self) -> NDArray[np.float64]:
        """Natural logarithm of the softmax of the logits, float64 (N, K)."""
        return log_softmax(self.logits)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """Probability of the predicted class, float64 (N,)."""
        highest: NDArray[np.float64] = np.exp(self.log_probabilities.max(1))
        return highest

    @property
    def losses(self) -> NDArray[np.float64]:
        """Cross-entropy of each image in nats, without label smoothing, float64 (N,)."""
        return -self.log_probabilities[np.arange(len(self.labels)), self.labels]

    @property
    def has_probabilities(self) -> bool:
        """Whether more than the predicted classes is known; False where all logits are 0 but for a single 1."""
        return not is_one_hot(self.logits)

    def are_for(self, split: Split) -> bool:
        """Whether they are of these images, labels and classes, for any weights."""
        same_labels = self.classes == split.classes and np.array_equal(self.labels, split.labels)
        return same_labels and self.images == split.fingerprint

    @classmethod
    def of(cls, logits: NDArray[np.floating], split: Split) -> Predictions:
        """Predictions of a network that is not available, from logits (N, K) in the order of images and classes.

        The fingerprint of the weights is that of the logits. A `DataError` if not every logit is there and finite.
        """
        logits = np.asarray(logits)
        expected = len(split), len(split.classes)
        if logits.shape != expected or not np.issubdtype(logits.dtype, np.number) or not np.isfinite(logits).all():
            raise DataError(
                f"logits must be {expected} finite numbers, one for each image and class (got {logits.dtype} "
                f"{logits.shape}): pass them for all images of the split, in its order."
            )
        nothing = np.zeros((len(split), 0), np.float32)
        logits = np.ascontiguousarray(logits, np.float32)
        fingerprint = hashlib.sha256(logits.data).hexdigest()
        return cls(logits, nothing, split.labels, split.classes, fingerprint, split.fingerprint)

    def save(self, path: str | Path) -> None:
        """Write an `.npz` of plain arrays. `load` gives back exactly the same."""
        save_arrays(path, vars(self))

    @classmethod
    def load(cls, path: str | Path) -> Predictions:
        """Read what `save` wrote; a `RunError` if the file is missing, damaged, or holds something else."""
        arrays = load_arrays(path, cls.__dataclass_fields__)
        try:  # a file that was copied from elsewhere has no manifest to check it against
            classes = check_classes(arrays["classes"])
            labels = check_labels(arrays["labels"], len(arrays["logits"]), len(classes))
        except DataError as error:
            raise RunError(f"{path}: {error} Delete it and compute it again.") from error
        return cls(arrays["logits"], arrays["features"], labels, classes, str(arrays["model"]), str(arrays["images"]))


def is_one_hot(scores: NDArray[np.floating]) -> bool:
    """Whether all rows (N, K) are 0 but for a single 1: classes without probabilities."""
    return bool(((scores == 0) | (scores == 1)).all() and (scores.sum(1) == 1).all())


def predict(
    model: nn.Module | Classifier,
    split: Split,
    *,
    progress: Progress | None = None,
    stage: str = "evaluation",
) -> Predictions:
    """Logits and last-layer features of every image, always in float32.

    The model is a `ResNet18`, or anything that `seefar.adapt` takes or returns, and is used in eval mode. A `DataError`
    if it does not give one finite logit for each class of the split.

    Examples:
        >>> import seefar
        >>> from seefar.data.shapes import load_shapes
        >>> test = load_shapes(train=20, test=30).test
        >>> seefar.predict(seefar.ResNet18(width=2).eval(), test, progress=seefar.SILENT).logits.shape
        (30, 10)
    """
    require(split, Split, "split", "one of images and labels, such as data.test")
    if not len(split):
        raise DataError("There is no image in this split: at least one is needed for predictions.")
    classifier = adapt(model)
    classifier.check_repeats(split.images[0])
    with showing(progress) as shown:
        logits, features = classifier.outputs(split.images, lambda done: shown.update(stage, done, len(split)))
    if logits.shape[1] != len(split.classes):
        raise DataError(
            f"The model gives {logits.shape[1]} logits for an image, but the data has {len(split.classes)} classes "
            f"({', '.join(split.classes[:3])}, ...): choose a model that was trained on this data."
        )
    return Predictions(logits, features, split.labels, split.classes, classifier.fingerprint, split.fingerprint)
