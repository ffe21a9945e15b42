"""Inputs of the main job, checked before anything is computed: the data set of a recipe, classes, layers, cells."""

from __future__ import annotations

from pathlib import Path

from seefar.choices import Choices
from seefar.data import Data, load_data
from seefar.errors import DataError
from seefar.evaluation.mistakes import chosen_classes
from seefar.explanation.explainer import normalise_map_settings
from seefar.model.resnet import ResNet18
from seefar.progress import Progress
from seefar.training.recipe import Recipe


def load_for(
    recipe: Recipe,
    data_dir: str | Path | None = None,
    name: str | None = None,
    *,
    progress: Progress | None = None,
) -> Data:
    """The data set of a recipe.

    Args:
        recipe: says which data set, and the size of its images.
        data_dir: where CIFAR-10 lies; it must exist, unless it is the user's cache folder.
        name: another data set or folder than the recipe's, such as where it was moved to.
        progress: see `seefar.progress`.

    Raises:
        DataError: there is no such data set or folder, or it is damaged.
    """
    name = name or recipe.data
    if name in ("cifar10", "shapes") and recipe.image_size != 32:
        raise DataError(f"image_size is {recipe.image_size}, but {name} has images of 32 pixels: leave it at 32.")
    return load_data(name, data_dir, recipe.image_size, progress=progress)


def check_choices(choices: Choices, data: Data) -> None:
    """Refuse, before anything is computed, classes, layers and cells that do not exist.

    Raises:
        DataError: there is no class of that name, or both are the same.
        MapError: the layer does not exist or its maps are too coarse.
    """
    chosen_classes(data.classes, choices.true, choices.predicted)
    model = ResNet18(len(data.classes), width=1).eval()  # layers and cells do not depend on the width
    normalise_map_settings(
        model,
        data.image_size,
        method=choices.method,
        layer=choices.layer,
        cells=choices.cells,
        hide=choices.hide,
    )
