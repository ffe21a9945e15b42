"""Choices: which mistakes are shown, and how mistakes are explained. Imports nothing heavy, so that --help is quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seefar.errors import ChoiceError
from seefar.names import HideName, MethodName, Order


@dataclass(frozen=True)
class MapChoices:
    """How maps are made, and what takes the place of hidden evidence."""

    method: MethodName = "gradcam"
    """Which class activation map to compute."""
    layer: str | None = None
    """Layer to map, such as layer3. Default: the last stage of the dense twin."""
    cells: int | None = None
    """Cells on a side that the default layer is to have: 8, 16 or 32 for 32-pixel images. Default: 8."""
    hide: HideName = "blur"
    """What the occlusion test puts in place of the evidence: the blurred surroundings, grey, or the image's mean."""


@dataclass(frozen=True)
class Choices(MapChoices):
    """Which mistakes to show, and how mistakes are explained.

    Example:
        >>> Choices(top=20, order="confidence").method
        'gradcam'
    """

    top: int = 10
    """How many mistakes to show, 1 to 100."""
    order: Order = "loss"
    """Which first: the costliest, the surest, or as the test set lies."""
    true: str | None = None
    """Only mistakes on images of this class."""
    predicted: str | None = None
    """Only mistakes that name this class."""
    explain: Literal["all", "shown"] = "all"
    """Which mistakes to explain: all, those that are shown first; or only those."""
    neighbours: bool = True
    """Whether to look for the nearest training images of each mistake, after all else is there. That takes as long as
    five evaluations of the test set, once."""

    def __post_init__(self) -> None:
        """Refuse a number of mistakes that one figure cannot show."""
        if not 1 <= self.top <= 100:
            raise ChoiceError(f"top is {self.top}, one figure shows 1 to 100 mistakes: choose a number from 1 to 100.")
        if self.explain not in ("all", "shown"):
            raise ChoiceError(f"explain is {self.explain!r}: choose 'all' or 'shown'.")
