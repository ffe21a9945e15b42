"""The methods by name, the contrast of two classes, and what can be said of a map at a glance."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from seefar.data.images import Images
from seefar.errors import MapError
from seefar.maps.baselines import centre_blob, random_map, sobel_edges
from seefar.maps.formulas import eigencam, gradcam, gradcam_plus_plus, hirescam, layercam
from seefar.maps.grid import Maps
from seefar.maps.map_method import MapMethod
from seefar.maps.scorecam import scorecam

Status = Literal["ok", "no positive evidence", "flat"]


METHODS: dict[str, MapMethod] = {
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
    "hirescam": hirescam,
    "layercam": layercam,
    "eigencam": eigencam,
    "scorecam": scorecam,
}
"""The family, by the names that `--method` takes."""

BASELINES: dict[str, MapMethod] = {"random": random_map, "centre": centre_blob, "edges": sobel_edges}
"""What every method must beat."""

SAME_FOR_EVERY_CLASS = ("eigencam", *BASELINES)
"""Whose contrast of two classes is zero everywhere."""


def contrast_map(
    model: nn.Module,
    images: Images | Tensor,
    predicted: ArrayLike,
    true: ArrayLike,
    layer: str | None = None,
    *,
    method: MapMethod = gradcam,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """Why the one class rather than the other: map of `predicted` minus map of `true`.

    With Grad-CAM, which is linear in the gradient, this is the map of the difference of the two logits; at the default
    layer the mean over the cells that enter the logits, plus the difference of the two biases, is the margin. Swapping
    the classes turns the sign; a class against itself is zero.

    Args:
        model: as in `seefar.gradcam`, like images, layer, cells, force, the result and the errors.
        images: N images.
        predicted: class index for each image, int (N,), or one for all.
        true: likewise.
        layer: which layer.
        method: which of the family.
        cells: how fine.
        force: also coarser than is of use.
    """
    maps = [method(model, images, classes, layer, cells=cells, force=force) for classes in (predicted, true)]
    return maps[0] - maps[1]


def map_status(map_: NDArray[np.floating]) -> Status:
    """What a map, (h, w), can show.

    `flat`: all cells are equal, up to a millionth, so no region stands out (also where the network's numbers were not
    finite: such maps are zero); `no positive evidence`: no cell speaks for the class; otherwise `ok`.
    """
    largest = float(np.abs(map_).max())
    if float(np.ptp(map_)) <= 1e-6 * largest:
        return "flat"
    return "ok" if map_.max() > 0 else "no positive evidence"


def find_method(name: str) -> MapMethod:
    """The method of that name.

    Raises:
        MapError: there is none.
    """
    methods = {**METHODS, **BASELINES}
    if name not in methods:
        raise MapError(f"There is no method {name!r}: choose one of {', '.join(methods)}.")
    return methods[name]
