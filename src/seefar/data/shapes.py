"""The built-in data set: ten shapes on varied backgrounds, from a seed, with the pixels that decide the class."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from seefar.data.images import Data, Split
from seefar.errors import DataError, RunError
from seefar.runs.arrays import load_arrays, save_arrays
from seefar.runs.files import cache_folder

Array = NDArray[np.float64]

FORM = 1
"""Part of the name of the cached file: raise it when the images change."""
PARTS, ARRAYS = ("train", "test"), ("images", "labels", "masks")
SIZE = 32
OVERSAMPLING = 2  # every pixel is the average of 2x2 samples, so that edges are smooth


def _regular(x: Array, y: Array, corners: int) -> Array:
    """Radius of (x, y) measured so that the regular polygon with this many corners is the unit ball."""
    sector = 2 * np.pi / corners
    angle = (np.arctan2(y, x) + sector / 2) % sector - sector / 2
    radius: Array = np.hypot(x, y) * np.cos(angle) / np.cos(sector / 2)
    return radius


def _star(x: Array, y: Array) -> Array:
    sector = 2 * np.pi / 5
    angle = np.abs((np.arctan2(y, x) + sector / 2) % sector - sector / 2)
    return np.hypot(x, y) * (0.42 + 0.58 * angle / (sector / 2)) / 0.42


def _cross(x: Array, y: Array) -> Array:
    arm, reach = np.minimum(np.abs(x), np.abs(y)) / 0.3, np.maximum(np.abs(x), np.abs(y))
    return np.maximum(arm, reach)


def _ring(x: Array, y: Array) -> Array:
    radius = np.hypot(x, y)
    return np.where(radius < 0.55, 2.0, radius)


def _crescent(x: Array, y: Array) -> Array:
    return np.where(np.hypot(x - 0.5, y) < 0.75, 2.0, np.hypot(x, y))


def _heart(x: Array, y: Array) -> Array:
    x, y = 1.2 * x, 0.1 - 1.15 * y  # the curve's y points up
    return 1 + (x**2 + y**2 - 1) ** 3 - x**2 * y**3


# Each maps coordinates to a radius; the shape is where it is at most 1.
SHAPES: dict[str, Callable[[Array, Array], Array]] = {
    "circle": lambda x, y: np.hypot(x, y),
    "triangle": lambda x, y: _regular(x, y, 3),
    "square": lambda x, y: _regular(x, y, 4),
    "pentagon": lambda x, y: _regular(x, y, 5),
    "star": _star,
    "cross": _cross,
    "ring": _ring,
    "crescent": _crescent,
    "heart": _heart,
    "bar": lambda x, y: np.maximum(np.abs(x) / 0.3, np.abs(y)),
}


def load_shapes(train: int = 4000, test: int = 1000) -> Data:
    """The data set `shapes`: numbers of training and test images of 10 classes, 32x32 RGB, with masks of the shapes."""
    splits = [_draw_split(count, np.random.default_rng((0, part))) for part, count in enumerate((train, test))]
    return Data("shapes", train=splits[0], test=splits[1])


def cached_shapes() -> Data:
    """`load_shapes()`, drawn once and then read from the cache folder: drawing takes a second."""
    path = cache_folder() / f"shapes-{FORM}-numpy-{np.__version__}.npz"
    with suppress(RunError, DataError):  # missing, or damaged
        arrays = load_arrays(path, [f"{part}_{name}" for part in PARTS for name in ARRAYS])
        drawn = ([arrays[f"{part}_{name}"] for name in ARRAYS] for part in PARTS)
        train, test = (Split(images, labels, tuple(SHAPES), masks) for images, labels, masks in drawn)
        return Data("shapes", train, test)
    data = load_shapes()
    with suppress(RunError):  # the disk is full or read-only
        save_arrays(path, {f"{part}_{name}": getattr(getattr(data, part), name) for part in PARTS for name in ARRAYS})
    return data


def _draw_split(count: int, random: np.random.Generator) -> Split:
    labels = random.permutation(np.arange(count) % len(SHAPES))
    coverage = _coverage(labels, random)
    background = _backgrounds(count, random)
    colour = random.uniform(0, 1, (count, 1, 1, 3))
    # Push a colour that is close to the background's own away from it: an invisible shape has no use.
    ground = background.mean((1, 2), keepdims=True)
    colour = np.where(np.abs(colour - ground).max(-1, keepdims=True) < 0.4, (ground + 0.5) % 1.0, colour)
    images = background + coverage[..., None] * (colour - background)
    images += random.normal(0, random.uniform(0.02, 0.06, (count, 1, 1, 1)), images.shape)
    pixels = (images.clip(0, 1) * 255).round().astype(np.uint8)
    return Split(pixels, labels.astype(np.int64), tuple(SHAPES), coverage > 0.5)


def _coverage(labels: NDArray[np.int_], random: np.random.Generator) -> Array:
    """Share of each pixel that the shape of this label covers, (N, H, W); place, size and turn are drawn."""
    count = len(labels)
    radius = random.uniform(8, 13, (count, 1, 1))
    row, column = random.uniform(radius * 0.9, SIZE - radius * 0.9, (2, count, 1, 1))
    turn = random.normal(0, 0.2, (count, 1, 1))
    samples = (np.arange(SIZE * OVERSAMPLING) + 0.5) / OVERSAMPLING
    coverage = np.empty((count, SIZE, SIZE))
    for label, inside in enumerate(SHAPES.values()):
        which = np.flatnonzero(labels == label)
        y, x = (samples[:, None] - row[which]) / radius[which], (samples - column[which]) / radius[which]
        cosine, sine = np.cos(turn[which]), np.sin(turn[which])
        hit = inside(x * cosine - y * sine, x * sine + y * cosine) <= 1  # (n, H * OVERSAMPLING, W * OVERSAMPLING)
        coverage[which] = hit.reshape(-1, SIZE, OVERSAMPLING, SIZE, OVERSAMPLING).mean((2, 4))
    return coverage


def _backgrounds(count: int, random: np.random.Generator) -> Array:
    """Slopes between two colours, under stripes of random width and direction, (N, H, W, 3) in 0 to 1."""
    y, x = np.meshgrid(np.linspace(-1, 1, SIZE), np.linspace(-1, 1, SIZE), indexing="ij")
    colours = random.uniform(0.1, 0.9, (2, count, 1, 1, 3))
    direction, stripes = random.uniform(0, 2 * np.pi, (2, count, 1, 1))
    slope = 0.5 + 0.5 * (x * np.cos(direction) + y * np.sin(direction)) / np.sqrt(2)
    along = x * np.cos(stripes) + y * np.sin(stripes)
    wave = np.sin(along * random.uniform(4, 20, (count, 1, 1)) + random.uniform(0, 2 * np.pi, (count, 1, 1)))
    texture = wave * random.uniform(0, 0.15, (count, 1, 1))
    backgrounds: Array = colours[0] + slope[..., None] * (colours[1] - colours[0]) + texture[..., None]
    return backgrounds
