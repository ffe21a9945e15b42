"""Explain a batch of images: two maps each, the occlusion test on their difference, sanity checks of the map.

For mistakes the two classes are the predicted and the true one, for pictures without a label the runner-up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from seefar.choices import HideName, MapChoices, MethodName
from seefar.data.images import Images, Labels
from seefar.explanation.health import Health, check_health
from seefar.explanation.occlusion import Pixels, Repair, find_repairs, occlude
from seefar.maps.capture import default_cells, find_layer, logits_of, original, to_pictures
from seefar.maps.class_maps import METHODS, class_maps
from seefar.maps.formulas import gradcam
from seefar.maps.grid import Grid, Maps, both, grid_of
from seefar.maps.sanity import randomized
from seefar.model.resnet import ResNet18

BATCH = 20
"""Images in a batch: few, since the last batch is filled up, and a user waits for the first ten mistakes."""

Classes = tuple[Labels, Labels]
"""Two classes for each of n images, int64 (n,) each: the predicted one and the one it is contrasted with."""


@dataclass(frozen=True)
class MapSettings:
    """How mistakes are explained, in one form for all ways to say the same.

    Attributes:
        method: one of `seefar.maps.class_maps.METHODS`.
        layer: name of a submodule; None: the last stage of the dense twin.
        cells: cells on a side of the default layer; None: the default number, also where it was given as a number.
        hide: what replaces hidden pixels.
        grid: positions of the cells, as far as the network's architecture determines them.
    """

    method: MethodName
    layer: str | None
    cells: int | None
    hide: HideName
    grid: Grid

    def two_maps(self, network: nn.Module, images: Images, classes: Classes) -> tuple[Maps, Maps]:
        """Maps of two classes for each of 1 to `BATCH` images, float32 (n, h, w) each, from one full batch."""
        stored, first, second = (fill(rows) for rows in (images, *classes))
        inputs = stored if isinstance(network, ResNet18) else to_pictures(network, stored)
        if self.layer is None and self.method in ("gradcam", "hirescam"):
            both_maps = class_maps(network, inputs, self.cells)  # the same maps, from one forward pass
            one, two = both_maps.of(first), both_maps.of(second)
        else:
            method = METHODS[self.method]
            one, two = (method(network, inputs, of, self.layer, cells=self.cells) for of in (first, second))
        return one[: len(images)], two[: len(images)]

    def contrast(self, network: nn.Module, images: Images, classes: Classes) -> Maps:
        """The difference of the two maps."""
        first, second = self.two_maps(network, images, classes)
        return first - second


def normalise_map_settings(
    model: nn.Module, image_size: int | tuple[int, int], choices: MapChoices | None = None
) -> MapSettings:
    """Check that a model can be explained with these choices, and write them in one form; takes the time of one map.

    Args:
        model: a `ResNet18`, or another torch module, see `seefar.explain`. Its weights and width do not matter.
        image_size: height and width of the images in pixels, or one number for both.
        choices: method, layer, cells and what replaces hidden pixels; default: those of `MapChoices`.

    Raises:
        ChoiceError: there is no such layer or number of cells, or the maps are too coarse to show regions.

    Example:
        >>> import seefar
        >>> settings = normalise_map_settings(seefar.ResNet18(width=2), 32, MapChoices(cells=8))
        >>> settings.cells is None, settings.grid.cells  # 8 is the default
        (True, (8, 8))
    """
    choices = choices or MapChoices()
    height, width = both(image_size)
    network, black = original(model), np.zeros((1, height, width, 3), np.uint8)
    inputs = black if isinstance(network, ResNet18) else to_pictures(network, black)
    rows, columns = gradcam(network, inputs, 0, choices.layer, cells=choices.cells).shape[1:]
    is_default = choices.layer is None and choices.cells == default_cells(width)
    cells = None if is_default else choices.cells
    grid = grid_of(network, (rows, columns), (height, width))
    return MapSettings(choices.method, choices.layer, cells, choices.hide, grid)


def layer_name(model: nn.Module, layer: str | nn.Module | None) -> str | None:
    """The name of a layer that is given by name or as the module itself; None for the default layer."""
    return None if layer is None else find_layer(original(model), layer)


@dataclass(frozen=True)
class ExplainedBatch:
    """Maps, occlusion test and health badges of n images.

    Attributes:
        first, second: maps of the two classes, float32 (n, h, w) each.
        hidden: bool (n, H, W), the pixels that the occlusion test hid in the end.
        repairs: the effect of hiding them.
        health: how far the difference of the two maps can be trusted.
    """

    first: Maps
    second: Maps
    hidden: Pixels
    repairs: list[Repair]
    health: list[Health]


@dataclass(frozen=True, eq=False)
class Explainer:
    """Explains why a network predicts one class rather than another.

    The network runs on full batches of `BATCH` images, filled up with copies of the last one: the last bits of its
    numbers for an image can depend on how many images are in the batch, but not on which.

    Attributes:
        network: what is explained, not compiled.
        settings: how it is explained.
        grid: positions of the maps' cells, measured or `settings.grid`.
    """

    network: nn.Module
    settings: MapSettings
    grid: Grid

    @cached_property
    def random_network(self) -> nn.Module:
        """The network with random weights throughout."""
        *_, (_, network) = randomized(self.network)
        return network

    def logits(self, images: Images) -> NDArray[np.float32]:
        """Logits, (n, K), of at most `BATCH` images."""
        return logits_of(self.network, fill(images))[: len(images)]

    def explain_batch(
        self,
        images: Images,
        classes: Classes,
        before: NDArray[np.float64],
        index: NDArray[np.int64],
        masks: Pixels | None = None,
    ) -> ExplainedBatch:
        """Explain why the first class rather than the second, for 1 to `BATCH` images.

        Args:
            images: uint8 (n, H, W, 3).
            classes: the predicted class, and the one to contrast it with.
            before: probabilities of these two classes, float64 (n, 2).
            index: data set indices, int64 (n,), from which the control masks are drawn.
            masks: the pixels that decide, bool (n, H, W), where the data set knows them.
        """
        first, second = self.settings.two_maps(self.network, images, classes)
        contrast = first - second
        occlusion = occlude(
            self.logits, images, *classes, contrast, grid=self.grid, how=self.settings.hide, index=index
        )
        mirrored = self.settings.contrast(self.network, images[:, :, ::-1], classes)
        random = self.settings.contrast(self.random_network, images, classes)
        changes = occlusion.top.first_change, occlusion.shifted.first_change
        size = images.shape[1], images.shape[2]
        return ExplainedBatch(
            first,
            second,
            occlusion.top.pixels,
            find_repairs(occlusion, *classes, before, contrast, grid=self.grid),
            check_health(contrast, mirrored, random, changes, image_size=size, grid=self.grid, masks=masks),
        )


def fill(rows: NDArray[Any]) -> NDArray[Any]:
    """The rows, and the last one repeated until there are `BATCH`."""
    return np.concatenate((rows, np.repeat(rows[-1:], BATCH - len(rows), axis=0)))
