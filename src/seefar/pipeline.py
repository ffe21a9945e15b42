"""The pipeline and its steps, each into a run folder: train, evaluate, explain, report; comparison of finished runs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from seefar import artifacts as table
from seefar.artifacts import Job, Result, page_content, read_store
from seefar.choices import Choices, DeviceName, Fit, PrecisionName
from seefar.data import Data, load_data
from seefar.data.images import ImageSize, Labels, Split, differing_names
from seefar.errors import ChoiceError, DataError, RunError
from seefar.evaluation.audit import PREDICTED_SIZE, Audit, data_of, load_audit, prepare_audit
from seefar.evaluation.comparison import Comparison, compare
from seefar.evaluation.evaluate import Evaluation
from seefar.evaluation.mistakes import chosen_classes
from seefar.evaluation.predictions import SUFFIXES, Predictions, find_predictions, predict, read_predictions
from seefar.evaluation.verdict import OtherRuns
from seefar.explanation.explain import normalise_map_settings
from seefar.model.adapt import Classifier
from seefar.model.resnet import ResNet18, stem_stride_for
from seefar.progress import Progress, showing
from seefar.report.content import Beside, ReportContent
from seefar.runs.files import read_table
from seefar.runs.folder import RunFolder, find_run, run_path, verify
from seefar.runs.store import opened
from seefar.training.distributed import world_size
from seefar.training.loop import train
from seefar.training.recipe import Recipe
from seefar.training.recipe import recipe as named_recipe
from seefar.training.run import Run, load_for, load_run, read_recipe


def run(
    recipe: Recipe | str = "fast",
    data: Data | str | Path | None = None,
    name: str | Path | None = None,
    *,
    data_dir: str | Path | None = None,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    checkpoint_minutes: float = 5.0,
    compile: bool = False,
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
        name: the run folder: a path, or a bare name under `runs/`; default: the recipe's name, numbered if taken.
        data_dir: where CIFAR-10 is kept; see `seefar.load_data`.
        device: see `seefar.train`.
        precision: see `seefar.train`.
        checkpoint_minutes: see `seefar.train`.
        compile: see `seefar.train`.
        seeds: number of trainings, with consecutive seeds; the further ones go into folders such as `fast-seed-1`.
        progress: see `seefar.progress`.
        evaluated: called with the evaluation as soon as it is known, before mistakes are explained.
        command: the command line or function, for the manifest.
        choices: which mistakes are shown and how they are explained: the fields of `seefar.choices.Choices`.

    Raises:
        SeefarError: a choice, the data, the folder or the device does not fit; if possible before the first step.

    Examples:
        >>> import tempfile, seefar
        >>> from seefar.data.shapes import load_shapes
        >>> tiny = seefar.recipe("demo", width=2, epochs=1, batch_size=16)
        >>> folder = Path(tempfile.mkdtemp()) / "tiny"
        >>> result = seefar.run(tiny, load_shapes(40, 8), folder, top=2, progress=seefar.SILENT)
        >>> result.evaluation.metrics.n, len(result.shown), seefar.verify(folder)
        (8, 2, [])
    """
    chosen, recipe = Choices(**choices), named_recipe(recipe) if isinstance(recipe, str) else recipe
    if isinstance(data, Data):
        recipe = replace(recipe, data=data.name, image_size=data.image_size)
    elif data is not None:
        recipe = replace(recipe, data=str(data))
    images = data if isinstance(data, Data) else load_for(recipe, data_dir, progress=progress)
    with torch.random.fork_rng(devices=[]):  # its weights are drawn; layers and cells have no width
        _check_choices(chosen, images, ResNet18(len(images.classes), 1, stem_stride=stem_stride_for(images.image_size)))
    if not 1 <= seeds <= 100 or (seeds > 1 and world_size() > 1):
        raise ChoiceError(f"seeds must be 1 to 100, and 1 in several processes (got {seeds}).")
    machine: dict[str, Any] = {"device": device, "precision": precision}
    machine |= {"checkpoint_minutes": checkpoint_minutes, "compile": compile}
    with showing(progress) as shown:
        common: dict[str, Any] = {"progress": shown, "command": command}
        trained = train(recipe, images, name, **machine, **common)  # of several processes the others exit here
        result = explain_run(trained, images, data_dir=data_dir, evaluated=evaluated, **common, **choices)
        predicted = {}
        for seed in range(recipe.seed + 1, recipe.seed + seeds):
            own = trained.folder.path.with_name(f"{trained.folder.path.name}-seed-{seed}")
            other = train(replace(recipe, seed=seed), images, own, **machine, **common)
            predicted[own.name] = evaluate_run(other, images, data_dir=data_dir, **common).predictions.predicted
        if predicted:
            others = OtherRuns(tuple(predicted), np.stack(list(predicted.values())))
            result = explain_run(trained, images, data_dir=data_dir, others=others, **common, **choices)
        return result


def _check_choices(choices: Choices, data: Data, model: nn.Module | Classifier | None) -> None:
    """Refuse, before any work, classes that the data does not have, and maps that the model cannot give."""
    chosen_classes(data.classes, choices.true, choices.predicted)
    if model is not None:
        normalise_map_settings(model, data.image_size, choices)


def evaluate_run(
    run: Run | Audit,
    data: Data,
    *,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
    command: Sequence[str] = ("seefar.evaluate_run",),
) -> Evaluation:
    """Predictions, metrics, calibration and table of mistakes of a run, saved in its folder; fresh files are read.

    `data_dir` has the reference data for CIFAR-10, see `seefar.load_reference`; `command`, the command line or the
    function, is for the manifest.

    Raises:
        DataError: the data has other classes or another image size than the run.
        RunError: another process writes into the folder, or the disk is full.

    Examples:
        >>> import tempfile, seefar.data.shapes
        >>> data, quiet = seefar.data.shapes.load_shapes(40, 8), seefar.SILENT
        >>> run = seefar.train(seefar.recipe("demo", width=2, epochs=1), data, tempfile.mkdtemp(), progress=quiet)
        >>> evaluate_run(run, data, progress=quiet).metrics.n, run.folder.metrics.exists()
        (8, True)
    """
    with _opened_job(run, data, Choices(), data_dir=data_dir, progress=progress, command=command) as job:
        job.store.ensure(*table.EVALUATED)
        if not job.store.present(table.MISTAKES_FIGURE):  # else it shows the mistakes that were chosen
            job.store.ensure(table.MISTAKES_FIGURE)
        return job.evaluation


def explain_run(
    run: Run | Audit,
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

    Arguments and errors as `evaluate_run`, with `evaluated` and the choices of `run`; `others` are runs with other
    seeds.

    Examples:
        >>> import tempfile, seefar.data.shapes
        >>> data, quiet = seefar.data.shapes.load_shapes(40, 8), seefar.SILENT
        >>> run = seefar.train(seefar.recipe("demo", width=2, epochs=1), data, tempfile.mkdtemp(), progress=quiet)
        >>> result = explain_run(run, data, top=2, explain="shown", progress=quiet)
        >>> len(result.shown), run.folder.report.exists()
        (2, True)
    """
    chosen = Choices(**choices)
    _check_choices(chosen, data, run.model)
    common: dict[str, Any] = {"data_dir": data_dir, "progress": progress, "command": command}
    with _opened_job(run, data, chosen, others, **common) as job:
        if others is not None:
            job.store.ensure(table.SEEDS)
        if evaluated:
            evaluated(job.evaluation)
        job.store.ensure(*table.EVALUATED, table.MISTAKES_FIGURE, table.PAGE)
        if job.evaluation.mistakes and not job.shown:
            job.progress.line("No mistake has the chosen classes: the figures mistakes and maps are left out.")
        if table.PAGE.name in job.store.written and job.store.root == run.folder.path:
            job.progress.line(f"{run.folder.report} has all mistakes; later results are added to it")
        job.store.ensure(*table.EXPLAINED)  # those that are shown come first
        if chosen.explain == "all":
            job.to_explain = job.evaluation.mistakes
            job.store.ensure(*table.EXPLAINED)
            if chosen.neighbours and job.evaluation.mistakes:
                job.store.ensure(table.NEIGHBOURS, *table.EVALUATED, table.PAGE)
        return job.result()


def report_run(
    run: Run | Audit,
    data: Data,
    *,
    beside: str | Path | None = None,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
    command: Sequence[str] = ("seefar.report_run",),
) -> Path:
    """`report.html` from the files of the folder; the network runs only if the predictions are not fresh.

    Arguments and errors as `evaluate_run`; `beside` is another run on the same test images, whose predictions and maps
    are shown too. Returns the path of the page.

    Examples:
        >>> import tempfile, seefar.data.shapes
        >>> data, quiet = seefar.data.shapes.load_shapes(40, 8), seefar.SILENT
        >>> run = seefar.train(seefar.recipe("demo", width=2, epochs=1), data, tempfile.mkdtemp(), progress=quiet)
        >>> report_run(run, data, progress=quiet).name
        'report.html'
    """
    with _opened_job(run, data, Choices(), data_dir=data_dir, progress=progress, command=command) as job:
        if beside is not None:
            other = find_run(beside)
            predicted = predicted_classes(other, data.test, progress=job.progress)
            maps = read_store(load_run(other), data.test).peek(table.MAPS) if other.weights.exists() else None
            job.beside = Beside(other.path.name, predicted, maps)
        job.store.ensure(*table.EVALUATED, table.PAGE)
        if run.has_model and job.evaluation.mistakes and job.store.peek(table.MAPS) is None:
            job.progress.line(f"The page has no maps: `seefar explain {run.folder.name}` adds them.")
        return run.folder.report


def report_content(
    run: Run | Audit,
    data: Data,
    *,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
    command: Sequence[str] = ("seefar.report_content",),
) -> ReportContent:
    """What the report of a run shows; the run is evaluated first, the report is not written. See `evaluate_run`."""
    with _opened_job(run, data, Choices(), data_dir=data_dir, progress=progress, command=command) as job:
        job.store.ensure(*table.EVALUATED)
        return page_content(job)


@contextmanager
def _opened_job(
    run: Run | Audit,
    data: Data,
    choices: Choices,
    others: OtherRuns | None = None,
    *,
    data_dir: str | Path | None,
    progress: Progress | None,
    command: Sequence[str],
) -> Iterator[Job]:
    if run.classes != data.classes:
        odd = differing_names(data.classes, run.classes)
        raise DataError(f"{run.folder} was trained on other classes than {data.name} has ({odd}): choose another run.")
    if run.image_size != data.image_size:
        raise DataError(
            f"{run.folder} was trained on images of {run.image_size} pixels, but {data.name} has {data.image_size}: "
            "load the data with the size of the run."
        )
    run.folder.path.mkdir(parents=True, exist_ok=True)  # that of a new audit
    with showing(progress) as shown:
        job = Job(run, data, choices, data_dir, shown, others)
        with opened(run.folder.path, job.fact, job, table.ARTIFACTS, command, shown) as job.store:
            if isinstance(run, Audit):
                run.save(job.store, command)
            yield job


# ---- Models that were trained elsewhere ----


def audit(
    pictures: Data | Split | str | Path,
    predictions: Predictions | NDArray[Any] | str | Path | None = None,
    model: nn.Module | Classifier | Run | None = None,
    *,
    name: str | Path | None = None,
    classes: Sequence[str] | None = None,
    image_size: ImageSize | None = None,
    fit: Fit = "crop",
    model_name: str = "",
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
    evaluated: Callable[[Evaluation], object] | None = None,
    command: Sequence[str] = ("seefar.audit",),
    **choices: Any,
) -> Result:
    """Everything after training for a classifier that was trained elsewhere, or for its predictions alone.

    The result is a run folder like any other. Without a model it has no maps and no occlusion test. With both, the
    model predicts, and a warning counts the predictions that differ from those passed.

    Args:
        pictures: a `Split`, a `Data` whose test images are evaluated, or a data set by its name or path: a folder by
            class or a CSV file of paths and labels, of which all pictures are evaluated.
        predictions: a file, see `read_predictions` of `seefar.evaluation.predictions`; or logits (N, K) in order.
        model: what `seefar.adapt` takes or returns, or a finished run.
        name: the run folder, as in `seefar.run`; default: `audit`, numbered if that belongs to another audit.
        classes: names of the K classes in the order of the model; default: those of the pictures, sorted.
        image_size: size to which pictures of a folder are resized; default: the model's, or 128 without a model.
        fit: how pictures of another shape are brought to it, see `seefar.load_data`.
        model_name: what the model is called in the folder.
        data_dir: see `seefar.load_data`.
        progress: see `seefar.progress`.
        evaluated: see `seefar.run`.
        command: the command line or function, for the manifest.
        choices: see `seefar.run`.

    Raises:
        SeefarError: pictures, predictions, model, folder or choices do not fit.

    Examples:
        >>> import tempfile, seefar
        >>> from seefar.data.shapes import load_shapes
        >>> test, folder = load_shapes(train=20, test=40).test, Path(tempfile.mkdtemp()) / "mine"
        >>> result = seefar.audit(test, np.eye(10)[test.labels], name=folder, progress=seefar.SILENT)
        >>> result.evaluation.metrics.accuracy, result.explanation, seefar.verify(folder)
        (1.0, None, [])
    """
    common: dict[str, Any] = {"data_dir": data_dir, "progress": progress}
    form: dict[str, Any] = {"classes": classes, "image_size": image_size, "fit": fit, "model_name": model_name}
    audited, data = prepare_audit(pictures, predictions, model, name=name, **form, **common)

    def check(evaluation: Evaluation) -> None:
        for line in audited.cautions(evaluation, data.test):
            warnings.warn(line, stacklevel=2)
        if evaluated:
            evaluated(evaluation)

    return explain_run(audited, data, evaluated=check, command=command, **common, **choices)


# ---- Comparison of runs ----


def compare_runs(
    runs: Sequence[str | Path],
    *,
    data: str | None = None,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare two or more runs on the test images of the first; nothing is written into their folders.

    `runs` are run folders, also audits, and files of predictions for the same test images. `data` is the name or folder
    of the data set, by default that of the first run folder.

    Raises:
        RunError: a run is missing or named twice, or its predictions are of other images or other weights.
        DataError: there are fewer than two runs, or the data is missing.

    Examples:
        >>> import seefar, tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> for number, name in enumerate(("cat", "dog")):  # a picture of each class, and two files of predictions
        ...     (folder / name).mkdir()
        ...     Image.new("RGB", (8, 8)).save(folder / name / "one.png")
        ...     np.save(folder / f"{name}s.npy", [number, number])
        >>> files = [folder / "cats.npy", folder / "dogs.npy"]
        >>> compare_runs(files, data=str(folder), progress=seefar.SILENT).luck
        (1,)
    """
    if len(runs) < 2:
        raise DataError(f"A comparison needs at least two runs (got {len(runs)}): name two or more.")
    sources: dict[Path, RunFolder | Path] = {}
    for run in runs:
        location = run_path(run)
        is_file = location.suffix.lower() in SUFFIXES and not location.is_dir()
        source = find_predictions(run) if is_file else find_run(run)
        path = Path(str(source)).resolve()
        if path in sources:
            raise RunError(f"{source} is named twice: name each run once.")
        sources[path] = source
    folders = [source for source in sources.values() if isinstance(source, RunFolder)]
    origins = [  # each must be a run, before data is downloaded
        load_audit(folder, with_model=False).source if folder.audit.exists() else read_recipe(folder)
        for folder in folders
    ]
    if origins:
        test = data_of(origins[0], data, data_dir, progress).test
    elif data is not None:
        test = load_data(data, data_dir, PREDICTED_SIZE, to_judge=True, progress=progress).test
    else:
        raise DataError("A file of predictions does not contain the images: pass data (--data cifar10).")
    predicted = {str(entry): predicted_classes(entry, test, progress=progress) for entry in sources.values()}
    return compare(predicted, test.labels, test.classes)


def predicted_classes(folder: RunFolder | Path, test: Split, *, progress: Progress | None = None) -> Labels:
    """The classes that a run, or a file of predictions, predicts for the test images, int64 (N,).

    From `predictions.npz` if it is of these weights and images, else from the network. A folder without weights, as
    published results are, must be intact and have `mistakes.csv`; all other predictions are correct.
    """
    if isinstance(folder, Path):
        return Predictions.of(read_predictions(folder, test.classes, len(test), test.files)[0], test).predicted
    if not folder.weights.exists() and folder.mistakes.exists() and not verify(folder.path):
        return _from_mistakes(folder, test)
    run = load_audit(folder) if folder.audit.exists() else load_run(folder)
    if run.classes != test.classes:
        raise RunError(f"{folder} was trained on other classes than the test images have: choose other runs.")
    saved = read_store(run, test).peek(table.PREDICTIONS)
    if saved is not None:
        return saved.predictions.predicted
    if run.model is None:
        raise RunError(f"{folder} is an audit of other test images: only runs on the same images are compared.")
    return predict(run.model, test, progress=progress).predicted


def _from_mistakes(folder: RunFolder, test: Split) -> Labels:
    predicted, classes = test.labels.copy(), test.classes
    try:
        titles, *lines = read_table(folder.mistakes)
        for line in lines:
            row = dict(zip(titles, line, strict=True))
            index = int(row["index"])
            if row["true"] != classes[test.labels[index]]:
                raise ValueError(f"image {index} is not labelled {row['true']}")
            predicted[index] = classes.index(row["predicted"])
    except (KeyError, ValueError, IndexError) as error:
        raise RunError(
            f"{folder.mistakes} is for other test images ({error}): only runs on the same images are compared."
        ) from error
    return predicted
