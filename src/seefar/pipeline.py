"""The main job and its steps, each into a run folder: train, evaluate, explain, report; and finished runs compared."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seefar.artifacts import (
    ARTIFACTS,
    ASSIGNMENT_FIGURE,
    EVALUATED,
    FAULTS_FIGURE,
    MAPS,
    MAPS_FIGURE,
    METRICS,
    MISTAKES_FIGURE,
    NEIGHBOURS,
    PAGE,
    PREDICTIONS,
    SEEDS,
    SUMMARY,
    TABLE,
    Calibrations,
    Job,
    page_content,
    read_store,
)
from seefar.choices import Choices, DeviceName, PrecisionName
from seefar.data import Data
from seefar.data.images import Labels, Split, differing_names
from seefar.errors import ChoiceError, DataError, RunError
from seefar.evaluation.comparison import Comparison, compare
from seefar.evaluation.evaluate import Evaluation, MistakeAnalysis
from seefar.evaluation.evidence import OtherRuns
from seefar.evaluation.mistakes import Mistake, chosen_classes
from seefar.evaluation.predictions import predict
from seefar.explanation.explain import normalise_map_settings
from seefar.explanation.explanation import Explanation
from seefar.explanation.neighbours import Neighbours
from seefar.model.resnet import ResNet18
from seefar.progress import Progress, showing
from seefar.report.content import ReportContent
from seefar.runs.files import read_bytes
from seefar.runs.folder import RunFolder, find_run
from seefar.runs.store import Store, locked, opened
from seefar.training.device import plan_training
from seefar.training.distributed import is_main, load_in_turn, world_size
from seefar.training.loop import train
from seefar.training.recipe import Recipe
from seefar.training.recipe import recipe as named_recipe
from seefar.training.run import Run, describe_choice, load_for, load_run, open_run, read_recipe

MOST_SEEDS = 100


@dataclass(frozen=True, repr=False)
class Result:
    """What the main job returns.

    Attributes:
        run: the trained network and its history.
        evaluation: predictions, metrics and all mistakes.
        analysis: faults, accuracy views, label issues, confused pairs, slices.
        calibrations: how far the probabilities can be believed.
        explanation: of the mistakes that are explained; `explanation.of(shown)` are those in the figure.
        shown: the mistakes in the figures, in their order.
        neighbours: the nearest training images of all mistakes; None if they were not computed.
    """

    run: Run
    evaluation: Evaluation
    analysis: MistakeAnalysis
    calibrations: Calibrations
    explanation: Explanation
    shown: list[Mistake]
    neighbours: Neighbours | None

    def __repr__(self) -> str:
        return f"Result({self.run!r}, {self.evaluation!r})"


def run(
    recipe: Recipe | str = "fast",
    data: Data | str | Path | None = None,
    name: str | Path | None = None,
    *,
    data_dir: str | Path | None = None,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    checkpoint_minutes: float = 5.0,
    seeds: int = 1,
    progress: Progress | None = None,
    evaluated: Callable[[Evaluation], object] | None = None,
    command: Sequence[str] = ("seefar.run",),
    **choices: Any,
) -> Result:
    """Train, evaluate, explain and report into a run folder; an interrupted job resumes where it stopped.

    Args:
        recipe: a recipe, or the name of one.
        data: a data set or its name, see `seefar.load_data`; default: the recipe's.
        name: the run folder: a path, or a bare name under `runs/`; default: the recipe's name, or that with the next
            free number if the folder belongs to another recipe or other data.
        data_dir: where CIFAR-10 is kept; see `seefar.load_data`.
        device: see `seefar.train`.
        precision: see `seefar.train`.
        checkpoint_minutes: see `seefar.train`.
        seeds: trainings with seeds from the recipe's on: after the first run further ones in folders such as
            `fast-seed-1`, which tell luck from what the data and the recipe settle.
        progress: see `seefar.progress`.
        evaluated: called with the evaluation as soon as it is known, before mistakes are explained.
        command: the command line or function, for the manifest.
        choices: which mistakes are shown and how they are explained: the fields of `seefar.choices.Choices`.

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
    chosen, recipe = Choices(**choices), named_recipe(recipe) if isinstance(recipe, str) else recipe
    if isinstance(data, Data):
        recipe = replace(recipe, data=data.name, image_size=data.image_size)
    elif data is not None:
        recipe = replace(recipe, data=str(data))
    images = data if isinstance(data, Data) else load_in_turn(lambda: load_for(recipe, data_dir, progress=progress))
    check_choices(chosen, images)
    if not 1 <= seeds <= MOST_SEEDS or (seeds > 1 and world_size() > 1):
        raise ChoiceError(f"seeds must be 1 to {MOST_SEEDS}, and 1 in several processes (got {seeds}).")
    if not is_main():  # it takes part in the steps, and exits
        train(recipe, images, device=device, precision=precision, checkpoint_minutes=checkpoint_minutes)
    plan_training(device, precision, checkpoint_minutes)
    folder = open_run(recipe, images, name)
    # A finished run is shown also where nothing can be written.
    writes = os.access(folder.path, os.W_OK | os.X_OK) or not folder.weights.exists()
    with showing(progress) as shown, locked(folder.path, shown) if writes else nullcontext():
        if name is None and (line := describe_choice(folder, recipe, images)):
            shown.line(line)
        common: dict[str, Any] = {"progress": shown, "command": command}
        machine = {"device": device, "precision": precision, "checkpoint_minutes": checkpoint_minutes}
        trained = train(recipe, images, folder.path, **machine, **common)
        result = explain_run(trained, images, data_dir=data_dir, evaluated=evaluated, **common, **choices)
        if seeds == 1:
            return result
        others = {}
        for seed in range(recipe.seed + 1, recipe.seed + seeds):
            name = f"{folder.path.name}-seed-{seed}"
            other = train(replace(recipe, seed=seed), images, folder.path.with_name(name), **machine, **common)
            others[name] = evaluate_run(other, images, data_dir=data_dir, **common).predictions.predicted
        joined = OtherRuns(tuple(others), np.stack(list(others.values())))
        return explain_run(trained, images, data_dir=data_dir, others=joined, **common, **choices)


def evaluate_run(
    run: Run,
    data: Data,
    *,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
    command: Sequence[str] = ("seefar.evaluate_run",),
) -> Evaluation:
    """Predictions, metrics, calibration and table of mistakes of a run, saved in its folder; fresh files are read.

    Args:
        run: a finished training.
        data: its test images are evaluated.
        data_dir: where the reference data for CIFAR-10 are kept; see `seefar.load_reference`.
        progress: see `seefar.progress`.
        command: the command line or function, for the manifest.

    Raises:
        DataError: the data has other classes or another image size than the run.
        RunError: another process writes into the folder, or the disk is full.

    Example:
        >>> import tempfile, seefar
        >>> from seefar.data.shapes import load_shapes
        >>> data, folder = load_shapes(40, 20), Path(tempfile.mkdtemp()) / "tiny"
        >>> tiny = seefar.recipe("demo", width=2, epochs=1, batch_size=16)
        >>> run = seefar.train(tiny, data, folder, progress=seefar.SILENT)
        >>> evaluate_run(run, data, progress=seefar.SILENT).metrics.n, run.folder.metrics.exists()
        (20, True)
    """
    with _opened_job(run, data, None, data_dir, progress, command) as job:
        job.store.ensure(*EVALUATED, MISTAKES_FIGURE)
        return job.evaluation


def explain_run(
    run: Run,
    data: Data,
    *,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
    evaluated: Callable[[Evaluation], object] | None = None,
    others: OtherRuns | None = None,
    command: Sequence[str] = ("seefar.explain_run",),
    **choices: Any,
) -> Result:
    """The mistakes of a run explained, figures and the report; fresh files are read.

    Arguments as `evaluate_run`, with `evaluated` and the choices of `run`; `others` are runs with other seeds.

    Raises:
        ChoiceError, DataError: a choice cannot be met.
        RunError: another process writes into the folder, or the disk is full.

    Example:
        >>> import tempfile, seefar
        >>> from seefar.data.shapes import load_shapes
        >>> data, folder = load_shapes(40, 20), Path(tempfile.mkdtemp()) / "tiny"
        >>> tiny = seefar.recipe("demo", width=2, epochs=1, batch_size=16)
        >>> run = seefar.train(tiny, data, folder, progress=seefar.SILENT)
        >>> result = explain_run(run, data, top=2, explain="shown", progress=seefar.SILENT)
        >>> len(result.shown), run.folder.report.exists()
        (2, True)
    """
    chosen = Choices(**choices)
    check_choices(chosen, data)
    with _opened_job(run, data, chosen, data_dir, progress, command, others) as job:
        if others is not None:
            job.store.ensure(SEEDS)
        # In the order in which a user wants to see them; each page shows what there is.
        if evaluated:
            evaluated(job.evaluation)
        job.store.ensure(*EVALUATED, MISTAKES_FIGURE, PAGE)
        if job.evaluation.mistakes and not job.shown:
            job.progress.line("No mistake is between the chosen classes: the figures mistakes and maps are left out.")
        if PAGE.name in job.store.written and job.store.overlay is None:
            job.progress.line(f"{run.folder.report} has all mistakes; maps follow")
        job.store.ensure(MAPS_FIGURE, ASSIGNMENT_FIGURE, PAGE)
        job.explains_all = chosen.explain == "all"
        job.store.ensure(MAPS, MAPS_FIGURE, ASSIGNMENT_FIGURE, SUMMARY, TABLE, PAGE)
        if chosen.neighbours and job.explains_all and job.evaluation.mistakes:
            job.store.ensure(NEIGHBOURS, METRICS, FAULTS_FIGURE, TABLE, PAGE)
        found = job.store.peek(NEIGHBOURS)
        maps = job.store.get(MAPS)
        return Result(run, job.evaluation, job.analysis, job.calibrations, maps, job.shown, found)


def report_run(
    run: Run,
    data: Data,
    *,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
    command: Sequence[str] = ("seefar.report_run",),
) -> Path:
    """`report.html` from what the folder has; the network runs only if the predictions are not fresh.

    Arguments and errors as `evaluate_run`. Returns the path of the page.

    Example:
        >>> import tempfile, seefar.data.shapes
        >>> data, quiet = seefar.data.shapes.load_shapes(40, 20), seefar.SILENT
        >>> run = seefar.train(seefar.recipe("demo", width=2, epochs=1), data, tempfile.mkdtemp(), progress=quiet)
        >>> report_run(run, data, progress=quiet).name
        'report.html'
    """
    with _opened_job(run, data, None, data_dir, progress, command) as job:
        job.store.ensure(*EVALUATED, PAGE)
        if job.evaluation.mistakes and job.store.peek(MAPS) is None:
            job.progress.line(f"The page has no maps: `seefar explain {run.folder.name}` adds them.")
        return run.folder.report


def report_content(
    run: Run,
    data: Data,
    *,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
    command: Sequence[str] = ("seefar.report_content",),
) -> ReportContent:
    """What the report of a run shows, which is evaluated first if it is not yet; the report is not written.

    Arguments and errors as `evaluate_run`.
    """
    with _opened_job(run, data, None, data_dir, progress, command) as job:
        job.store.ensure(*EVALUATED)
        return page_content(job)


@contextmanager
def _opened_job(
    run: Run,
    data: Data,
    choices: Choices | None,
    data_dir: str | Path | None,
    progress: Progress | None,
    command: Sequence[str],
    others: OtherRuns | None = None,
) -> Iterator[Job]:
    if run.classes != data.classes:
        odd = differing_names(data.classes, run.classes)
        raise DataError(f"{run.folder} was trained on other classes than {data.name} has ({odd}): choose another run.")
    if run.image_size != data.image_size:
        raise DataError(
            f"{run.folder} was trained on images of {run.image_size} pixels, {data.name} has {data.image_size}: "
            "load the data with the size of the run."
        )
    with showing(progress) as shown:
        job = Job(run, data, choices, data_dir, shown, others)
        with opened(run.folder.path, job.fact, job, ARTIFACTS, command, shown) as job.store:
            yield job


def check_choices(choices: Choices, data: Data) -> None:
    """Refuse, before anything is computed, classes, layers and cells that do not exist.

    Raises:
        DataError: there is no class of that name, or both are the same.
        ChoiceError: the layer does not exist or its maps are too coarse.
    """
    chosen_classes(data.classes, choices.true, choices.predicted)
    with torch.random.fork_rng(devices=[]):  # its weights are drawn
        model = ResNet18(len(data.classes), width=1).eval()  # layers and cells do not depend on the width
    normalise_map_settings(model, data.image_size, choices)


# ---- Runs side by side ----


def compare_runs(
    runs: Sequence[str | Path],
    *,
    data: str | None = None,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare two or more runs on the test images of the first; nothing is written into their folders.

    Args:
        runs: run folders: paths, or bare names under `runs/`. `luck` is about the mistakes of the first one.
        data: name or folder of the data set; default: as the first run was trained.
        data_dir: folder of CIFAR-10.
        progress: see `seefar.progress`.

    Raises:
        RunError: a run is missing or named twice, or its predictions are of other images or other weights.
        DataError: there are fewer than two runs, or the data is missing.

    Example:
        >>> import seefar, tempfile
        >>> from seefar.data.shapes import load_shapes
        >>> folder, quiet = Path(tempfile.mkdtemp()), seefar.SILENT
        >>> tiny = [seefar.recipe("demo", width=2, epochs=1, batch_size=16, seed=seed) for seed in (0, 1)]
        >>> few = load_shapes(40, 20)
        >>> paths = [seefar.train(one, few, folder / str(one.seed), progress=quiet).folder.path for one in tiny]
        >>> compare_runs(paths, progress=quiet).n  # the test images of `shapes`
        1000
    """
    if len(runs) < 2:
        raise DataError(f"{len(runs)} run was given, at least two are compared: name two or more.")
    folders = [find_run(run) for run in runs]
    for position, folder in enumerate(folders):
        if folder.path.resolve() in [other.path.resolve() for other in folders[:position]]:
            raise RunError(f"{folder} is named twice: a run is compared with others.")
    recipes = [read_recipe(folder) for folder in folders]
    test = load_for(recipes[0], data_dir, data, progress=progress).test
    predicted = {str(folder): predicted_classes(folder, test, progress=progress) for folder in folders}
    return compare(predicted, test.labels, test.classes)


def predicted_classes(folder: RunFolder, test: Split, *, progress: Progress | None = None) -> Labels:
    """The classes that a run predicts for the test images, int64 (N,).

    From `predictions.npz` if it is of these weights and images, else from the network. A folder without weights, as
    published results are, must be intact and have `mistakes.csv`; all other predictions are correct.

    Raises:
        RunError: the run cannot be used, or is of other test images.
    """
    published = Store(folder.path, fact=lambda name: None)
    if not folder.weights.exists() and published.intact(folder.mistakes.name):
        return _from_mistakes(folder, test)
    run = load_run(folder)
    if run.classes != test.classes:
        raise RunError(f"{folder} was trained on other classes than the test images have: compare runs on the same.")
    saved = read_store(run, test).peek(PREDICTIONS)
    predictions = predict(run.model, test, progress=progress) if saved is None else saved.predictions
    return predictions.predicted


def _from_mistakes(folder: RunFolder, test: Split) -> Labels:
    predicted = test.labels.copy()
    rows = csv.DictReader(io.StringIO(read_bytes(folder.mistakes, follow=False).decode("utf-8")))
    for row in rows:
        index, classes = int(row["index"]), test.classes
        if index >= len(test) or row["true"] != classes[test.labels[index]] or row["predicted"] not in classes:
            raise RunError(f"{folder.mistakes} is of other test images: only runs on the same images are compared.")
        predicted[index] = classes.index(row["predicted"])
    return predicted
