"""Runs side by side: the predicted classes of finished runs, read from their folders, and their comparison."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from seefar.artifacts import PREDICTIONS, read_store
from seefar.data import load_data
from seefar.data.images import Labels, Split
from seefar.errors import DataError, RunError
from seefar.evaluation.comparison import Comparison, compare
from seefar.evaluation.predictions import predict
from seefar.progress import Progress
from seefar.runs.files import read_bytes
from seefar.runs.folder import RunFolder, find_run
from seefar.runs.store import Store
from seefar.training.run import load_run, read_recipe


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
    test = load_data(data or recipes[0].data, data_dir, recipes[0].image_size, progress=progress).test
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
    try:
        text = read_bytes(folder.mistakes, follow=False).decode("utf-8")
        rows = [(int(row["index"]), row["true"], row["predicted"]) for row in csv.DictReader(io.StringIO(text))]
        fits = True
        for index, true, other in rows:
            fits &= test.classes[test.labels[index]] == true
            predicted[index] = test.classes.index(other)
    except (OSError, KeyError, ValueError, TypeError, IndexError, csv.Error) as error:
        raise RunError(f"{folder.mistakes} cannot be read ({error}): evaluate the run again.") from error
    if not fits:
        raise RunError(f"{folder.mistakes} is of other test images: only runs on the same images are compared.")
    return predicted
