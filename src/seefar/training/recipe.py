"""Recipes: all hyperparameters of a training, the named ones, and a warning where there are too few steps.

This module does not import torch, so that --help is quick.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import sys
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, get_args

import tyro

from seefar.choices import Border, Fit, Flip
from seefar.errors import RecipeError, counted
from seefar.runs.files import expanded, parse_json, read_bytes

Schedule = Literal["one-cycle", "constant"]


@dataclass(frozen=True)
class Recipe:
    """All hyperparameters of a training. The defaults are those of the recipe `fast`."""

    name: Annotated[str, tyro.conf.Suppress] = "fast"  # no flag: --name is that of the run
    """Name of the recipe; also that of the run folder, unless another one is given."""
    data: str = "cifar10"
    """Data set: cifar10, cifar100, fashion_mnist, shapes, or a folder with `train/CLASS/` and `test/CLASS/`."""
    image_size: int | tuple[int, int] = 32
    """Height and width in pixels of the resized images of a folder, or one number for both; cifar10 has 32."""
    fit: Fit = "crop"
    """How images of another shape are made to fit: crop the centre, pad with grey, or stretch."""
    held_out: int = 0
    """Number of training images held out to choose settings; accuracy on them is measured after each epoch."""
    seed: int = 0
    """Seed of the initial weights, the order of the images and their augmentation."""

    width: int = 64
    """Channels of the first stage of the ResNet-18; 64 is the usual one with 11,173,962 parameters."""

    epochs: int = 20
    """Number of passes over the training images."""
    batch_size: int = 256
    """Images in one training step."""
    scales: tuple[float, ...] = (1.0,)
    """Scales of the training images, each used for an equal part of the epochs; at least 12 pixels remain."""
    learning_rate: float = 0.2
    """Learning rate of SGD: the peak of one-cycle, or the constant rate."""
    schedule: Schedule = "one-cycle"
    """one-cycle: linear from 0 to the peak and back to 0; constant: the same rate throughout."""
    warm_up: float = 0.25
    """Share of the steps in which the rate of one-cycle rises."""
    norm_bias_rate: float = 16.0
    """Factor of the learning rate for the biases of batch norms."""
    momentum: float = 0.9
    """Momentum of SGD."""
    nesterov: bool = True
    """Use Nesterov momentum."""
    weight_decay: float = 5e-4
    """Weight decay of convolutions and the linear layer; norms and biases have none."""
    label_smoothing: float = 0.1
    """Label smoothing: share of each target that is spread over all classes."""

    crop_padding: int = 4
    """Pixels added around an image before the random crop; 0: no crop."""
    crop_border: Border = "reflected"
    """Values of the added pixels: black, or the image reflected at its edge."""
    flip: Flip = "alternating"
    """Horizontal flips: at random, or alternating from one epoch to the next."""
    cutout: int = 0
    """Side in pixels of the square that Cutout hides; 0: no Cutout."""
    cutout_probability: float = 0.5
    """Share of the images to which Cutout is applied."""
    cutout_fill: int = -1
    """Grey level of the Cutout square, 0 to 255; -1: the mean colour of the training images."""
    standardize: bool = True
    """Normalise with the mean and standard deviation of the training images; otherwise with 0.5 and 0.5."""

    log_every: int = 50
    """Steps between two lines of the log and the history."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = self._checked_type(field.name, getattr(self, field.name), field.default)
            object.__setattr__(self, field.name, value)
        for name, (allowed, text) in ALLOWED.items():
            if not allowed(getattr(self, name)):
                self._refuse(name, getattr(self, name), text)
        if self.nesterov and self.momentum == 0:
            self._refuse("momentum", self.momentum, "above 0 with nesterov")

    def _checked_type(self, name: str, value: Any, default: Any) -> Any:
        """The value, if it is of the default's type: str, bool, int, float, or a tuple of floats."""
        value = value.item() if getattr(value, "shape", None) == () else value
        if name == "image_size" and isinstance(value, tuple | list) and len(value) == 2:
            first, second = (self._checked_type(name, side, default) for side in value)
            return first if first == second else (first, second)
        if isinstance(default, tuple) and isinstance(value, Iterable):
            return tuple(self._checked_type(name, part, 0.0) for part in value)
        if isinstance(default, float) and type(value) in (int, float) and abs(value) <= sys.float_info.max:  # not NaN
            return float(value)
        if type(value) is not type(default) or isinstance(default, float):
            kinds = {str: "a string", bool: "True or False", int: "an integer", float: "a finite number"}
            self._refuse(name, value, kinds.get(type(default), "several numbers"))
        return value

    def _refuse(self, name: str, value: object, requirement: str) -> NoReturn:
        raise RecipeError(f"Recipe {self.name}: {name} must be {requirement} (got {value!r}).")

    def to_json(self) -> str:
        """The recipe as JSON text, one field a line."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """The recipe that `to_json` wrote; a missing field, as in older runs, has its default. Else a `RecipeError`."""
        try:
            fields = parse_json(text)
        except ValueError as error:
            raise RecipeError(f"A recipe must be a JSON object ({error}).") from error
        if not isinstance(fields, dict) or "name" not in fields:
            raise RecipeError(f"A recipe must be a JSON object with a name (got {text[:40]!r}).")
        return _changed(cls(), fields)

    def differences(self, other: Recipe) -> str:
        """The fields that differ, as `epochs 20, not 5`, this recipe's value first; empty if none does."""
        pairs = [(f.name, getattr(self, f.name), getattr(other, f.name)) for f in dataclasses.fields(self)]
        return "; ".join(f"{name} {mine}, not {theirs}" for name, mine, theirs in pairs if mine != theirs)


ALLOWED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (  # it names the run folder, so a file from elsewhere must not choose a path
        lambda name: bool(re.fullmatch(r"\w[\w.-]{0,99}", name)),
        "letters, digits, hyphens, underscores and dots, at most 100, not starting with a dot or hyphen",
    ),
    "image_size": (
        lambda size: all(16 <= side <= 512 for side in (size if isinstance(size, tuple) else (size,))),
        "16 to 512, as one number or two",
    ),
    "fit": (lambda name: name in get_args(Fit), " or ".join(get_args(Fit))),
    "held_out": (lambda images: images >= 0, "0 or more"),
    "seed": (lambda seed: 0 <= seed < 2**31, "0 to 2147483647"),
    "width": (lambda channels: 1 <= channels <= 4096, "1 to 4096"),
    "epochs": (lambda epochs: 1 <= epochs <= 10_000, "1 to 10000"),
    "batch_size": (lambda images: images >= 2, "2 or more (batch norm needs two images)"),
    "scales": (lambda scales: scales and all(0.25 <= scale <= 1 for scale in scales), "numbers from 0.25 to 1"),
    "learning_rate": (lambda rate: rate > 0, "positive"),
    "schedule": (lambda name: name in get_args(Schedule), " or ".join(get_args(Schedule))),
    "warm_up": (lambda share: 0 <= share < 1, "0 or more and below 1"),
    "norm_bias_rate": (lambda rate: rate > 0, "positive"),
    "momentum": (lambda share: 0 <= share < 1, "0 or more and below 1"),
    "weight_decay": (lambda decay: decay >= 0, "0 or more"),
    "label_smoothing": (lambda share: 0 <= share < 1, "0 or more and below 1"),
    "crop_padding": (lambda pixels: 0 <= pixels <= 32, "0 to 32"),
    "crop_border": (lambda name: name in get_args(Border), " or ".join(get_args(Border))),
    "flip": (lambda name: name in get_args(Flip), " or ".join(get_args(Flip))),
    "cutout": (lambda pixels: 0 <= pixels <= 32, "0 to 32"),
    "cutout_probability": (lambda share: 0 <= share <= 1, "0 to 1"),
    "cutout_fill": (lambda level: -1 <= level <= 255, "-1 to 255"),
    "log_every": (lambda steps: steps >= 1, "1 or more"),
}
"""Allowed values of the fields."""

_NAMED = (resources.files("seefar.training") / "recipes.toml").read_text(encoding="utf-8")
RECIPES = {name: Recipe(name=name, **fields) for name, fields in tomllib.loads(_NAMED).items()}
"""The named recipes; `fast` is the default."""


def recipe(name: str = "fast", **changes: Any) -> Recipe:
    """A named recipe, with some fields changed: `recipe("quick", epochs=5)`.

    Raises:
        RecipeError: there is no recipe or no field of that name, or a value is out of range.

    Examples:
        >>> chosen = recipe("quick", epochs=8)
        >>> chosen.name, chosen.epochs, chosen.batch_size
        ('quick', 8, 128)
    """
    if name not in RECIPES:
        raise RecipeError(f"There is no recipe {name!r}: choose one of {', '.join(RECIPES)}.")
    return _changed(RECIPES[name], changes)


def _changed(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    fields = [field.name for field in dataclasses.fields(Recipe)]
    for field in changes:
        if field not in fields:
            raise RecipeError(f"A recipe has no field {field!r}: it has {', '.join(fields)}.")
    return replace(recipe, **changes)


LARGEST_FILE = 1 << 14
"""Bytes of a file of a recipe. The time and the memory that TOML takes grow with the square of a key's length."""


def read_recipe(path: str | Path) -> Recipe:
    """A recipe from a `.toml` or `.json` file: fields of `Recipe`, and `base`, the recipe for the other fields.

    Defaults: `base` is `fast`, and `name` is the name of the file. A `RecipeError` if it is not a recipe.
    """
    path = expanded(path)
    try:
        text = read_bytes(path, LARGEST_FILE).decode("utf-8-sig")
        fields = tomllib.loads(text) if path.suffix.lower() == ".toml" else parse_json(text)
    except FileNotFoundError as error:
        raise RecipeError(f"There is no file {path}: choose one of {', '.join(RECIPES)}, or a file.") from error
    except (OSError, ValueError, RecursionError) as error:  # tomllib's error is a ValueError
        raise RecipeError(f"{path} cannot be read as TOML or JSON ({error}).") from error
    if not isinstance(fields, dict):
        raise RecipeError(f"{path} must hold the fields of a recipe (got a {type(fields).__name__}).")
    base = recipe(str(fields.pop("base", "fast")))
    return _changed(base, {"name": path.stem, **fields})


FEW_STEPS = 200
"""A training with fewer steps is hardly better than chance: 8 steps on 102 pictures ended at chance, 280 at 97%."""


def few_steps_warning(images: int, batch_size: int, epochs: int) -> str | None:
    """One line that proposes a smaller batch or more epochs; None if there are enough steps."""
    steps = epochs * math.ceil(images / batch_size)
    if steps >= FEW_STEPS:
        return None
    return (
        f"{images} training images in batches of {batch_size} give {counted(steps, 'step')} in "
        f"{counted(epochs, 'epoch')}, too few for a useful accuracy: choose a smaller --batch-size, or "
        f"--epochs {epochs * math.ceil(FEW_STEPS / steps)}."
    )
