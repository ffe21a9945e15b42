"""Maps and logits of images in parts of one size: no result depends on which other images are explained with it.

A network's numbers for an image can depend in their last bits on how many images are in the batch, but not on which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from seefar.data.images import Images, Labels
from seefar.maps.grid import Maps
from seefar.maps.logits import logits_of, to_pictures
from seefar.maps.methods import maps_of_two
from seefar.model.resnet import ResNet18
from seefar.names import MethodName

PART = 20
"""Images in a batch: few, since the last part is filled up to it, and a user waits for ten mistakes first."""


@dataclass(frozen=True)
class PairOfMaps:
    """How the maps of two classes an image are made.

    Attributes:
        method: which of the family.
        layer: see `seefar.gradcam`.
        cells: see `seefar.gradcam`.
    """

    method: MethodName
    layer: str | None
    cells: int | None

    def __call__(
        self, network: nn.Module, images: Images, first: Labels, second: Labels, done: Callable[[int], None]
    ) -> tuple[Maps, Maps]:
        """Maps of the first and of the second class, float32 (N, h, w) each.

        Args:
            network: whose.
            images: uint8 (N, H, W, 3), at least one.
            first: int64 (N,).
            second: int64 (N,).
            done: progress callback; receives the number of images finished.
        """
        ones, twos = [], []
        for rows in parts(len(images)):
            stored = filled(images[rows], PART)
            inputs = stored if isinstance(network, ResNet18) else to_pictures(network, stored)
            classes = filled(first[rows], PART), filled(second[rows], PART)
            one, two = maps_of_two(self.method, network, inputs, *classes, self.layer, cells=self.cells)
            count = len(images[rows])
            ones.append(one[:count])
            twos.append(two[:count])
            done(count)
        return np.concatenate(ones), np.concatenate(twos)


def answers(network: nn.Module) -> Callable[[Images], NDArray[np.float32]]:
    """The network as a function from stored images to logits, (N, K), that runs it on parts of one size."""

    def ask(images: Images) -> NDArray[np.float32]:
        found = [logits_of(network, filled(images[rows], PART)) for rows in parts(len(images), PART)]
        return np.concatenate(found)[: len(images)]

    return ask


def parts(count: int, size: int = PART) -> Iterator[slice]:
    """Slices of so many rows, each of `size` but the last."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def filled(rows: NDArray[Any], size: int) -> NDArray[Any]:
    """The rows, and the last one again until there are `size`."""
    return np.concatenate((rows, np.repeat(rows[-1:], size - len(rows), axis=0)))
