"""A recipe is every choice that decides what a training ends with.

This module imports no torch, so that --help is quick.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, NoReturn, get_args

import tyro

from seefar.errors import RecipeError
from seefar.names import Border, Flip, one_spelling
from seefar.runs.files import parse_json

Schedule = Literal["one-cycle", "constant"]
LATER = {"final_rate": 0.0, "norm_bias_rate": 1.0, "crop_border": "black", "average": 0.0}
"""Fields that recipes written by version 0.1 do not have, and what was done then."""


@dataclass(frozen=True)
class Recipe:
    """All hyperparameters of a training. The defaults are those of the recipe `fast`."""

    name: Annotated[str, tyro.conf.Suppress] = "fast"  # no flag: --name is that of the run
    """What the recipe is called; the run folder takes this name unless another is given."""
    data: str = "cifar10"
    """Data set: cifar10, shapes, or a folder with train/<class>/ and test/<class>/."""
    image_size: int = 32
    """Height and width in pixels that the images of a folder are brought to; cifar10 and shapes have 32."""
    held_out: int = 0
    """Training images set aside; accuracy on them is measured after each epoch. For choosing settings."""
    seed: int = 0
    """Decides the first weights, the order of the images and their augmentation."""

    width: int = 64
    """Channels of the first stage of the ResNet-18; 64 is the usual one with 11,173,962 parameters."""

    epochs: int = 20
    """How often every training image is seen."""
    batch_size: int = 256
    """Images in one step."""
    scales: tuple[float, ...] = (1.0,)
    """Scales the images are shrunk to, to 12 pixels at the least, each for an equal part of the epochs."""
    learning_rate: float = 0.2
    """Rate of SGD: the peak of one-cycle, or the constant rate."""
    schedule: Schedule = "one-cycle"
    """one-cycle: linear from 0 to the peak and back to 0; constant: the same rate throughout."""
    warm_up: float = 0.25
    """Share of the steps in which one-cycle rises."""
    final_rate: float = 0.0
    """Share of the peak that one-cycle falls to."""
    norm_bias_rate: float = 16.0
    """How many times as large the rate of the norms' biases is."""
    average: float = 0.0
    """Share of the steps, the last ones, over which the weights are averaged; 0: the last step's are taken."""
    momentum: float = 0.9
    """Momentum of SGD."""
    nesterov: bool = True
    """Nesterov's form of momentum."""
    weight_decay: float = 5e-4
    """Weight decay of convolutions and the linear layer; norms and biases have none."""
    label_smoothing: float = 0.1
    """Share of each target that is spread over all classes."""

    crop_padding: int = 4
    """Pixels put around an image before the random crop; 0: the crop changes nothing."""
    crop_border: Border = "reflected"
    """What these pixels are: black, or the image reflected at its edge."""
    flip: Flip = "alternating"
    """Mirroring: at random, or alternating from one epoch to the next."""
    cutout: int = 0
    """Side in pixels of the square that Cutout hides; 0: none."""
    cutout_probability: float = 0.5
    """Share of the images that Cutout is applied to."""
    cutout_fill: int = -1
    """Grey level 0 to 255 of the square; -1: the mean colour of the training images."""
    standardize: bool = True
    """Normalise with the mean and deviation of the training images; otherwise with 0.5 and 0.5."""

    log_every: int = 50
    """Steps between two lines of the log and the history."""

    def __post_init__(self) -> None:
        """Make plain Python values of numpy's, and refuse what no training can use."""
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, self._plain(field.name, getattr(self, field.name), field.default))
        object.__setattr__(self, "data", one_spelling(self.data))
        wanted = {
            "image_size": (16 <= self.image_size <= 96, "16 to 96"),
            "held_out": (self.held_out >= 0, "0 or more"),
            "seed": (0 <= self.seed < 2**31, "0 to 2147483647"),
            "width": (1 <= self.width <= 4096, "1 to 4096"),
            "epochs": (1 <= self.epochs <= 10_000, "1 to 10000"),
            "batch_size": (self.batch_size >= 2, "2 or more (batch norm needs two images)"),
            "scales": (bool(self.scales) and all(0.25 <= scale <= 1 for scale in self.scales), "scales of 0.25 to 1"),
            "learning_rate": (0 < self.learning_rate < float("inf"), "a positive number"),
            "schedule": (self.schedule in get_args(Schedule), " or ".join(get_args(Schedule))),
            "warm_up": (0 <= self.warm_up < 1, "0 or more and less than 1"),
            "final_rate": (0 <= self.final_rate <= 1, "0 to 1"),
            "average": (0 <= self.average <= 1, "0 to 1"),
            "norm_bias_rate": (0 < self.norm_bias_rate < float("inf"), "a positive number"),
            "momentum": (0 <= self.momentum < 1, "0 or more and less than 1"),
            "nesterov": (not self.nesterov or self.momentum > 0, "a momentum above 0 with it"),
            "weight_decay": (0 <= self.weight_decay < float("inf"), "0 or more"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "0 or more and less than 1"),
            "crop_padding": (0 <= self.crop_padding <= 32, "0 to 32"),
            "crop_border": (self.crop_border in get_args(Border), " or ".join(get_args(Border))),
            "flip": (self.flip in get_args(Flip), " or ".join(get_args(Flip))),
            "cutout": (0 <= self.cutout <= 32, "0 to 32"),
            "cutout_probability": (0 <= self.cutout_probability <= 1, "0 to 1"),
            "cutout_fill": (-1 <= self.cutout_fill <= 255, "-1 to 255"),
            "log_every": (self.log_every >= 1, "1 or more"),
        }
        for name, (right, range_) in wanted.items():
            if not right:
                self._refuse(name, getattr(self, name), range_)

    def _plain(self, name: str, value: Any, default: Any) -> Any:
        """A value of the default's type: str, bool, int, float, or a tuple of floats; numpy's numbers are converted."""
        value = value.item() if getattr(value, "shape", None) == () else value
        if isinstance(default, tuple):
            if isinstance(value, str) or not isinstance(value, Iterable):
                self._refuse(name, value, "several numbers")
            return tuple(self._plain(name, part, 0.0) for part in value)
        if isinstance(default, float) and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if type(value) is not type(default):
            kinds = {str: "a text", bool: "True or False", int: "a whole number", float: "a number"}
            self._refuse(name, value, kinds[type(default)])
        return value

    def _refuse(self, name: str, value: object, wanted: str) -> NoReturn:
        raise RecipeError(f"Recipe {self.name}: {name} is {value!r}, {wanted} was wanted.")

    def to_json(self) -> str:
        """The recipe as JSON text, one field a line."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """The recipe that `to_json` wrote; fields in `LATER` may be missing.

        Raises:
            RecipeError: the text is no JSON object, or has fields a recipe does not have.
        """
        try:
            fields = parse_json(text)
        except ValueError as error:
            raise RecipeError(
                f"This is no recipe: a JSON object was wanted, found text that is none ({error})."
            ) from error
        wanted = dataclasses.asdict(cls())
        if isinstance(fields, dict):
            fields = {**LATER, **fields}
        if not isinstance(fields, dict) or set(fields) != set(wanted):
            odd = sorted(set(fields) ^ set(wanted)) if isinstance(fields, dict) else [f"a {type(fields).__name__}"]
            raise RecipeError(f"This is no recipe: {', '.join(wanted)} were wanted, what differs is {', '.join(odd)}.")
        for name, value in fields.items():
            if not _is_like(value, wanted[name]):
                raise RecipeError(f"This is no recipe: {name} is {value!r}, a value like {wanted[name]!r} was wanted.")
        return cls(**{**fields, "scales": tuple(fields["scales"])})

    def differences(self, other: Recipe) -> str:
        """The fields that differ, as `epochs 20, not 5`, this recipe's value first; empty if none does."""
        pairs = [(f.name, getattr(self, f.name), getattr(other, f.name)) for f in dataclasses.fields(self)]
        return "; ".join(f"{name} {mine}, not {theirs}" for name, mine, theirs in pairs if mine != theirs)


def _is_like(value: object, default: object) -> bool:
    if isinstance(default, tuple):
        return isinstance(value, list) and all(_is_number(part) for part in value)
    return _is_number(value) if isinstance(default, float) else type(value) is type(default)


def _is_number(value: object) -> bool:
    """Whether it is a number that a float can hold."""
    return type(value) is float or (type(value) is int and abs(value) < 2**63)


RECIPES = {
    "fast": Recipe(),
    "quick": Recipe(
        name="quick",
        epochs=5,
        batch_size=128,
        scales=(0.375, 0.5, 0.5, 0.625, 1.0),
        learning_rate=0.15,
        norm_bias_rate=1.0,
        crop_padding=2,
        crop_border="black",
    ),
    "seed": Recipe(
        name="seed",
        batch_size=4,
        learning_rate=0.001,
        schedule="constant",
        norm_bias_rate=1.0,
        nesterov=False,
        weight_decay=0.0,
        label_smoothing=0.0,
        crop_padding=0,
        crop_border="black",
        flip="none",
        cutout=16,
        cutout_fill=127,
        standardize=False,
        log_every=2000,
    ),
    "demo": Recipe(
        name="demo",
        data="shapes",
        width=16,
        epochs=5,
        batch_size=32,
        learning_rate=0.1,
        norm_bias_rate=1.0,
        label_smoothing=0.0,
        crop_padding=2,
        crop_border="black",
        log_every=25,
    ),
}
"""The named recipes; `fast` is the default."""


def recipe(name: str = "fast", **changes: Any) -> Recipe:
    """A named recipe, with some fields changed: `recipe("quick", epochs=5)`.

    Raises:
        RecipeError: there is no recipe or no field of that name, or a value is out of range.

    Example:
        >>> chosen = recipe("quick", epochs=8)
        >>> chosen.name, chosen.epochs, chosen.batch_size
        ('quick', 8, 128)
    """
    if name not in RECIPES:
        raise RecipeError(f"There is no recipe {name!r}: choose one of {', '.join(RECIPES)}.")
    fields = [field.name for field in dataclasses.fields(Recipe)]
    for field in changes:
        if field not in fields:
            raise RecipeError(f"A recipe has no field {field!r}: it has {', '.join(fields)}.")
    return replace(RECIPES[name], **changes)


FEW_STEPS = 200
"""A training of fewer steps hardly leaves chance: 8 steps on 102 pictures ended there, 280 at 97 %."""
BATCH_SIZE = 16


def few_steps_warning(images: int, batch_size: int, epochs: int) -> str | None:
    """One line that proposes a smaller batch and more epochs; None where there are steps enough.

    Args:
        images: training images.
        batch_size: images in a batch.
        epochs: times that every image is shown.

    Example:
        >>> few_steps_warning(102, 128, 8)[-29:]
        '--epochs 40 --batch-size 16).'
        >>> few_steps_warning(50_000, 128, 5) is None
        True
    """
    steps = epochs * -(-images // batch_size)
    if steps >= FEW_STEPS:
        return None
    smaller = min(batch_size, BATCH_SIZE)
    enough = -(-(FEW_STEPS + FEW_STEPS // 4) // -(-images // smaller))
    more = max(epochs, -(-enough // 10) * 10)
    return (
        f"{images} training images in batches of {batch_size} make {steps} steps in {epochs} epochs, too few to learn "
        f"much: choose epochs={more} and batch_size={smaller} (--epochs {more} --batch-size {smaller})."
    )
