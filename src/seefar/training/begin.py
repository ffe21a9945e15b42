"""Which folder a training goes to, and whether it may: of the same recipe and images, or free."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from itertools import count

from seefar.data.images import Data, differing_names
from seefar.errors import RunError
from seefar.runs.files import write_text
from seefar.runs.folder import RunFolder, begun_with, find_run
from seefar.training.recipe import Recipe
from seefar.training.run import read_recipe, trained_file


def choose_folder(recipe: Recipe, data: Data) -> RunFolder:
    """The folder under `runs/` that a training without a name goes to.

    Of the recipe's name, the name with `-2`, `-3` and so on: the one that this recipe was begun in on these images,
    else the first that is free.
    """
    names = (recipe.name if number == 1 else f"{recipe.name}-{number}" for number in count(1))
    free = None
    for folder in map(find_run, names):
        if not folder.path.exists():
            return free or folder
        if trained_file(folder) is None and not folder.recipe.exists():
            free = free or folder
        elif _belongs(folder, recipe, data):
            return folder
    raise AssertionError  # the names do not end


def taken_instead(folder: RunFolder, recipe: Recipe) -> str | None:
    """One line if `choose_folder` did not choose the folder of the recipe's name."""
    named = find_run(recipe.name)
    if folder == named:
        return None
    why = "was begun with other images or classes"
    with suppress(RunError):  # no recipe; that is said below
        if other := recipe.differences(read_recipe(named)):
            why = f"belongs to another recipe ({other})"
    for path in (named.recipe, named.data):
        if not path.exists():
            why = f"lacks {path.name}"
    return f"{named} {why}: this goes into {folder}"


def _belongs(folder: RunFolder, recipe: Recipe, data: Data) -> bool:
    try:
        _check_belongs(folder, recipe, data)
    except RunError:
        return False
    return True


def begin_run(folder: RunFolder, recipe: Recipe, data: Data, *, write: bool = False) -> bool:
    """Make sure that the folder is free or can be continued; write the recipe of a new training into it if asked to.

    A training that was refused or ended before its first checkpoint leaves nothing to go on from: its folder is free.

    Returns:
        Whether its training is finished.

    Raises:
        RunError: the folder belongs to another recipe or other data.
    """
    if folder.recipe.exists():
        try:
            _check_belongs(folder, recipe, data)
            return folder.weights.exists()
        except RunError:
            if trained_file(folder) or folder.predictions.exists():
                raise
    elif held := trained_file(folder):
        raise RunError(
            f"{folder.recipe} is missing, and {held.name} is there, which a training would write over: put the "
            "recipe back from a copy, or choose another name."
        )
    if write:
        about = {
            "name": data.name,
            "classes": data.classes,
            "train": len(data.train),
            "test": len(data.test),
            "image_size": data.image_size,
            "fingerprint": data.fingerprint,
        }
        write_text(folder.data, json.dumps(about, indent=2) + "\n")
        write_text(folder.recipe, recipe.to_json())
    return False


def _check_belongs(folder: RunFolder, recipe: Recipe, data: Data) -> None:
    """Refuse a folder with another recipe, or that was begun with other images or classes."""
    found = read_recipe(folder)
    if found != recipe:
        longer = folder.weights.exists() and replace(found, epochs=recipe.epochs) == recipe
        why = (
            "a finished training cannot go on for more epochs, since its learning rate and image sizes were planned "
            "for those it had; "
            if longer
            else ""
        )
        raise RunError(
            f"{folder} belongs to another recipe ({recipe.differences(found)}): {why}"
            "choose another name, or the values it was begun with."
        )
    fingerprint, classes = begun_with(folder)
    if classes != data.classes:  # their order too, and so the labels, may be another
        odd = differing_names(data.classes, classes)
        raise RunError(f"{folder} was begun with other classes than {data.name} has now ({odd}): choose another name.")
    if fingerprint != data.fingerprint:
        raise RunError(f"{folder} was begun with other images than {data.name} holds now: choose another name.")
