"""What the network says of each test image: read once, kept, and everything else is computed from it."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from seefar.data.images import Labels, Split
from seefar.errors import RunError
from seefar.model.inference import log_softmax, pooled_features, true_float32
from seefar.model.resnet import ResNet18
from seefar.runs.files import written_beside

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Predictions:
    """Logits of N images over K classes.

    Attributes:
        logits: float32 (N, K).
        features: float32 (N, C), the input of the last layer; `features @ weight.T + bias` is the logits.
        labels: int64 (N,), the true classes.
    """

    logits: Floats
    features: Floats
    labels: Labels

    @property
    def predicted(self) -> Labels:
        """The class with the largest logit, int64 (N,)."""
        return np.asarray(self.logits.argmax(1), dtype=np.int64)

    @property
    def log_probabilities(self) -> NDArray[np.float64]:
        """Natural logarithm of the softmax of the logits, float64 (N, K)."""
        return log_softmax(self.logits)

    @property
    def losses(self) -> NDArray[np.float64]:
        """Cross-entropy of each image in nats, without label smoothing, float64 (N,)."""
        return -self.log_probabilities[np.arange(len(self.labels)), self.labels]

    def save(self, path: Path) -> None:
        """Write an `.npz` of plain arrays."""
        with written_beside(path) as beside:
            np.savez(beside, logits=self.logits, features=self.features, labels=self.labels)

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Read what `save` wrote.

        Raises:
            RunError: the file is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(arrays["logits"], arrays["features"], arrays["labels"])
        except FileNotFoundError as error:
            raise RunError(f"{path} is missing: run `seefar evaluate --run {path.parent}` first.") from error
        except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise RunError(
                f"{path} cannot be read ({error}): delete it and run `seefar evaluate --run {path.parent}` again."
            ) from error


def predict(model: ResNet18, split: Split) -> Predictions:
    """Logits and last-layer features of every image.

    Always in float32, so that the answer does not depend on which precision a machine is best at.

    Args:
        model: used in eval mode and left in the mode it came in.
        split: images uint8 (N, H, W, 3) and labels (N,).
    """
    features = pooled_features(model, split.images)  # (N, C)
    with torch.no_grad(), true_float32():
        logits = model.fc(features)  # (N, K)
    return Predictions(logits.cpu().numpy(), features.cpu().numpy(), split.labels)
