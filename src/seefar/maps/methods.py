"""Map methods by name, contrast maps of two classes, and the status of a map: ok, no positive evidence, flat."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import nn

from seefar.maps.class_maps import class_maps
from seefar.maps.formulas import gradcam, gradcam_plus_plus, hirescam, layercam
from seefar.maps.grid import Maps
from seefar.maps.network import Pictures

Status = Literal["ok", "no positive evidence", "flat"]

MapMethod = Callable[..., Maps]
"""A function with the arguments of `seefar.gradcam`."""

METHODS: dict[str, MapMethod] = {
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
    "hirescam": hirescam,
    "layercam": layercam,
}
"""The family, by the names that `--method` takes."""


def contrast_map(
    model: nn.Module,
    images: Pictures,
    predicted: ArrayLike,
    true: ArrayLike,
    layer: str | nn.Module | None = None,
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

    Example:
        >>> import numpy as np
        >>> import seefar
        >>> net, images = seefar.ResNet18(width=2), np.zeros((2, 32, 32, 3), np.uint8)
        >>> float(np.abs(seefar.contrast_map(net, images, predicted=3, true=3)).max())
        0.0
    """
    one, two = (method(model, images, classes, layer, cells=cells, force=force) for classes in (predicted, true))
    return one - two


def maps_of_two(
    method: str,
    model: nn.Module,
    images: Pictures,
    predicted: ArrayLike,
    true: ArrayLike,
    layer: str | nn.Module | None = None,
    *,
    cells: int | None = None,
) -> tuple[Maps, Maps]:
    """The maps of two classes an image, (N, h, w) each, by the quickest way that a method has.

    Args:
        method: its name.
        model: as in `seefar.gradcam`, like images, layer, cells and the errors.
        images: N images.
        predicted: classes of the first maps, int (N,), or one for all.
        true: classes of the second maps, likewise.
        layer: which layer.
        cells: how fine.
    """
    if layer is None and method in ("gradcam", "hirescam"):
        both = class_maps(model, images, cells)  # the same maps, from one forward pass
        return both.of(predicted), both.of(true)
    one, two = (METHODS[method](model, images, classes, layer, cells=cells) for classes in (predicted, true))
    return one, two


def map_status(map_: NDArray[np.floating]) -> Status:
    """What a map, (h, w), can show.

    `flat`: all cells are equal, up to a millionth, so no region stands out (also where the network's numbers were not
    finite: such maps are zero); `no positive evidence`: no cell speaks for the class; otherwise `ok`.

    Example:
        >>> import numpy as np
        >>> import seefar
        >>> seefar.map_status(np.array([[0.0, 1.0], [-2.0, 0.0]])), seefar.map_status(np.ones((8, 8)))
        ('ok', 'flat')
    """
    largest = float(np.abs(map_).max())
    if float(np.ptp(map_)) <= 1e-6 * largest:
        return "flat"
    return "ok" if map_.max() > 0 else "no positive evidence"
