"""Whether objects at the border are harder: the error rate of images whose evidence is far from the centre."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seefar.data.images import Images, Labels
from seefar.evaluation.mistakes import ErrorSlice, lowest_tenth, measure_slices, tenths
from seefar.maps.grid import Grid, Maps


def evidence_off_centre(maps: Maps, grid: Grid, image_size: int) -> NDArray[np.float64]:
    """Distance of the centre of each map's positive evidence from the centre of its image, in pixels, float64 (N,).

    0 for a map, (h, w) of (N, h, w), without positive evidence.
    """
    evidence = np.maximum(maps, 0).astype(np.float64)
    total = evidence.sum((1, 2))
    total = np.where(total > 0, total, np.inf)  # a map without evidence: in the centre
    centre = (image_size - 1) / 2
    rows, columns = grid.centres(0) - centre, grid.centres(1) - centre
    down = (evidence * rows[:, None]).sum((1, 2)) / total
    across = (evidence * columns).sum((1, 2)) / total
    return np.asarray(np.hypot(down, across))


def border_slice(images: Images, labels: Labels, predicted: Labels, off_centre: NDArray[np.floating]) -> ErrorSlice:
    """The tenth of at least two images whose evidence is farthest from the centre, beside the slices of `tenths`.

    Its p is corrected for all of them together; `off_centre`, (N,), is from `evidence_off_centre`.
    """
    meaning = "middle of the map's evidence at least {:.1f} pixels from that of the image"
    chosen = {**tenths(images), "at the border": lowest_tenth(-np.asarray(off_centre), meaning)}
    return next(one for one in measure_slices(chosen, predicted != labels) if one.name == "at the border")
