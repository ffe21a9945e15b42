"""From a network and images to the layer whose cells a map is made of, and from cells back to pixels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seefar.data.images import Images
from seefar.errors import MapError
from seefar.model.inference import device_of
from seefar.model.resnet import ResNet18
from seefar.model.twin import dense_twin
from seefar.seeds import Stream

Maps = NDArray[np.float32]  # (N, h, w), signed, not rescaled

BATCH_SIZE = 100
SMALLEST_MAP = 6  # cells on a side; 5x5 and less shows no region


def original(model: nn.Module) -> nn.Module:
    """The module that `torch.compile` was given: hooks do not reach into compiled code."""
    inner = getattr(model, "_orig_mod", model)
    assert isinstance(inner, nn.Module)
    return inner


def to_inputs(model: nn.Module, images: Images | Tensor) -> Tensor:
    """Stored images as the network's input, on its device; a float tensor is the input already.

    Raises:
        MapError: the images are uint8, and the network does not know how to normalise them.
    """
    if isinstance(images, np.ndarray):
        images = torch.from_numpy(images)
    images = images.to(device_of(model))
    if images.dtype != torch.uint8:
        return images
    if not isinstance(model, ResNet18):
        raise MapError(f"{type(model).__name__} cannot take uint8 images: pass the float tensor it was trained on.")
    normalized: Tensor = model.normalize(images)
    return normalized


def fine_twin(model: nn.Module, image_size: int, cells: int | None, force: bool = False) -> ResNet18:
    """The dense twin whose last stage has this many cells on a side; by default the first with at least 6.

    Raises:
        MapError: the network is no `ResNet18`, or no twin of it has that many cells.
    """
    if not isinstance(model, ResNet18):
        raise MapError(f"The default layer is that of a ResNet18, this is a {type(model).__name__}: name a layer.")
    sizes = _doublings(image_size)
    fine = {size: doublings for size, doublings in sizes.items() if size >= SMALLEST_MAP or force}
    wanted = next(size for size in sizes if size >= SMALLEST_MAP and sizes[size]) if cells is None else cells
    if wanted not in fine:
        those = ", ".join(map(str, fine))
        raise MapError(f"{wanted} cells cannot be had of {image_size}-pixel images: pass one of {those}.")
    return dense_twin(model, sizes[wanted])


def cell_stride_of(layer: str | None, height: int, image_size: int) -> int:
    """Every how many-th cell of a map of this many rows enters the logits: 1 for a named layer, more for the twin's."""
    return 1 if layer is not None else int(2 ** _doublings(image_size)[height])


def _doublings(image_size: int) -> dict[int, int]:
    """How many strides are taken away from the network, by the cells on a side that its last stage then has."""
    # A stride of 2 halves the cells, rounding up; the network has three of them.
    return {-(-image_size // 2 ** (3 - doublings)): doublings for doublings in range(4)}


def cell_centres(count: int, image_size: int, first: float | None = None) -> NDArray[np.float64]:
    """Where the cells of a row or column lie, in pixels from the middle of the first one; see `to_pixels`."""
    pixels_per_cell = image_size / count
    begin = (pixels_per_cell - 1) / 2 if first is None else first
    centres: NDArray[np.float64] = begin + pixels_per_cell * np.arange(float(count))
    return centres


def to_pixels(maps: Maps, image_size: int, first: float | None = None, *, smooth: bool = True) -> Maps:
    """Maps (N, h, w) laid over their images, (N, image_size, image_size): bilinear, or each pixel its nearest cell.

    The cells of a named layer share the image evenly. Where those of the twin look is learnt, not given, so it is
    measured: see `find_first_cell`.

    Args:
        maps: (N, h, w).
        image_size: height and width of the images.
        first: pixels from the middle of the first pixel to that of the first cell, in both directions; default: cells
            that share the image evenly.
        smooth: interpolate between the cells' centres.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(maps, dtype=np.float32))  # (N, h, w)
    for axis in (1, 2):
        count = tensor.shape[axis]
        begin = cell_centres(count, image_size, first)[0]
        place = ((torch.arange(image_size) - begin) / (image_size / count)).clamp(0, count - 1)
        if smooth:
            below = place.floor().long().clamp(max=max(count - 2, 0))
            weight = (place - below).view([-1 if a == axis else 1 for a in range(3)])
            lower, upper = (tensor.index_select(axis, at) for at in (below, (below + 1).clamp(max=count - 1)))
            tensor = lower + weight * (upper - lower)
        else:
            tensor = tensor.index_select(axis, (place + 0.5).floor().long().clamp(max=count - 1))
    return tensor.numpy()


def rank_pixels(values: Maps, seed: int = 0) -> NDArray[np.int64]:
    """Each pixel's place in the order of its map, 0 for the highest, so that exactly k pixels have a place below k.

    Ties are broken at random, each image's in the same way however many images there are.

    Args:
        values: (N, H, W).
        seed: of the ties.
    """
    flat = values.reshape(len(values), values.shape[1] * values.shape[2])
    ties = np.random.default_rng((Stream.TIES, seed)).random(flat.shape[1])
    order = np.lexsort((np.broadcast_to(ties, flat.shape), -flat), axis=1)  # the last key counts first
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(flat.shape[1])[None], axis=1)
    return np.asarray(ranks.reshape(values.shape), dtype=np.int64)
