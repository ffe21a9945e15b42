"""The main job: train, evaluate, explain and report into a run folder, by one function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seefar import processes
from seefar.choices import Choices
from seefar.data import Data
from seefar.evaluation.evaluate import Evaluation
from seefar.inputs import check_choices, load_for
from seefar.model.inference import device_errors
from seefar.names import DeviceName, PrecisionName
from seefar.progress import SILENT, Progress, showing
from seefar.result import Result
from seefar.runs.copies import copied
from seefar.runs.folder import RunFolder, find_run
from seefar.saved import writing_if_possible
from seefar.steps import evaluate_run, explain_run
from seefar.training.begin import begin_run, choose_folder, taken_instead
from seefar.training.device import plan_training
from seefar.training.loop import train
from seefar.training.recipe import Recipe
from seefar.training.recipe import recipe as named_recipe
from seefar.training.run import Run, load_run, seal_finished


def run(
    recipe: Recipe | str = "fast",
    data: Data | str | None = None,
    name: str | Path | None = None,
    *,
    data_dir: str | Path | None = None,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    checkpoint_minutes: float = 5.0,
    progress: Progress | None = None,
    evaluated: Callable[[Evaluation], object] | None = None,
    command: Sequence[str] = ("seefar.run",),
    **choices: Any,
) -> Result:
    """Train, evaluate, explain and report into a run folder; an interrupted job goes on where it stopped.

    Args:
        recipe: a recipe, or the name of one.
        data: a data set or its name, see `seefar.load_data`; default: the recipe's.
        name: the run folder: a path, or a bare name under `runs/`; default: the recipe's name, or that with the next
            free number if the folder belongs to another recipe or other data.
        data_dir: where CIFAR-10 lies; see `seefar.load_data`.
        device: see `seefar.train`.
        precision: see `seefar.train`.
        checkpoint_minutes: see `seefar.train`.
        progress: see `seefar.progress`.
        evaluated: called with the evaluation as soon as it is there, before mistakes are explained.
        command: what the manifest says made the files.
        choices: which mistakes are shown and how they are explained: the fields of `seefar.Choices`.

    Raises:
        SeefarError: a choice, the data, the folder or the device does not fit; before the first training step where
            it can be known.

    Example:
        >>> import tempfile, seefar
        >>> from seefar.data.shapes import load_shapes
        >>> tiny = seefar.recipe("demo", width=2, epochs=1, batch_size=16)
        >>> folder = Path(tempfile.mkdtemp()) / "tiny"
        >>> result = seefar.run(tiny, load_shapes(40, 20), folder, top=2, progress=seefar.SILENT)
        >>> result.evaluation.metrics.n, len(result.shown), seefar.verify(folder)
        (20, 2, [])
    """
    chosen, plan = Choices(**choices), named_recipe(recipe) if isinstance(recipe, str) else recipe
    if isinstance(data, Data):
        plan = replace(plan, data=data.name, image_size=data.image_size)
    elif data is not None:
        plan = replace(plan, data=data)
    progress = progress if processes.first() else SILENT
    images = (
        data
        if isinstance(data, Data)
        else processes.first_then_others(lambda: load_for(plan, data_dir, progress=progress))
    )
    check_choices(chosen, images)
    folder = copied(lambda: choose_folder(plan, images) if name is None else find_run(name))
    if not begin_run(folder, plan, images):  # another recipe's folder is refused before it is touched
        plan_training(device, precision, checkpoint_minutes)
    with writing_if_possible(folder, command), showing(progress) as shown:
        if name is None and (instead := taken_instead(folder, plan)):
            shown.line(instead)
        trained = train_run(
            plan,
            images,
            folder,
            device=device,
            precision=precision,
            checkpoint_minutes=checkpoint_minutes,
            progress=shown,
        )
        evaluation = evaluate_run(trained, images, data_dir=data_dir, progress=shown)
        if evaluated:
            evaluated(evaluation)
        else:
            shown.line(repr(evaluation))
        return explain_run(trained, images, evaluation, data_dir=data_dir, progress=shown, **choices)


def train_run(
    recipe: Recipe,
    data: Data,
    folder: RunFolder,
    *,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    checkpoint_minutes: float = 5.0,
    progress: Progress | None = None,
    command: Sequence[str] = ("seefar.train",),
) -> Run:
    """The first step: `seefar.train`, with the command that the manifest keeps."""
    if begin_run(folder, recipe, data):
        seal_finished(folder)
        return load_run(folder, device)
    plan_training(device, precision, checkpoint_minutes)  # what cannot be is refused before a folder is made
    with folder.writing(command), device_errors():
        return train(
            recipe,
            data,
            folder.path,
            device=device,
            precision=precision,
            checkpoint_minutes=checkpoint_minutes,
            progress=progress,
        )
