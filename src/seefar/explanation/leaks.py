"""Leaks: test images that are also in the training set, as near-duplicates or under related file names.

About 3% of the test images of CIFAR-10 are near-duplicates of training images, mirrored, shifted by some pixels or
recoloured (Barz & Denzler 2019, arXiv 1902.00423). Two steps find them: the training images with the most similar 8x8
thumbnails, then whether the fine detail of both is the same. `results/leaks.json` holds what they find of planted ones.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from seefar.data.images import Images, Labels, Split, slices
from seefar.errors import DataError, counted
from seefar.evaluation.metrics import Rate
from seefar.model.inference import true_float32

SMALLEST_LIKENESS = 0.74
"""Pairs whose detail correlates less are not duplicates. Of the 10,000 test images of CIFAR-10, 466 have a training
image above it; by eye, 8 of the 151 pairs below 0.83 show different things, most of them ships at sea."""
SMALLEST_THUMBNAIL = 0.7
"""Pairs whose thumbnails correlate less are not compared further."""
SMALLEST_COARSE_LIKENESS = 0.4
"""Pairs whose detail at half the size correlates less are not compared further."""
SIDE = 32  # pixels; larger images are compared at this size
THUMBNAIL, BLUR, SHIFT = 8, 5 / 32, 4 / 32  # cells on a side; shares of the image's side
CANDIDATES = 5  # training images with the most similar thumbnails
CROPS = (2 / 32, 3 / 32)
"""Shares of the side that a slightly cropped copy lacks."""
BLOCK = 1000  # images
COLUMNS = 4096  # training images whose thumbnails are compared at once
BLOCK_CELLS = 2**25
"""Similarities of vectors in memory at once: 128 MiB of float32."""
SPARE = 8
"""Extra candidates that are compared again in float64: float32 does not order the nearest ones reliably."""


@dataclass(frozen=True)
class Duplicate:
    """A test image (`index`) and the training image that it nearly equals.

    `likeness` is the correlation of their detail, 0.74 to 1; 1 for exact copies. If `mirrored`, one is the mirror image
    of the other.
    """

    index: int
    training: int
    likeness: float
    mirrored: bool


# ---- Near-duplicates ----


def find_duplicates(images: Images, training: Images) -> list[Duplicate]:
    """The images, uint8 (N, H, W, 3), that are near-duplicates of training images, (M, H, W, 3), in order of index.

    Copies, also of another size before both were brought to theirs, re-encoded, recoloured, mirrored, shifted or
    cropped by up to a tenth of the side. Each is listed with the training image whose detail is most similar.
    """
    if not len(images) or not len(training):
        return []
    small, bank = _small(images), _small(training)
    grey, grey_bank = _grey(small), _grey(bank)
    coarse, coarse_bank = (F.avg_pool2d(part, 4, 2, 1) for part in (grey, grey_bank))  # 2x2 would hide odd shifts
    known = {crop: _thumbnails(bank, crop) for crop in (0.0, CROPS[-1])}
    best: dict[int, Duplicate] = {}
    for crop in (0.0, -CROPS[-1], CROPS[-1]):  # of neither, of the training image, of the test image
        pairs = _candidates(_thumbnails(small, max(0.0, crop)), known[max(0.0, -crop)])
        pairs = pairs[_likeness(coarse, coarse_bank, pairs, crop) >= SMALLEST_COARSE_LIKENESS]
        likeness = _likeness(grey, grey_bank, pairs, crop)
        for (index, other, mirrored), how in zip(pairs.tolist(), likeness.tolist(), strict=True):
            if how >= SMALLEST_LIKENESS and (index not in best or how > best[index].likeness):
                best[index] = Duplicate(index, other, how, bool(mirrored))
    return [best[index] for index in sorted(best)]


def _small(images: Images) -> Tensor:
    """Images of at most 32 pixels on a side, uint8 (N, h, w, 3)."""
    height, width = (min(side, SIDE) for side in images.shape[1:3])
    parts = []
    for rows in slices(len(images), BLOCK):
        block = torch.from_numpy(np.ascontiguousarray(images[rows]))
        if block.shape[1:3] != (height, width):
            floats = block.permute(0, 3, 1, 2).float()
            floats = F.interpolate(floats, (height, width), mode="bilinear", antialias=True)
            block = floats.round().clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8)
        parts.append(block)
    return torch.cat(parts)


def _cropped(images: Tensor, share: float) -> Tensor:
    """Images (N, C, H, W) without this share of each side, from their middle, enlarged to their size again."""
    if share == 0:
        return images
    scale = 1 - share
    grid = F.affine_grid(torch.tensor([[[scale, 0.0, 0], [0, scale, 0]]]), [1, *images.shape[1:]], align_corners=False)
    return F.grid_sample(images, grid.expand(len(images), -1, -1, -1), padding_mode="border", align_corners=False)


def _thumbnails(images: Tensor, crop: float = 0.0) -> Tensor:
    """8x8 colour thumbnails of images, uint8 (N, H, W, 3), as a symmetric and an antisymmetric half, (2, N, 96).

    The correlation of two thumbnails is the sum of the products of their halves. With the mirror image of one of them
    it is the difference.
    """
    parts = []
    for block in torch.split(images, BLOCK):
        small = F.adaptive_avg_pool2d(_cropped(block.permute(0, 3, 1, 2).float(), crop), THUMBNAIL)
        small = small - small.mean((1, 2, 3), keepdim=True)
        small = F.normalize(small.flatten(1)).view_as(small) / 2**0.5  # (a + b)(c + d) + (a - b)(c - d) = 2 (ac + bd)
        left, right = (side[..., : THUMBNAIL // 2].flatten(1) for side in (small, small.flip(3)))
        parts.append(torch.stack((left + right, left - right)))
    return torch.cat(parts, dim=1)


def _candidates(thumbnails: Tensor, known: Tensor) -> NDArray[np.int64]:
    """Pairs of similar thumbnails, (2, N, C) and (2, M, C): row, row of `known`, and 1 if mirrored, int64 (P, 3).

    For each row the `CANDIDATES` most similar ones, and those most similar to its mirror image.
    """
    blocks = [(start, known[:, start : start + COLUMNS].mT.contiguous()) for start in range(0, known.shape[1], COLUMNS)]
    pairs = []
    for start in range(0, thumbnails.shape[1], BLOCK):
        rows = thumbnails[:, start : start + BLOCK]
        best: list[list[tuple[Tensor, Tensor]]] = [[], []]  # of each block, plain and mirrored
        for first, block in blocks:  # blocks and their products stay in the cache
            with true_float32():
                symmetric, antisymmetric = (rows[half] @ block[half] for half in (0, 1))
            for mirrored, similarities in enumerate((symmetric + antisymmetric, symmetric - antisymmetric)):
                values, near = similarities.topk(min(CANDIDATES, block.shape[2]))
                best[mirrored].append((values, first + near))
        for mirrored, largest in enumerate(best):
            values, near = (torch.cat(part, dim=1) for part in zip(*largest, strict=True))
            values, order = values.topk(min(CANDIDATES, values.shape[1]))
            row, rank = torch.nonzero(values >= SMALLEST_THUMBNAIL, as_tuple=True)
            pairs.append(torch.stack((start + row, near[row, order[row, rank]], torch.full_like(row, mirrored)), dim=1))
    return torch.cat(pairs).numpy()


def _grey(images: Tensor) -> Tensor:
    """The sum of the colours, float (N, H, W): whole numbers stay equal in mirrored and smaller images."""
    return torch.cat([block.float() @ torch.ones(3) for block in torch.split(images, BLOCK)])


def _likeness(images: Tensor, bank: Tensor, pairs: NDArray[np.int64], crop: float) -> NDArray[np.float64]:
    """The largest correlation of the fine detail of pairs of images, over shifts and crops by some pixels.

    Grey images (N, H, W), bank (M, H, W), pairs of `_candidates`. `crop` is the largest share of the side that the
    images are cropped by, or with a minus those of the bank.
    """
    height, width = images.shape[1:3]
    up, across = round(height * SHIFT), round(width * SHIFT)
    sums_down, sums_across = (_window_sums(side, 2 * shift) for side, shift in ((height, up), (width, across)))
    likeness, blocks = torch.zeros(len(pairs)), slices(len(pairs), BLOCK)
    for share in [share for share in CROPS if share <= abs(crop)] or [0.0]:
        details, rows = _details(images, pairs[:, 0], share if crop > 0 else 0.0)
        details_of_bank, rows_of_bank = _details(bank, pairs[:, 1], share if crop < 0 else 0.0)
        for block in blocks:
            a, b = _flipped(details[rows[block]], pairs[block]), details_of_bank[rows_of_bank[block]]
            window = a[:, up : height - up, across : width - across]
            # The sums of products at every shift at once, by the convolution theorem.
            spectrum = torch.fft.rfft2(window, s=(height, width)).conj() * torch.fft.rfft2(b)
            products = torch.fft.irfft2(spectrum, s=(height, width))[:, : 2 * up + 1, : 2 * across + 1]
            squares = sums_down @ b.square() @ sums_across.T  # of the window at every shift
            norms = (window.square().sum((1, 2))[:, None, None] * squares).sqrt()
            # Where `b` is nearly flat, the products are only rounding errors.
            flat = 1e-3 * window.norm(dim=(1, 2)) * b.norm(dim=(1, 2)) + 1e-6
            largest = (products / norms.maximum(flat[:, None, None])).amax((1, 2))
            likeness[block] = torch.maximum(likeness[block], largest)
    for block in blocks:
        equal = _flipped(images[pairs[block, 0]], pairs[block]) == bank[pairs[block, 1]]
        likeness[block][equal.flatten(1).all(1)] = 1.0  # flat images too, which have no detail
    return likeness.clamp(max=1.0).double().numpy()


def _flipped(images: Tensor, pairs: NDArray[np.int64]) -> Tensor:
    """The first images of pairs, (P, H, W), mirrored for pairs that are."""
    mirrored = torch.from_numpy(pairs[:, 2]) == 1
    return torch.where(mirrored[:, None, None], images.flip(2), images)


def _details(images: Tensor, numbers: NDArray[np.int64], crop: float) -> tuple[Tensor, NDArray[np.int64]]:
    """The detail of the images with these numbers, (P,), each computed once; and for each number its row there."""
    used, rows = np.unique(numbers, return_inverse=True)
    parts = [_detail(images[used[block]], crop) for block in slices(len(used), BLOCK)]
    return torch.cat(parts) if parts else images[:0], rows


def _detail(grey: Tensor, crop: float) -> Tensor:
    """Brightness minus the mean of its surroundings, (N, H, W)."""
    grey = _cropped(grey[:, None], crop)[:, 0]
    radius = round(grey.shape[1] * BLUR) // 2
    down, across = (_surroundings(side, radius) for side in grey.shape[1:])
    return grey - down @ grey @ across.T / (2 * radius + 1) ** 2


def _surroundings(side: int, radius: int) -> Tensor:
    """A matrix (side, side) that sums `2 * radius + 1` neighbouring rows around each; edge rows count repeatedly."""
    nearby = (torch.arange(side)[:, None] + torch.arange(-radius, radius + 1)).clamp(0, side - 1)
    return F.one_hot(nearby, side).sum(1).float()


def _window_sums(side: int, shifts: int) -> Tensor:
    """A matrix (shifts + 1, side) that sums `side - shifts` rows, from each shift on."""
    start, row = torch.arange(shifts + 1)[:, None], torch.arange(side)
    return ((row >= start) & (row < start + side - shifts)).float()


# ---- The nearest of many vectors ----


def nearest(
    queries: NDArray[np.float32], bank: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest rows of a bank to each query, by cosine distance (1 minus the cosine of the angle).

    Exact: candidates by a float32 matrix product, ordered by distances in float64; the first of equally distant rows.
    Queries and bank are float32, (N, C) and (M, C); a row of zeros is at distance 1 from everything. Returns positions
    in the bank, int64 (N, count), the nearest first, and distances, float64 (N, count); fewer if the bank has fewer.
    """
    count = min(count, len(bank))
    candidates = min(count + SPARE, len(bank))
    indices = np.empty((len(queries), count), np.int64)
    distances = np.empty((len(queries), count))
    directions = torch.from_numpy(_directions(bank))
    size = max(1, BLOCK_CELLS // max(1, len(bank), 2 * candidates * bank.shape[1]))
    for rows in slices(len(queries), size):
        block = queries[rows]
        with true_float32():
            similarities = torch.from_numpy(_directions(block)) @ directions.T  # (rows, M)
        likely = similarities.topk(candidates).indices.sort().values.numpy()  # in the order of the bank
        exact = 1 - np.einsum("nc,nkc->nk", _directions(block, np.float64), _directions(bank[likely], np.float64))
        order = np.argsort(exact, axis=1, kind="stable")[:, :count]
        indices[rows] = np.take_along_axis(likely, order, 1)
        distances[rows] = np.take_along_axis(exact, order, 1)
    return indices, distances.clip(0, 2)


def _directions(vectors: NDArray[np.float32], dtype: type = np.float32) -> NDArray[Any]:
    """The vectors (..., C) scaled to length 1; zeros stay zeros."""
    vectors = vectors.astype(dtype, copy=False)
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    directions: NDArray[Any] = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return directions


# ---- Related file names ----


@dataclass(frozen=True)
class SharedName:
    """Positions of test and training images whose file names begin alike, such as `burst_0012_a.jpg`, `..._b.jpg`."""

    stem: str
    tests: tuple[int, ...]
    training: tuple[int, ...]


LARGEST_GROUP = 0.1
"""Share of the files: a name that more of them share is that of the data set, not of a burst."""


def find_shared_names(test: Split, training: Split) -> list[SharedName]:
    """Stems of file names that occur in both parts, in one class, in alphabetical order; none without file names.

    The stem is the name without its ending and without its last part (`burst_0012` of `burst_0012_a.jpg`), or with it
    where nothing else has a digit (`IMG_4711` of `IMG_4711.jpg` and of `IMG_4711_2.jpg`), except where most names are
    shared in full: numbers from 1.
    """
    if test.files is None or training.files is None:
        return []
    groups: dict[tuple[str, int], tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    longer: set[tuple[str, int]] = set()  # stems of names that go on
    for part, split in enumerate((test, training)):
        for position, (file, label) in enumerate(zip(split.files or (), split.labels.tolist(), strict=True)):
            is_whole, stem = _stem(file)
            if stem:
                groups[stem, label][part].append(position)
                if not is_whole:
                    longer.add((stem, label))
    largest = LARGEST_GROUP * (len(test) + len(training))
    shared = {key: pair for key, pair in groups.items() if all(pair) and len(pair[0]) + len(pair[1]) <= max(2, largest)}
    numbered = sum(len(tests) for key, (tests, _) in shared.items() if key not in longer) > len(test) / 2
    return [
        SharedName(key[0], tuple(tests), tuple(known))
        for key, (tests, known) in sorted(shared.items())
        if key in longer or not numbered
    ]


def _stem(file: str) -> tuple[bool, str]:
    """Whether the stem is the full name, and the stem; empty for a name without digits."""
    name = PurePosixPath(file).stem
    start = re.match(r"(.*\d.*)[ _.\-]+[^ _.\-]+$", name)
    if start:
        return False, start[1]
    return True, name if re.search(r"\d", name) else ""


# ---- All of them, and the accuracy without them ----


@dataclass(frozen=True)
class Leaks:
    """What n test images share with the training set, and what that does to the accuracy.

    `other_label` are the near-duplicates whose training image has another label, and `names` the stems of file names
    that both parts share. The shares of correct predictions are of all test images (`with_leaks`), of those that are no
    near-duplicates, and of those that also share no name; None without predictions.
    """

    n: int
    duplicates: tuple[Duplicate, ...]
    other_label: tuple[Duplicate, ...]
    names: tuple[SharedName, ...]
    with_leaks: Rate | None = None
    without_duplicates: Rate | None = None
    without_leaks: Rate | None = None

    @property
    def indices(self) -> list[int]:
        """Positions of the test images that are near-duplicates or share a name, ascending."""
        return sorted({leak.index for leak in self.duplicates} | {index for leak in self.names for index in leak.tests})

    @property
    def findings(self) -> dict[str, str]:
        """What is shared, and the accuracy without it, in words: for `near-duplicate` and `shared name`."""
        findings = {}
        if self.duplicates:
            other = f", {len(self.other_label)} of them with another label" if self.other_label else ""
            verb = "has a near-duplicate" if len(self.duplicates) == 1 else "have near-duplicates"
            text = f"{len(self.duplicates):,} of {self.n:,} test images {verb} in the training set{other}"
            findings["near-duplicate"] = text + _without(self.without_duplicates)
        if self.names:
            tests = len({index for shared in self.names for index in shared.tests})
            verb = "shares" if tests == 1 else "share"
            name = self.names[0].stem
            text = f"{counted(tests, 'test image')} {verb} a file name such as {name} with training images"
            findings["shared name"] = text + _without(self.without_leaks)
        return findings

    @property
    def summary(self) -> dict[str, Any]:
        """Section `leaks` of `metrics.json`."""
        sections: dict[str, Any] = {
            "near_duplicates": len(self.duplicates),
            "with_another_label": len(self.other_label),
            "shared_names": len(self.names),
        }
        for name in ("with_leaks", "without_duplicates", "without_leaks"):
            rate: Rate | None = getattr(self, name)
            sections[name] = (
                {"n": rate.n, "accuracy": rate.share, "interval": rate.interval} if rate and rate.n else None
            )
        return sections


def _without(accuracy: Rate | None) -> str:
    """The end of a sentence; nothing without predictions, or if no image is left."""
    return "" if accuracy is None or accuracy.share is None else f"; without them the accuracy is {accuracy.share:.2%}"


def find_leaks(
    test: Split,
    training: Split,
    predicted: Labels | None = None,
    *,
    duplicates: Sequence[Duplicate] | None = None,
) -> Leaks:
    """The test images that are also in the training set, and the accuracy with and without them.

    `predicted` are the predicted classes of the N test images, int (N,), for the accuracies; `duplicates` those of
    `find_duplicates`, such as `Neighbours.duplicates`, if they are known already.

    Raises:
        DataError: the splits have other classes or sizes, or there is not one prediction for each test image.
    """
    if test.classes != training.classes or test.images.shape[1:] != training.images.shape[1:]:
        raise DataError(
            "Test and training images must have the same classes and the same size: pass parts of one Data."
        )
    if predicted is not None and np.shape(predicted) != (len(test),):
        raise DataError(f"predicted must be ({len(test)},), one class for each image (got {np.shape(predicted)}).")
    known = find_duplicates(test.images, training.images) if duplicates is None else list(duplicates)
    other = tuple(copy for copy in known if test.labels[copy.index] != training.labels[copy.training])
    leaks = Leaks(len(test), tuple(known), other, tuple(find_shared_names(test, training)))
    if predicted is None:
        return leaks
    correct = np.asarray(predicted) == test.labels
    return replace(
        leaks,
        with_leaks=Rate.of(correct),
        without_duplicates=Rate.of(np.delete(correct, [copy.index for copy in known])),
        without_leaks=Rate.of(np.delete(correct, leaks.indices)),
    )
