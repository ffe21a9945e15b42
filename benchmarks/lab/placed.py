"""Contrast maps of many images, and the grid of their cells with its origin measured: what several benchmarks need."""

from __future__ import annotations

from numpy.typing import ArrayLike

from seefar.data.images import Images
from seefar.maps.formulas import class_maps, grid_of
from seefar.maps.grid import Grid, Maps
from seefar.maps.sanity import find_origin
from seefar.model.resnet import ResNet18


def placed_contrast(
    model: ResNet18, images: Images, predicted: ArrayLike, true: ArrayLike, cells: int | None = None
) -> tuple[Maps, Grid]:
    """The contrast maps (N, h, w) of stored images, and where their cells lie."""
    contrast, of_mirrored = (
        class_maps(model, part, cells).contrast(predicted, true) for part in (images, images[:, :, ::-1].copy())
    )
    size = images.shape[1]
    return contrast, find_origin(contrast, of_mirrored, size, grid_of(model, contrast.shape[1:], size))
