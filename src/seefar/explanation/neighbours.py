"""Nearest training images of each mistake, from the predicted and from the true class; near-duplicates.

Examples from the training set help people to predict a network's decisions at least as much as maps do (Nguyen et al.
2021, arXiv 2105.14944). Near means similar to the network: a small angle between the features that enter its last
layer.

About 3 % of the test images of CIFAR-10 are near-duplicates of training images, mirrored, shifted by some pixels or
recoloured (Barz & Denzler 2019, arXiv 1902.00423). The network has seen the right example of a mistake among them. Two
steps find them: the training image with the most similar 8x8 thumbnail, then whether the fine detail of both is the
same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from seefar.data.images import Data, Images
from seefar.errors import DataError
from seefar.evaluation.predictions import Predictions
from seefar.model.inference import true_float32
from seefar.runs.arrays import load_arrays, save_arrays

SMALLEST_LIKENESS = 0.6
"""Pairs whose detail correlates less are not duplicates. Of the 10,000 test images of CIFAR-10, 367 have a training
image above it; one such pair has different labels and is wrong: a bird and a plane, small on blue sky. Of 47 pairs
inspected between 0.60 and 0.65, three or four showed different things. From 0.5 to 0.6 different labels are more
frequent, and similar scenes cannot be distinguished from duplicates."""
SMALLEST_THUMBNAIL = 0.8
"""Pairs whose thumbnails correlate less are not compared further."""
THUMBNAIL, BLUR, SHIFT = 8, 5 / 32, 3 / 32  # cells on a side; shares of the image's side
BLOCK = 1000  # images


@dataclass(frozen=True)
class Duplicate:
    """A test image and the training image that it nearly equals.

    Attributes:
        index: position of the test image.
        training: position of the training image.
        likeness: correlation of their detail, 0.6 to 1; 1 for exact copies.
        mirrored: whether one of them is the other's mirror image.
    """

    index: int
    training: int
    likeness: float
    mirrored: bool


COUNT = 3
"""Neighbours of each class."""

Indices = NDArray[np.int64]
Distances = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Neighbours:
    """The nearest training images of M mistakes, and the test images that are nearly training images.

    Attributes:
        index: data set indices of the mistakes, int64 (M,), ascending.
        of_predicted: indices of the nearest training images of the predicted class, int64 (M, 3), the nearest first;
            -1 where the class has fewer.
        of_true: those of the true class, likewise.
        distance_predicted: cosine distances of `of_predicted`, float64 (M, 3), 0 to 2; nan where `of_predicted` is -1.
        distance_true: those of `of_true`.
        duplicates: test images, mistakes or not, that are nearly training images.
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
    model: str
    training: str
    images: str

    def __repr__(self) -> str:
        return f"Neighbours({len(self.index)} mistakes, {len(self.duplicates)} near-duplicates)"

    def save(self, path: str | Path) -> None:
        """Write an `.npz` of plain arrays, from which `load` restores exactly the same."""
        arrays: dict[str, Any] = {name: getattr(self, name) for name in _FORM if hasattr(self, name)}
        for name in _DUPLICATE:
            values = [getattr(duplicate, name) for duplicate in self.duplicates]
            arrays[f"duplicate_{name}"] = np.array(values, dtype=_FORM[f"duplicate_{name}"][0])
        save_arrays(path, arrays)

    @classmethod
    def load(cls, path: str | Path) -> Neighbours:
        """Read what `save` wrote.

        Raises:
            RunError: the file is missing, damaged, or holds other arrays.
        """
        arrays = load_arrays(path, _FORM)
        columns = [arrays.pop(f"duplicate_{name}").tolist() for name in _DUPLICATE]
        duplicates = tuple(Duplicate(*row) for row in zip(*columns, strict=True))
        plain: dict[str, Any] = {name: array.item() if array.ndim == 0 else array for name, array in arrays.items()}
        return cls(**plain, duplicates=duplicates)


_DUPLICATE = ("index", "training", "likeness", "mirrored")
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
    "model": ("str", ()),
    "training": ("str", ()),
    "images": ("str", ()),
}


def find_neighbours(predictions: Predictions, training: Predictions, data: Data) -> Neighbours:
    """The nearest training images of all mistakes, and near-duplicates among the test images.

    Args:
        predictions: for the test images.
        training: for the training images, without augmentation.
        data: the images of both.

    Raises:
        DataError: the predictions are of different weights, of other images than `data`, or have no features.

    Example:
        >>> import seefar
        >>> from seefar.data.shapes import load_shapes
        >>> data, quiet = load_shapes(train=40, test=10), seefar.progress.SILENT
        >>> model = seefar.ResNet18(width=2).eval()
        >>> predictions = seefar.predict(model, data.test, progress=quiet)
        >>> found = find_neighbours(predictions, seefar.predict(model, data.train, progress=quiet), data)
        >>> found.of_true.shape == (len(found.index), 3)
        True
    """
    if predictions.model != training.model:
        raise DataError("The predictions for test and training images must be of the same weights: compute them again.")
    if (predictions.images, training.images) != (data.test.fingerprint, data.train.fingerprint):
        raise DataError(f"The predictions are of other images than {data.name} has: compute them again.")
    if predictions.features.shape[1] == 0:
        raise DataError("The predictions have no features, since the model has no last linear layer: no neighbours.")
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


# ---- Nearest by cosine distance ----

BLOCK_CELLS = 2**25
"""Numbers in memory at once: 128 MiB of float32."""
SPARE = 8
"""Extra candidates that are compared again in float64: float32 does not order the nearest ones reliably."""


def nearest(
    queries: NDArray[np.float32], bank: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest rows of a bank to each query, by cosine distance (1 minus the cosine of the angle).

    Exact: candidates by a float32 matrix product, ordered by distances in float64; the first of equally distant rows.

    Args:
        queries: float32 (N, C).
        bank: float32 (M, C). A row of zeros is at distance 1 from everything.
        count: how many; fewer if the bank has fewer.

    Returns:
        Positions in the bank, int64 (N, count), the nearest first, and the distances, float64 (N, count), 0 to 2.
    """
    count = min(count, len(bank))
    candidates = min(count + SPARE, len(bank))
    indices = np.empty((len(queries), count), np.int64)
    distances = np.empty((len(queries), count))
    directions = torch.from_numpy(_directions(bank))
    rows = max(1, BLOCK_CELLS // max(1, len(bank), 2 * candidates * bank.shape[1]))
    for start in range(0, len(queries), rows):
        block = queries[start : start + rows]
        with true_float32():
            similarities = torch.from_numpy(_directions(block)) @ directions.T  # (rows, M)
        likely = similarities.topk(candidates).indices.sort().values.numpy()  # in the order of the bank
        exact = 1 - np.einsum("nc,nkc->nk", _directions(block, np.float64), _directions(bank[likely], np.float64))
        order = np.argsort(exact, axis=1, kind="stable")[:, :count]
        indices[start : start + rows] = np.take_along_axis(likely, order, 1)
        distances[start : start + rows] = np.take_along_axis(exact, order, 1)
    return indices, distances.clip(0, 2)


def _directions(vectors: NDArray[np.float32], dtype: type = np.float32) -> NDArray[Any]:
    """The vectors (..., C) scaled to length 1; zeros stay zeros."""
    vectors = vectors.astype(dtype, copy=False)
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    directions: NDArray[Any] = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return directions


# ---- Near-duplicates ----


def find_duplicates(images: Images, training: Images) -> list[Duplicate]:
    """The images that are near-duplicates of training images, in order of index.

    Args:
        images: uint8 (N, H, W, 3).
        training: uint8 (M, H, W, 3).

    Returns:
        One `Duplicate` for each image that has one: with the training image whose thumbnail is most similar.
    """
    if not len(images) or not len(training):
        return []
    bank = _thumbnails(np.ascontiguousarray(training))
    found: dict[int, Duplicate] = {}
    for mirrored in (False, True):
        turned = np.ascontiguousarray(images[:, :, ::-1] if mirrored else images)
        best, distances = (column[:, 0] for column in nearest(_thumbnails(turned), bank, 1))
        for start in range(0, len(images), BLOCK):
            rows = start + np.flatnonzero(1 - distances[start : start + BLOCK] >= SMALLEST_THUMBNAIL)
            likeness = _likeness(turned[rows], training[best[rows]])
            for index, other, how in zip(rows.tolist(), best[rows].tolist(), likeness.tolist(), strict=True):
                if how >= SMALLEST_LIKENESS and (index not in found or how > found[index].likeness):
                    found[index] = Duplicate(index, other, how, mirrored)
    return [found[index] for index in sorted(found)]


def _thumbnails(images: Images) -> NDArray[np.float32]:
    """8x8 colour thumbnails without their mean, (N, 192): the cosine of two is their correlation."""
    parts = []
    for start in range(0, len(images), BLOCK):
        pictures = torch.from_numpy(images[start : start + BLOCK]).permute(0, 3, 1, 2).float()
        small = F.adaptive_avg_pool2d(pictures, min(THUMBNAIL, *pictures.shape[2:])).flatten(1)
        parts.append(small - small.mean(1, keepdim=True))
    thumbnails: NDArray[np.float32] = torch.cat(parts).numpy()
    return thumbnails


def _likeness(first: Images, second: Images) -> NDArray[np.float64]:
    """The largest correlation of the fine detail of pairs of images, (N,), over shifts by some pixels."""
    height, width = first.shape[1:3]
    a, b = _detail(first), _detail(second)
    largest = np.zeros(len(first))
    up, across = round(height * SHIFT), round(width * SHIFT)
    for down in range(-up, up + 1):
        for right in range(-across, across + 1):
            one = a[:, max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
            two = b[:, max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)]
            norms = one.square().sum((1, 2)) * two.square().sum((1, 2))
            correlation = (one * two).sum((1, 2)) / norms.sqrt().clamp(min=1e-6)
            largest = np.maximum(largest, correlation.double().numpy())
    largest = largest.clip(max=1.0)
    largest[(first == second).all((1, 2, 3))] = 1.0  # flat images too, which have no detail
    return largest


def _detail(images: Images) -> Tensor:
    """Brightness minus the mean of its surroundings, (N, H, W)."""
    grey = torch.from_numpy(images).float().mean(3)[:, None]
    side = 2 * (round(images.shape[1] * BLUR) // 2) + 1
    padded = F.pad(grey, (side // 2,) * 4, mode="replicate")
    return (grey - F.avg_pool2d(padded, side, stride=1))[:, 0]
