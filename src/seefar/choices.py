"""Choices that functions and flags share. Imports nothing heavy, so that --help is quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from seefar.errors import ChoiceError

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
PrecisionName = Literal["auto", "float32", "bfloat16", "float16"]
InferencePrecision = Literal["float32", "bfloat16"]
Border = Literal["black", "reflected"]
Fit = Literal["crop", "pad", "stretch"]
Flip = Literal["alternating", "random", "none"]
Order = Literal["loss", "confidence", "index"]
MethodName = Literal["gradcam", "gradcam++", "hirescam", "layercam", "integrated_gradients"]
HideName = Literal["blur", "grey", "mean"]
Explained = Literal["all", "shown"]


BUILT_IN = ("cifar10", "cifar100", "fashion_mnist", "shapes")
"""Names of data sets; all have images of 32x32 pixels."""


@dataclass(frozen=True)
class MapChoices:
    """How maps are computed, and what replaces hidden evidence."""

    method: MethodName = "gradcam"
    """Which class activation map to compute."""
    layer: str | None = None
    """Layer to map, such as layer3. Default: the last stage of the dense twin."""
    cells: int | None = None
    """Cells per side of the default layer: 8, 16 or 32 for 32-pixel images. Default: 8."""
    hide: HideName = "blur"
    """Replacement of the hidden pixels in the occlusion test: the blurred surroundings, grey, or the image's mean."""

    def __post_init__(self) -> None:
        self._check("method", MethodName)
        self._check("hide", HideName)

    def _check(self, name: str, kind: Any) -> None:
        value, names = getattr(self, name), get_args(kind)
        if value not in names:
            raise ChoiceError(f"{name} must be one of {', '.join(names)} (got {value!r}).")


@dataclass(frozen=True)
class Choices(MapChoices):
    """Which mistakes to show, and how mistakes are explained."""

    top: int = 10
    """How many mistakes to show, 1 to 100."""
    order: Order = "loss"
    """Sort by loss, by confidence, or by index."""
    true: str | None = None
    """Only mistakes whose true class is this one."""
    predicted: str | None = None
    """Only mistakes whose predicted class is this one."""
    explain: Explained = "all"
    """Which mistakes to explain: all, beginning with those shown; or only those shown, for a first look."""
    neighbours: bool = True
    """Also find the nearest training images of each mistake. The first time takes as long as five evaluations."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("order", Order)
        self._check("explain", Explained)
        if not (isinstance(self.top, int) and 1 <= self.top <= 100):
            raise ChoiceError(f"top must be between 1 and 100, which one figure can show (got {self.top!r}).")
