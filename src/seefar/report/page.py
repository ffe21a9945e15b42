"""The HTML report of a run: gathers what its folder holds, writes `report.html`, and shows it in a notebook."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from seefar.data import Data
from seefar.data.images import Images
from seefar.data.reference import load_reference
from seefar.errors import DataError, RunError
from seefar.evaluation.calibration import Calibration
from seefar.evaluation.evaluate import Evaluation
from seefar.evaluation.mistakes import Mistake
from seefar.evaluation.triage import Verdict
from seefar.explanation.explain import Explanation
from seefar.explanation.neighbours import Neighbours
from seefar.report.content import NearestImages, ReportContent, on_page
from seefar.report.html import render_report
from seefar.report.write import gather
from seefar.runs.files import write_text
from seefar.runs.folder import RunFolder, find_run
from seefar.runs.provenance import provenance
from seefar.training.run import Run


def make_report(
    run: Run,
    data: Data,
    evaluation: Evaluation,
    explanation: Explanation | None,
    command: Sequence[str],
    data_dir: str | Path | None = None,
    *,
    verdicts: Sequence[Verdict] | None = None,
    calibrations: tuple[Calibration, Calibration | None] | None = None,
    only_changed: bool = False,
) -> Path:
    """Write `report.html` into the run folder, whole or not at all.

    Args:
        run: the trained network and its history.
        data: what it was trained on.
        evaluation: of its test images.
        explanation: of all its mistakes or some.
        command: what made the files.
        data_dir: where the reference data for CIFAR-10 lie, if they were fetched.
        verdicts: whose fault the mistakes are; default: found here.
        calibrations: of the predictions, without and, if training images were held out, with a temperature; default:
            measured here, without.
        only_changed: leave a page as it is that shows the same already.

    Returns:
        The path of the page.
    """
    try:
        reference = load_reference(data_dir, fetch=False) if data.name == "cifar10" else None
    except DataError:  # not fetched
        reference = None
    near = saved_neighbours(run.folder, evaluation, data)
    mistakes = on_page(evaluation.mistakes, len(data.classes), explanation)
    content = gather(
        data.test,
        evaluation,
        explanation,
        name=run.folder.path.name,
        data=data.name,
        history=run.history,
        recipe=run.recipe,
        reference=reference,
        neighbours=None if near is None else nearest_images(near, mistakes, data.train.images),
        verdicts=verdicts,
        calibrations=calibrations,
    )
    if not (only_changed and _shows(run.folder.report, content)):
        content = replace(content, provenance={"command": list(command), **provenance()})
        write_text(run.folder.report, render_report(content))
    return run.folder.report


def _shows(page: Path, content: ReportContent) -> bool:
    """Whether a page was made of this content, whatever command made it."""
    try:
        with page.open("rb") as file:
            return f'content="{content.fingerprint}"'.encode() in file.read(4096)
    except OSError:
        return False


def nearest_images(neighbours: Neighbours, mistakes: Sequence[Mistake], training: Images) -> NearestImages:
    """The neighbours in the order of the mistakes, with the training images that occur.

    Args:
        neighbours: of the mistakes, in any order.
        mistakes: M mistakes.
        training: all training images, uint8 (N, H, W, 3).
    """
    place = {int(index): row for row, index in enumerate(neighbours.index)}
    rows = np.array([place[mistake.index] for mistake in mistakes], dtype=np.int64)
    indices = np.concatenate([neighbours.of_predicted, neighbours.of_true], axis=1)[rows]  # (M, 2n)
    distances = np.concatenate([neighbours.distance_predicted, neighbours.distance_true], axis=1)[rows]
    used = np.unique(indices[indices >= 0])
    places = np.where(indices < 0, -1, np.searchsorted(used, indices))
    copies = tuple(duplicate for duplicate in neighbours.duplicates if duplicate.index in place)
    return NearestImages(indices, distances, training[used], places, copies)


def saved_neighbours(folder: RunFolder, evaluation: Evaluation, data: Data) -> Neighbours | None:
    """The neighbours in the run folder, if they are of these predictions and training images."""
    try:
        saved = Neighbours.load(folder.neighbours)
    except RunError:  # missing or damaged
        return None
    return saved if saved.are_of(evaluation.predictions, data) else None


class ReportFrame:
    """A report that a notebook shows when it is the last value of a cell."""

    def __init__(self, text: str, height: int) -> None:
        self.text, self.height = text, height

    def __repr__(self) -> str:
        return f"ReportFrame({len(self.text):,} characters, {self.height} pixels high)"

    def _repr_html_(self) -> str:
        return (
            f'<iframe title="Report of a run" sandbox="allow-scripts allow-downloads" width="100%" '
            f'height="{self.height}" style="border:0" srcdoc="{html.escape(self.text)}"></iframe>'
        )


def show_report(folder: RunFolder | str | Path, height: int = 860) -> ReportFrame:
    """The report of a run within a notebook: a frame of its own, so that neither changes the other.

    Args:
        folder: the run folder, its path, or the bare name of one under `runs/`.
        height: of the frame, in pixels.

    Raises:
        RunError: the folder holds no report.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "report.html").write_text("<p>a report")
        >>> show_report(folder)._repr_html_()[-36:]
        'srcdoc="&lt;p&gt;a report"></iframe>'
    """
    found = folder if isinstance(folder, RunFolder) else find_run(folder)
    try:
        return ReportFrame(found.report.read_text(encoding="utf-8"), height)
    except FileNotFoundError as error:
        raise RunError(
            f"{found.report} is missing: make it with seefar.report_run(run, data), or `seefar report {found.name}`."
        ) from error
