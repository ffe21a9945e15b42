"""Predictions: logits and last-layer features of every image of a split, computed, or classes read from a file."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seefar.data.images import Images, Labels, Split, check_classes, check_labels
from seefar.errors import DataError, RunError
from seefar.model.inference import (
    BATCH_SIZE,
    check_finite,
    device_of,
    eval_mode,
    log_softmax,
    pooled_features,
    true_float32,
    weights_fingerprint,
)
from seefar.model.resnet import ResNet18
from seefar.progress import Progress, showing
from seefar.runs.arrays import load_array, load_arrays, save_arrays
from seefar.runs.files import parse_json

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False, repr=False)
class Predictions:
    """Logits of N images over K classes.

    Attributes:
        logits: float32 (N, K).
        features: float32 (N, C), the input of the last layer; `features @ weight.T + bias` is the logits. (N, 0) for
            a network that has no linear layer.
        labels: int64 (N,), the true classes.
        classes: names of the K classes.
        model: fingerprint of the weights that they were computed with, `seefar.model.inference.weights_fingerprint`.
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
        return f"Predictions({len(self)} images, {len(self.classes)} classes, {right} right)"

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

    def are_of(self, model: nn.Module, split: Split) -> bool:
        """Whether they were computed with these weights for these images, labels and classes.

        Of a `ResNet18` the logits must follow from the features too, as far as float32 rounds.
        """
        network = getattr(model, "_orig_mod", model)
        if not (self.are_for(split) and self.model == weights_fingerprint(network)):
            return False
        return not isinstance(network, ResNet18) or self._follow_from(network.fc)

    def _follow_from(self, last: nn.Linear) -> bool:
        weight, bias = (parameter.detach().float().cpu().numpy() for parameter in (last.weight, last.bias))
        if self.features.shape[1] != weight.shape[1]:
            return False
        with np.errstate(over="ignore", invalid="ignore"):  # of features that no network gives
            away = np.abs(self.features @ weight.T + bias - self.logits).max()
        return bool(away <= 1e-3 * max(1.0, float(np.abs(self.logits).max())))

    def are_for(self, split: Split) -> bool:
        """Whether they are of these images, labels and classes, whatever the weights."""
        same_labels = self.classes == split.classes and np.array_equal(self.labels, split.labels)
        return same_labels and self.images == split.fingerprint

    def save(self, path: str | Path) -> None:
        """Write an `.npz` of plain arrays, from which `load` gives back exactly the same."""
        arrays = {name: getattr(self, name) for name in _FORM}
        save_arrays(path, arrays)

    @classmethod
    def load(cls, path: str | Path) -> Predictions:
        """Read what `save` wrote.

        Raises:
            RunError: the file is missing, damaged, or holds something else.
        """
        arrays = load_arrays(path, _FORM)
        try:
            classes = check_classes(arrays["classes"])
            labels = check_labels(arrays["labels"], len(arrays["logits"]), classes)
        except DataError as error:
            raise RunError(f"{path}: {error} Delete it and compute it anew.") from error
        if not len(labels):
            raise RunError(f"{path} holds predictions for no image: delete it and compute it anew.")
        if not (np.isfinite(arrays["logits"]).all() and np.isfinite(arrays["features"]).all()):
            raise RunError(f"{path} holds numbers that are not finite: delete it and compute it anew.")
        return cls(arrays["logits"], arrays["features"], labels, classes, str(arrays["model"]), str(arrays["images"]))


_FORM: dict[str, tuple[str, tuple[int | str, ...]]] = {
    "logits": ("float32", ("N", "K")),
    "features": ("float32", ("N", "C")),
    "labels": ("int64", ("N",)),
    "classes": ("str", ("K",)),
    "model": ("str", ()),
    "images": ("str", ()),
}


def predict(
    model: nn.Module,
    split: Split,
    *,
    normalize: Callable[[Tensor], Tensor] | None = None,
    progress: Progress | None = None,
) -> Predictions:
    """Logits and last-layer features of every image.

    Always in float32, so that the answer does not depend on which precision a machine is best at.

    Args:
        model: a `ResNet18`, or any other torch module that makes logits (N, K) of pictures, float32 (N, 3, H, W) in
            0..1. It is used in eval mode and left in the mode it came in. The features of another module are the
            input of its last `nn.Linear`; without one they are empty, (N, 0).
        split: the images.
        normalize: makes network input of pictures, float32 (N, 3, H, W) in 0..1, for a module that does not do so
            itself. A `ResNet18` does.
        progress: see `seefar.progress`.

    Raises:
        DataError: the model does not give one finite logit for each class of the split.

    Example:
        >>> import seefar
        >>> from seefar.data.shapes import load_shapes
        >>> test = load_shapes(train=20, test=30).test
        >>> seefar.predict(seefar.ResNet18(width=2).eval(), test, progress=seefar.progress.SILENT).logits.shape
        (30, 10)
    """
    if not len(split):
        raise DataError("There is no image in this split: at least one is needed for predictions.")
    with showing(progress) as shown, torch.no_grad(), eval_mode(model), true_float32():
        if isinstance(model, ResNet18) and normalize is None:
            features = torch.cat([pooled_features(model, batch) for batch in _batches(split.images, shown)])  # (N, C)
            logits = model.fc(features)  # (N, K)
        else:
            logits, features = _ask_any_module(model, split, normalize or nn.Identity(), shown)
    if logits.shape[1] != len(split.classes):
        raise DataError(
            f"The model gives {logits.shape[1]} logits for an image, the data has {len(split.classes)} classes "
            f"({', '.join(split.classes[:3])}, ...): a model trained on this data is wanted."
        )
    found = logits.float().cpu().numpy()
    check_finite(found)
    return Predictions(
        found,
        features.float().cpu().numpy(),
        split.labels,
        split.classes,
        model=weights_fingerprint(model),
        images=split.fingerprint,
    )


def _batches(images: Images, shown: Progress) -> Iterator[Images]:
    for start in range(0, len(images), BATCH_SIZE):
        batch = images[start : start + BATCH_SIZE]
        yield batch
        shown.update("evaluation", start + len(batch), len(images))


def _ask_any_module(
    model: nn.Module, split: Split, normalize: Callable[[Tensor], Tensor], shown: Progress
) -> tuple[Tensor, Tensor]:
    """Logits (N, K), and what entered the last linear layer, (N, C) or (N, 0)."""
    entered: list[Tensor] = []
    logits: list[Tensor] = []
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)][-1:]
    hooks = [layer.register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0])) for layer in linear]
    try:
        for images in _batches(split.images, shown):
            pictures = torch.from_numpy(images).to(device_of(model)).permute(0, 3, 1, 2).float() / 255
            given = model(normalize(pictures))
            if not isinstance(given, Tensor) or given.ndim != 2 or len(given) != len(images):
                found = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
                raise DataError(
                    f"The model gives {found} for {len(images)} images, logits ({len(images)}, "
                    f"{len(split.classes)}) were wanted: wrap it in a module that returns them."
                )
            logits.append(given)
    finally:
        for hook in hooks:
            hook.remove()
    features = torch.cat(entered) if entered and all(part.ndim == 2 for part in entered) else torch.empty(0, 0)
    fits = len(features) == len(split)  # not where the layer is used several times, or not for each image
    return torch.cat(logits), features if fits else torch.empty(len(split), 0)


SUFFIXES = (".json", ".npy", ".csv")


def read_predicted(path: str | Path, count: int, num_classes: int) -> Labels:
    r"""The predicted class of each image, from a file of classes or of logits.

    Args:
        path: `.json`, a list; `.npy`, an array; `.csv`, a line an image, with or without a line of titles. One class
            from 0 to K-1 for each image, or K logits or probabilities, of which the largest counts.
        count: N, how many images there are.
        num_classes: K.

    Returns:
        int64 (N,).

    Raises:
        DataError: the file is missing or cannot be read, or holds something else.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "logits.csv"
        ...     _ = path.write_text("cat,dog\n0.5,-1\n-2,3.5\n")
        ...     read_predicted(path, count=2, num_classes=2)
        array([0, 1])
    """
    path = Path(path).expanduser()
    wanted = f"{path} should hold {count:,} classes from 0 to {num_classes - 1}, or logits ({count:,}, {num_classes})"
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path} should be a file of one of these kinds: {', '.join(SUFFIXES)}.")
    try:
        values = np.asarray(_read(path))
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing: give a file of predictions ({', '.join(SUFFIXES)}).") from error
    except (
        OSError,
        EOFError,
        ValueError,
        csv.Error,
    ) as error:  # ValueError: no JSON, no array, lines of different lengths
        raise DataError(f"{wanted}; it cannot be read: {error}") from error
    if values.dtype.kind not in "iuf":
        raise DataError(f"{wanted}; found {values.dtype.name} of shape {values.shape}, not numbers.")
    if values.shape not in ((count,), (count, 1), (count, num_classes)):
        raise DataError(f"{wanted}; found shape {values.shape}.")
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise DataError(f"{wanted}; found a number that is not finite for image {row}.")
    if values.shape == (count, num_classes):
        return np.asarray(values.argmax(1), dtype=np.int64)
    if (values != np.round(values)).any():
        row = int(np.argwhere(values != np.round(values))[0][0])
        raise DataError(f"{wanted}; found {values.reshape(-1)[row]} for image {row}, which is no class.")
    classes = values.reshape(-1).astype(np.int64)
    try:
        check_predicted(classes, count, num_classes)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return classes


def _read(path: Path) -> Any:
    if path.suffix.lower() == ".npy":
        return load_array(path)
    text = path.read_text(encoding="utf-8-sig")
    return parse_json(text) if path.suffix.lower() == ".json" else _numbers(text)


def _numbers(text: str) -> list[list[float]]:
    """The lines of a CSV as numbers; a first line of titles and empty lines are left out."""
    rows = []
    for number, cells in enumerate(csv.reader(text.splitlines()), start=1):
        try:
            row = [float(cell) for cell in cells]
        except ValueError as error:
            if number == 1:
                continue
            raise ValueError(f"line {number}: {error}") from error
        if row:
            rows.append(row)
    return rows


def check_predicted(predicted: Labels, count: int, num_classes: int) -> None:
    """Refuse predicted classes that are not one whole number of 0 to K-1 for each image.

    Raises:
        DataError: another shape, type or range.
    """
    wanted = f"Predicted classes should be {count:,} whole numbers from 0 to {num_classes - 1}"
    if predicted.shape != (count,) or not np.issubdtype(predicted.dtype, np.integer):
        raise DataError(f"{wanted}; found {predicted.dtype} of shape {predicted.shape}.")
    if len(predicted) and not 0 <= predicted.min() <= predicted.max() < num_classes:
        raise DataError(f"{wanted}; found {predicted.min()} to {predicted.max()}.")
