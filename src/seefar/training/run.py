"""A finished training: written into its run folder, and read back from it."""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from seefar.data.images import LARGEST, SMALLEST, Data, check_classes
from seefar.errors import DataError, RecipeError, RunError, not_read
from seefar.model.resnet import ResNet18
from seefar.names import DeviceName
from seefar.output import printable
from seefar.runs.files import sync
from seefar.runs.folder import RunFolder, begun_with, find_run
from seefar.runs.tensors import load_tensors, load_weights, save_tensors
from seefar.runs.values import from_plain
from seefar.training.device import choose_compute
from seefar.training.history import HistoryRow, read_history
from seefar.training.recipe import Recipe


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A finished training.

    Attributes:
        model: the trained network, in eval mode, float32.
        history: one row for each logged step.
        folder: where its files lie.
        recipe: what it was trained with.
        classes: names of the K classes.
        image_size: height and width in pixels of the images it was trained on.
    """

    model: ResNet18
    history: list[HistoryRow]
    folder: RunFolder
    recipe: Recipe
    classes: tuple[str, ...]
    image_size: int

    def __repr__(self) -> str:
        epochs = f"{self.recipe.epochs} epoch{'s' if self.recipe.epochs > 1 else ''}"
        return f"Run({str(self.folder)!r}: {printable(self.recipe.name)}, {epochs}, {len(self.classes)} classes)"


def trained_file(folder: RunFolder) -> Path | None:
    """What a folder holds of a training, finished or not."""
    return next((path for path in (folder.weights, folder.checkpoint) if path.exists()), None)


def read_recipe(folder: RunFolder) -> Recipe:
    """The recipe of a run.

    Raises:
        RunError: there is no run, or its recipe cannot be read.
    """
    try:
        return Recipe.from_json(folder.recipe.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if begun := trained_file(folder):
            raise RunError(
                f"{folder.recipe} is missing, and {begun.name} is there: put the recipe back from a copy, or choose "
                "another run."
            ) from error
        beside = folder.path.parent
        others = sorted(path.parent.name for path in beside.glob("*/recipe.json"))
        more = f" and {len(others) - 10} more" if len(others) > 10 else ""
        known = f"its neighbours are {', '.join(others[:10])}{more}" if others else "none lies beside it either"
        if (beside / folder.recipe.name).exists():
            known = f"{beside} is a run itself, perhaps copied there before {beside} was made: move it to {folder}"
        raise RunError(f"{folder} holds no run ({known}): train one, or choose another.") from error
    except OSError as error:
        raise not_read(folder.recipe, error) from error
    except (RecipeError, UnicodeDecodeError) as error:
        raise RunError(f"{folder.recipe} cannot be read. {error}") from error


def save_weights(folder: RunFolder, model: ResNet18, recipe: Recipe, data: Data) -> None:
    """Write the finished network; what it was trained as, and on, goes into the header of the file."""
    about = {
        "recipe": recipe.to_json(),
        "classes": data.classes,
        "image_size": data.image_size,
        "images": data.fingerprint,
    }
    for path in (folder.history, folder.log):  # on the disk before the weights: a power cut keeps them together
        sync(path)
    save_tensors(folder.weights, dict(model.state_dict()), about)


def load_run(folder: RunFolder | str | Path, device: DeviceName = "auto") -> Run:
    """A finished training, read back from its folder.

    Args:
        folder: the run folder, its path, or the bare name of one under `runs/`.
        device: where the network is to lie; `auto`: CUDA, else MPS, else the CPU.

    Raises:
        RunError: there is no finished run there, or a file of it is damaged.
        DeviceError: the device is not there.

    Example:
        >>> import tempfile, seefar
        >>> from seefar.data.shapes import load_shapes
        >>> folder = Path(tempfile.mkdtemp()) / "tiny"
        >>> tiny = seefar.recipe("demo", width=2, epochs=1, batch_size=16)
        >>> _ = seefar.train(tiny, load_shapes(40, 20), folder, progress=seefar.SILENT)
        >>> load_run(folder).recipe == tiny
        True
    """
    folder = folder if isinstance(folder, RunFolder) else find_run(folder)
    recipe = read_recipe(folder)
    if not folder.weights.exists():
        then = (
            "goes on with it" if folder.checkpoint.exists() else "begins it anew, since no checkpoint is there either"
        )
        raise RunError(
            f"{folder} holds an unfinished training: the call or command that began it, given again, {then}."
        )
    tensors, about = load_tensors(folder.weights)
    try:
        trained, classes = Recipe.from_json(about["recipe"]), check_classes(about["classes"])
        size = from_plain(int, about["image_size"], "image_size")
        if not SMALLEST <= size <= LARGEST:
            raise ValueError(f"image_size is {size}, {SMALLEST} to {LARGEST} was wanted")
    except (KeyError, TypeError, ValueError, RecipeError, DataError) as error:
        raise RunError(
            f"{folder.weights} does not say what it was trained as: it is not the weights of a run ({error})."
        ) from error
    if trained != recipe:
        raise RunError(
            f"{folder.weights} and {folder.recipe} do not belong together (the recipe says "
            f"{recipe.differences(trained)}): put back the one that is not of this run, or train another run."
        )
    begun = None
    with suppress(RunError):  # only a training needs that file
        begun, _ = begun_with(folder)
    if "images" in about and begun not in (None, about["images"]):  # older weights do not say
        raise RunError(
            f"{folder.weights} and {folder.data} do not belong together (other training images): put back the one that "
            "is not of this run, or train another run."
        )
    with torch.device("meta"):  # shapes without numbers: memory is taken when the file is known to fill it
        model = ResNet18(len(classes), recipe.width)
    load_weights(folder.weights, model, tensors)
    return Run(choose_compute(device).place(model.eval()), load_history(folder), folder, recipe, classes, size)


def load_history(folder: RunFolder) -> list[HistoryRow]:
    """The rows of a finished training; none, and a warning, if the file is missing or damaged: it is only drawn."""
    try:
        history = read_history(folder.history)
        problem = None if history else f"{folder.history} has no rows"
    except RunError as error:
        history, problem = [], str(error)
    if problem:
        warnings.warn(f"The training curves are left out: {problem}", stacklevel=2)
    return history


def seal_finished(folder: RunFolder) -> None:
    """Take away the checkpoint of a finished training, which a kill after the last step may have left, and seal it."""
    if (folder.checkpoint.exists() or not folder.manifest.exists()) and os.access(folder.path, os.W_OK):
        with folder.writing(["seefar.train"]):
            folder.checkpoint.unlink(missing_ok=True)
