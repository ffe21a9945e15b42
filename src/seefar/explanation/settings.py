"""Settings of an explanation, checked before anything long begins: method, layer, cells, what hides."""

from __future__ import annotations

from typing import get_args

import numpy as np
from torch import nn

from seefar.errors import MapError
from seefar.maps.capture import find_layer
from seefar.maps.formulas import gradcam
from seefar.maps.logits import to_pictures
from seefar.maps.methods import METHODS
from seefar.maps.network import original
from seefar.model.resnet import ResNet18
from seefar.names import HideName


def check_map_settings(
    model: nn.Module,
    image_size: int | tuple[int, int],
    method: str = "gradcam",
    layer: str | nn.Module | None = None,
    cells: int | None = None,
) -> tuple[int, int]:
    """Check that mistakes of a model can be explained so, in the time of one map; its weights do not matter.

    Args:
        model: a `ResNet18`, or another torch module, see `seefar.explain`.
        image_size: height and width of the images in pixels, or one number for both.
        method: see `seefar.explain`, like layer and cells.
        layer: which layer.
        cells: how fine.

    Returns:
        Rows and columns of cells that its maps have.

    Raises:
        MapError: there is no such method or layer, or it cannot give maps that show why one class and not another.

    Example:
        >>> import seefar
        >>> check_map_settings(seefar.ResNet18(width=2), 32, layer="layer2")
        (16, 16)
    """
    if method not in METHODS:
        raise MapError(f"There is no method {method!r}: choose one of {', '.join(METHODS)}.")
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    network, black = original(model), np.zeros((1, height, width, 3), np.uint8)
    inputs = black if isinstance(network, ResNet18) else to_pictures(network, black)
    rows, columns = gradcam(network, inputs, 0, layer, cells=cells).shape[1:]
    return rows, columns


def layer_name(model: nn.Module, layer: str | nn.Module | None) -> str | None:
    """The name of a layer that was given by name or as the module itself."""
    return None if layer is None else find_layer(original(model), layer)


def check_hide(name: str) -> None:
    """Check the name of what takes the place of hidden pixels.

    Raises:
        MapError: there is none such.
    """
    if name not in get_args(HideName):
        raise MapError(f"hide={name!r} is unknown: choose one of {', '.join(get_args(HideName))}.")
