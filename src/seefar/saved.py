"""What a run folder holds already of these weights and images, and whether it can be written to."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from seefar import processes
from seefar.choices import Choices
from seefar.data import Data, Split
from seefar.errors import RunError
from seefar.evaluation.analysis import reference_of
from seefar.evaluation.calibration import Calibration
from seefar.evaluation.evaluate import Evaluation
from seefar.explanation.explain import Explanation
from seefar.explanation.explainer import normalise_map_settings
from seefar.explanation.kept import kept_explanation
from seefar.progress import Progress, showing
from seefar.report.page import saved_neighbours
from seefar.runs.files import read_json
from seefar.runs.folder import RunFolder
from seefar.runs.values import from_plain
from seefar.training.run import Run

CALIBRATIONS_SHA256 = "calibrations_sha256"
"""The key of `metrics.json` under which `calibrations_sha256` stands."""


def saved_explanation(run: Run, evaluation: Evaluation, choices: Choices | None = None) -> Explanation | None:
    """The explanation in the run folder, if it is of these predictions and was made with these settings, or any."""
    saved, predictions = kept_explanation(run), evaluation.predictions
    if saved is None or (saved.model, saved.images) != (predictions.model, predictions.images):
        return None
    known = {(mistake.index, mistake.true, mistake.predicted) for mistake in evaluation.mistakes}
    if not known.issuperset((mistake.index, mistake.true, mistake.predicted) for mistake in saved.mistakes):
        return None
    if choices is None:
        return saved
    settings = normalise_map_settings(
        run.model,
        run.image_size,
        method=choices.method,
        layer=choices.layer,
        cells=choices.cells,
        hide=choices.hide,
    )
    wanted = (settings.method, settings.layer, settings.cells, settings.hide)
    return saved if (saved.method, saved.layer, saved.cells, saved.hide) == wanted else None


def saved_evaluation(run: Run, test: Split) -> Evaluation | None:
    """The evaluation in the run folder, if it is of these weights and images."""
    try:
        saved = Evaluation.load(run.folder.predictions)
    except RunError:  # missing, damaged, or of an older form
        return None
    return saved if saved.predictions.are_of(run.model, test) else None


def calibrations_sha256(evaluation: Evaluation, sections: Mapping[str, Any]) -> str:
    """SHA-256 of the calibrations among the sections of `metrics.json` and of the logits and labels they are of."""
    digest = hashlib.sha256(evaluation.predictions.logits.tobytes())
    digest.update(evaluation.predictions.labels.tobytes())
    kept = {
        name: value
        for name, value in sections.items()
        if name.startswith("calibration") and name != CALIBRATIONS_SHA256
    }
    digest.update(json.dumps(kept, sort_keys=True).encode())
    return digest.hexdigest()


def saved_calibrations(run: Run, evaluation: Evaluation) -> tuple[Calibration, Calibration | None] | None:
    """The calibration in `metrics.json`, and that with a temperature if training images were held out.

    None if they are not there, or not as they were measured of these predictions. Resampling takes long, and held-out
    images ask the network.
    """
    try:
        values = read_json(run.folder.metrics)
        if values[CALIBRATIONS_SHA256] != calibrations_sha256(evaluation, values):
            return None
        after = from_plain(Calibration, values["calibration_after_temperature"]) if run.recipe.held_out else None
        return from_plain(Calibration, values["calibration"]), after
    except (OSError, TypeError, KeyError, ValueError, RecursionError):  # missing, damaged, or of an older form
        return None


def judged(folder: RunFolder) -> bool:
    """Whether `metrics.json` says whose fault the mistakes are; one that cannot be read counts as if it did."""
    try:
        return read_json(folder.metrics)["faults"] is not None
    except (OSError, ValueError, KeyError, TypeError):  # `seefar verify` names it
        return True


def left_out(
    run: Run, data: Data, evaluation: Evaluation, explanation: Explanation | None, data_dir: str | Path | None
) -> list[str]:
    """What a page of the folder lacks since its file is missing or damaged, and how it gets there; one line each."""
    folder, lines = run.folder, []
    again = f"`seefar explain {shlex.quote(folder.name)}` makes it anew"
    if explanation is None and evaluation.mistakes:
        what = "cannot be used" if folder.maps.exists() else "is missing"
        lines.append(f"the page has no maps, since {folder.maps} {what}: {again}")
    if folder.neighbours.exists() and saved_neighbours(folder, evaluation, data) is None:
        lines.append(f"the page has no neighbours, since {folder.neighbours} cannot be used: {again}")
    _, missing = reference_of(data.test, data_dir, fetch=False)
    if missing and judged(folder):  # else the evaluation has just said so
        lines.append(f"the page does not say whose fault the mistakes are: {missing}")
    return lines


def writing_if_possible(folder: RunFolder, command: Sequence[str]) -> AbstractContextManager[None]:
    """`folder.writing`, or nothing if the folder cannot be written to: what is in it can still be shown."""
    return folder.writing(command) if is_writable(folder) else nullcontext()


def tell_unwritten(folder: RunFolder, there: Mapping[Path, bool], progress: Progress | None) -> None:
    """One line that names the files which a folder that cannot be written to does not get; none if all are there."""
    lost = [path.relative_to(folder.path).as_posix() for path, is_there in there.items() if not is_there]
    if lost and processes.first():
        with showing(progress) as shown:
            shown.line(f"{folder} cannot be written to, so these are not written: {', '.join(lost)}")


def is_writable(folder: RunFolder) -> bool:
    """Whether files can be made in the folder, also if it is not there yet; of several processes only by the first."""
    return processes.first() and (not folder.path.exists() or os.access(folder.path, os.W_OK))


def forget_predictions(folder: RunFolder) -> None:
    """Take away everything that follows from predictions: it is of others than those that are to come."""
    figures = (folder.figure(name) for name in ("mistakes", "maps", "confusion", "reliability", "faults"))
    for path in (
        folder.metrics,
        folder.mistakes,
        folder.maps,
        folder.explanation,
        folder.neighbours,
        folder.report,
        *figures,
    ):
        path.unlink(missing_ok=True)
