"""Grid of a map's cells over the image: spacing and origin in pixels, maps enlarged to pixels, pixels ranked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from seefar.data.images import both
from seefar.errors import ChoiceError
from seefar.seeds import Stream

Maps = NDArray[np.float32]  # (N, h, w), signed, not rescaled

Status = Literal["ok", "no positive evidence", "flat"]


@dataclass(frozen=True)
class Grid:
    """Positions of a map's cells in its image; spacing and origin are the same for rows and columns.

    Attributes:
        cells: rows and columns of cells, (h, w).
        spacing: pixels from the centre of a cell to that of the next.
        origin: pixels from the centre of the image's first pixel to that of the first cell.
    """

    cells: tuple[int, int]
    spacing: float
    origin: float

    @classmethod
    def even(cls, cells: tuple[int, int], image_size: int | tuple[int, int]) -> Grid:
        """Cells that share the image evenly: blocks of (longer side / its cells) pixels."""
        height, width = both(image_size)
        spacing = height / cells[0] if height >= width else width / cells[1]
        return cls(cells, spacing, (spacing - 1) / 2)

    def centres(self, axis: int) -> NDArray[np.float64]:
        """The centres of the cells along an axis (0: rows, 1: columns), in pixels from the first pixel's centre."""
        return self.origin + self.spacing * np.arange(float(self.cells[axis]))


def to_pixels(maps: Maps, image_size: int | tuple[int, int], grid: Grid | None = None, *, smooth: bool = True) -> Maps:
    """Maps (N, h, w) enlarged to the pixels of their images, float32 (N, H, W).

    Bilinear between the cells' centres, or with `smooth=False` each pixel its nearest cell. Without a grid the cells
    share the image evenly; a `ChoiceError` if the grid is that of other maps.
    """
    if np.ndim(maps) != 3:
        raise ChoiceError(f"Maps must be (N, h, w), found {np.shape(maps)}: pass one map as maps[None].")
    size = both(image_size)
    tensor = torch.from_numpy(np.array(maps, dtype=np.float32, order="C"))  # (N, h, w)
    cells = tensor.shape[1], tensor.shape[2]
    grid = grid or Grid.even(cells, size)
    if grid.cells != cells:
        raise ChoiceError(
            f"The grid must be that of these maps, {cells[0]}x{cells[1]} cells (got {grid.cells[0]}x{grid.cells[1]})."
        )
    for axis, pixels in enumerate(size, start=1):
        count = tensor.shape[axis]
        position = ((torch.arange(pixels) - grid.origin) / grid.spacing).clamp(0, count - 1)  # in cells
        if smooth:
            below = position.floor().long().clamp(max=max(count - 2, 0))
            weight = (position - below).view([-1 if a == axis else 1 for a in range(3)])
            lower, upper = (tensor.index_select(axis, at) for at in (below, (below + 1).clamp(max=count - 1)))
            tensor = lower + weight * (upper - lower)
        else:
            tensor = tensor.index_select(axis, (position + 0.5).floor().long().clamp(max=count - 1))
    return tensor.numpy()


def rank_pixels(values: Maps) -> NDArray[np.int64]:
    """The rank of each pixel in its map, int64 (N, H, W), 0 for the highest: exactly k pixels have a rank below k.

    Ties are broken at random, in the same way for each image, however many images there are.
    """
    flat = values.reshape(len(values), values.shape[1] * values.shape[2])
    ties = np.random.default_rng((Stream.TIES, 0)).random(flat.shape[1])
    order = np.lexsort((np.broadcast_to(ties, flat.shape), -flat), axis=1)  # the last key counts first
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(flat.shape[1])[None], axis=1)
    return np.asarray(ranks.reshape(values.shape), dtype=np.int64)


def map_status(map_: NDArray[np.floating]) -> Status:
    """What a map, (h, w), can show.

    `flat`: all cells are equal, up to a millionth, so no region stands out (also where the network's numbers were not
    finite: such maps are zero); `no positive evidence`: no cell is evidence for the class; otherwise `ok`.
    """
    largest = float(np.abs(map_).max())
    if float(np.ptp(map_)) <= 1e-6 * largest:
        return "flat"
    return "ok" if map_.max() > 0 else "no positive evidence"
