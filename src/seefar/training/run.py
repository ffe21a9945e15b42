"""Runs: opening a folder for a training, and reading back a finished one."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import torch

from seefar.choices import BUILT_IN, DeviceName, InferencePrecision
from seefar.data import load_data
from seefar.data.images import LARGEST, SMALLEST, Data, ImageSize, as_image_size, both, check_classes, differing_names
from seefar.errors import ChoiceError, DataError, RecipeError, RunError, counted, not_read, not_written
from seefar.model.inference import plain_torch, weights_fingerprint
from seefar.model.resnet import ResNet18
from seefar.progress import Progress
from seefar.runs.arrays import load_tensors, load_weights, save_tensors
from seefar.runs.files import read_bytes, read_json, sync, write_text
from seefar.runs.folder import RunFolder, find_run, next_folder
from seefar.runs.provenance import provenance
from seefar.runs.store import TRAINING_FILES, Store, locked
from seefar.training.device import choose_compute
from seefar.training.recipe import Recipe
from seefar.training.state import HistoryRow, read_history


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A finished training.

    Attributes:
        model: the trained network, in eval mode, float32.
        history: one row for each logged step; empty if the file is damaged.
        image_size: height and width in pixels of the training images; one number if they are equal.
        trained_on: fingerprint of the training images and labels.
    """

    model: ResNet18
    history: list[HistoryRow]
    folder: RunFolder
    recipe: Recipe
    classes: tuple[str, ...]
    image_size: ImageSize
    trained_on: str

    given = None
    has_model = loads_model = True

    @property
    def fingerprint(self) -> str:
        """Of the weights, see `seefar.model.inference.weights_fingerprint`."""
        return weights_fingerprint(self.model)

    def __repr__(self) -> str:
        epochs = counted(self.recipe.epochs, "epoch")
        return f"Run({str(self.folder)!r}: {self.recipe.name}, {epochs}, {len(self.classes)} classes)"


def open_run(
    recipe: Recipe, data: Data, name: str | Path | None = None, changes: Mapping[str, str] | None = None
) -> RunFolder:
    """The folder for a training of this recipe on these images; nothing is written.

    Without a name: the recipe's name, or the first of that with `-2`, `-3`, ... that is free or has this training. A
    `RunError` if the named folder belongs to another training.
    """
    if name is None:
        return next_folder(recipe.name, lambda folder: _conflict(folder, recipe, data, changes))
    folder = find_run(name)
    conflict = _conflict(folder, recipe, data, changes)
    if conflict and any(path.exists() for path in (folder.weights, folder.checkpoint)):
        raise RunError(f"{conflict} Choose another name.")
    return folder


def load_for(
    recipe: Recipe, data_dir: str | Path | None = None, name: str | None = None, *, progress: Progress | None = None
) -> Data:
    """The data set of a recipe, or `name` instead, such as the new path of a moved folder; see `seefar.load_data`."""
    name = name or recipe.data
    if name in BUILT_IN and recipe.image_size != 32:
        raise DataError(f"image_size is {recipe.image_size}, but {name} has images of 32 pixels: leave it at 32.")
    return load_data(name, data_dir, recipe.image_size, recipe.fit, progress=progress)


def describe_choice(folder: RunFolder, recipe: Recipe, data: Data, changes: Mapping[str, str] | None) -> str | None:
    """One line: the reason why `open_run` did not choose the folder of the recipe's name; None if it did."""
    named = find_run(recipe.name)
    return None if folder == named else f"{_conflict(named, recipe, data, changes)} This run goes into {folder}."


def _conflict(folder: RunFolder, recipe: Recipe, data: Data, changes: Mapping[str, str] | None) -> str | None:
    """Why a folder cannot be used for this training, as a sentence; None if it is free or belongs to it."""
    if not folder.recipe.exists():
        trained = next((path.name for path in (folder.weights, folder.checkpoint) if path.exists()), None)
        return None if trained is None else f"{folder.recipe} is missing, although {trained} is there."
    try:
        recorded = read_recipe(folder)
        record = {"changes": {}, **read_json(folder.data, follow=False)}
        classes = tuple(map(str, record["classes"]))
    except (RunError, OSError, KeyError, TypeError, ValueError) as error:
        return f"{folder} cannot be read ({error})."
    # A folder of pictures may have been moved: the fingerprint of its images decides, not its path.
    if replace(recorded, data=recipe.data) != recipe:
        conflict = f"{folder} belongs to another recipe (this one has {recipe.differences(recorded)})."
        if folder.weights.exists() and replace(recorded, epochs=recipe.epochs, data=recipe.data) == recipe:
            conflict += " A finished training cannot be extended, since its learning rate schedule has ended."
        return conflict
    if classes != data.classes:
        odd = differing_names(data.classes, classes)
        return f"{folder} was trained on other classes than {data.name} has ({odd})."
    if record.get("fingerprint") != data.train.fingerprint:
        return f"{folder} was trained on other images than {data.name} has."
    if record["changes"] != dict(changes or {}):
        return f"{folder} was trained with {record['changes']}, not with {dict(changes or {})}."
    return None


@contextmanager
def training_in(
    folder: RunFolder,
    recipe: Recipe,
    data: Data,
    session: dict[str, str],
    command: Sequence[str],
    progress: Progress,
    changes: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Lock the folder of an unfinished training, write its recipe, and complete its manifest at the end of `with`.

    The manifest has device and precision of each session of a resumed training.
    """
    with locked(folder.path, progress):
        store = Store(folder.path, fact=lambda name: None)
        sessions: list[Any] = []
        if folder.checkpoint.exists():
            sessions = store.manifest.get("training", {}).get("sessions", [])
        if sessions[-1:] != [session]:
            sessions.append(session)
        record = {
            "name": data.name,
            "classes": data.classes,
            "train": len(data.train),
            "test": len(data.test),
            "image_size": data.image_size,
            "fingerprint": data.train.fingerprint,
            **({"changes": dict(changes)} if changes else {}),
        }
        write_text(folder.data, json.dumps(record, indent=2) + "\n")
        write_text(folder.recipe, recipe.to_json())
        store.begin({"command": list(command), **provenance(), "sessions": sessions})
        try:
            yield
        except OSError as error:
            raise not_written(error.filename or folder, error) from error
        store.record(*TRAINING_FILES)
        store.finish((), command)


def finish_training(folder: RunFolder, progress: Progress) -> None:
    """Complete the manifest of a finished training that was killed after its weights were written."""
    store = Store(folder.path, fact=lambda name: None)
    unfinished = folder.checkpoint.exists() or not store.manifest.get("finished")
    if unfinished and os.access(folder.path, os.W_OK):
        with locked(folder.path, progress):
            store.finish((), ["seefar.train"])


def read_recipe(folder: RunFolder) -> Recipe:
    """The recipe of a run; a `RunError` if there is none."""
    try:
        return Recipe.from_json(read_bytes(folder.recipe, follow=False).decode("utf-8"))
    except FileNotFoundError as error:
        others = sorted(path.parent.name for path in folder.path.parent.glob("*/recipe.json"))
        known = f"runs in {folder.path.parent}: {', '.join(others)}" if others else "no runs beside it"
        raise RunError(f"{folder} has no recipe.json ({known}): choose another run, or train one.") from error
    except OSError as error:
        raise not_read(folder.recipe, error) from error
    except (RecipeError, UnicodeDecodeError) as error:
        raise RunError(f"{folder.recipe} cannot be read. {error}") from error


def save_weights(folder: RunFolder, model: ResNet18, recipe: Recipe, data: Data) -> None:
    """Write the finished network; recipe, classes and image size go into the header of the file."""
    metadata = {"recipe": recipe.to_json(), "classes": data.classes, "image_size": data.image_size}
    metadata["images"] = data.train.fingerprint
    for path in (folder.history, folder.log):  # on the disk before the weights: a power cut keeps them together
        sync(path)
    save_tensors(folder.weights, dict(model.state_dict()), metadata)


@plain_torch(gradients=False)
def load_run(
    folder: RunFolder | str | Path, device: DeviceName = "auto", precision: InferencePrecision | None = "float32"
) -> Run:
    """A finished training, read back from its folder.

    The folder is given by its path, or by the bare name of one under `runs/`. The device `auto` is CUDA, else MPS, else
    the CPU. `precision` is that of the convolutions in evaluation and explanation; None: that of the predictions there.

    Raises:
        RunError: there is no finished run there, or a file of it is damaged.
        ChoiceError: the device is not available.

    Examples:
        >>> import tempfile, seefar
        >>> from seefar.data.shapes import load_shapes
        >>> folder = Path(tempfile.mkdtemp()) / "tiny"
        >>> tiny = seefar.recipe("demo", width=2, epochs=1, batch_size=16)
        >>> _ = seefar.train(tiny, load_shapes(40, 20), folder, progress=seefar.SILENT)
        >>> load_run(folder).recipe == tiny
        True
    """
    if precision not in (None, *get_args(InferencePrecision)):
        raise ChoiceError(f"precision must be float32 or bfloat16 (got {precision!r}).")
    folder = find_run(folder)
    if not folder.weights.exists():
        if folder.audit.exists():
            raise RunError(f"{folder} is an audit, which keeps no network: choose a run.")
        read_recipe(folder)  # there may be no run at all
        raise RunError(f"{folder.weights} is missing, since the training is unfinished: run its command again.")
    tensors, metadata = load_tensors(folder.weights)
    try:
        recipe, classes = Recipe.from_json(metadata["recipe"]), check_classes(metadata["classes"])
        size, trained_on = as_image_size(metadata["image_size"]), str(metadata["images"])
        if not SMALLEST <= min(both(size)) <= max(both(size)) <= LARGEST:  # before memory is taken for such pictures
            raise ValueError(f"image_size is {size}, but it must be {SMALLEST} to {LARGEST}")
    except (KeyError, TypeError, ValueError, OverflowError, RecipeError, DataError) as error:
        raise RunError(
            f"{folder.weights} does not name its recipe and classes ({error}): choose another run."
        ) from error
    with torch.device("meta"):  # shapes without numbers: the file may be smaller than its width implies
        first = tensors.get("conv1.weight")
        stem_stride = 4 if first is not None and first.shape[-1] == 7 else 1
        model = ResNet18(len(classes), recipe.width, stem_stride=stem_stride)
    load_weights(folder.weights, model, tensors)
    if precision is None:
        precision = Store(folder.path, fact=lambda name: None).files.get(folder.predictions.name, {}).get("settings")
    model = choose_compute(device).place(model.float().eval())  # published weights are float16
    model.in_bfloat16 = precision == "bfloat16"
    history = []
    try:
        history = read_history(folder.history)
    except RunError as error:  # it is only drawn
        warnings.warn(f"The training curves are left out: {error}", stacklevel=2)
    return Run(model, history, folder, recipe, classes, size, trained_on)
