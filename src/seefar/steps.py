"""Steps of the main job after training: evaluate, explain and report into a run folder.

Each step reads back what is there if it was made from the same weights and images, and goes on from it; so the same
call after an interruption goes on where it stopped. A folder that cannot be written to is read only: what is computed
anew is given, and not kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seefar import processes
from seefar.choices import Choices
from seefar.data import Data, Split
from seefar.data.checks import differing_names
from seefar.errors import DataError
from seefar.evaluation.evaluate import Evaluation, evaluate
from seefar.evaluation.mistakes import Mistake, find_mistakes
from seefar.explanation.explain import Explanation, explain
from seefar.findings import can_judge_now, compute_neighbours, draw_findings, find, save_metrics, say_missing
from seefar.inputs import check_choices
from seefar.progress import Part, Progress, showing
from seefar.report.figures import plot_history, plot_maps, plot_mistakes
from seefar.report.style import save_figure
from seefar.result import Result, make_report, write_result, write_table
from seefar.saved import (
    forget_predictions,
    is_writable,
    left_out,
    saved_calibrations,
    saved_evaluation,
    saved_explanation,
    saved_neighbours,
    tell_unwritten,
    writing_if_possible,
)
from seefar.training.run import Run

PART = 100
"""So many mistakes are explained before what is there is saved."""


def evaluate_run(
    run: Run,
    data: Data,
    *,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
    command: Sequence[str] = ("seefar.evaluate_run",),
) -> Evaluation:
    """The second step: predictions, metrics and mistakes of a run, saved in its folder; read back if they are there.

    They are computed anew if the saved ones are of other weights or other test images; what followed from those is
    then taken away.

    Args:
        run: a finished training.
        data: its test images are evaluated.
        data_dir: where the reference data for CIFAR-10 lie or are to be kept; see `seefar.load_reference`.
        progress: see `seefar.progress`.
        command: what the manifest says made the files.

    Raises:
        DataError: the data has other classes or another image size than the run.
        RunError: another process writes into the folder, or there is no room.

    Example:
        >>> import tempfile, seefar
        >>> from seefar.data.shapes import load_shapes
        >>> data, folder = load_shapes(40, 20), Path(tempfile.mkdtemp()) / "tiny"
        >>> tiny = seefar.recipe("demo", width=2, epochs=1, batch_size=16)
        >>> run = seefar.train(tiny, data, folder, progress=seefar.SILENT)
        >>> evaluate_run(run, data, progress=seefar.SILENT).metrics.n, run.folder.metrics.exists()
        (20, True)
    """
    if run.classes != data.classes:
        raise DataError(
            f"{run.folder} knows other classes than {data.name} has ({differing_names(data.classes, run.classes)}): "
            "choose a run that was trained on this data."
        )
    folder, test = run.folder, data.test
    history, mistakes = folder.figure("history"), folder.figure("mistakes")
    evaluation = saved_evaluation(run, test)
    there = {path: path.exists() for path in (folder.metrics, folder.mistakes, history)}
    if evaluation and all(there.values()) and not can_judge_now(folder, test, data_dir, progress):
        return evaluation
    (kept,) = processes.agree(is_writable(folder))  # by the first of several processes; all ask the network
    if not kept:
        tell_unwritten(folder, {folder.predictions: evaluation is not None, **there}, progress)
        return evaluation or evaluate(run.model, test, progress=progress)
    with folder.writing(command):
        saved = evaluation is not None
        evaluation = evaluation or evaluate(run.model, test, progress=progress)
        explanation = saved_explanation(run, evaluation)
        if not saved:
            if explanation is None:  # else all is of these predictions, whose file was damaged
                forget_predictions(folder)
            evaluation.save(folder.predictions)
        findings = find(run, data, evaluation, data_dir, progress)
        say_missing(findings.analysis.missing, progress)
        save_metrics(folder, evaluation, findings)
        draw_findings(folder, evaluation, findings)
        write_table(run, data, evaluation, findings, explanation, saved_neighbours(folder, evaluation, data))
        save_figure(history, plot_history(run.history, evaluation.metrics.accuracy))
        if evaluation.mistakes and not mistakes.exists():
            save_figure(mistakes, plot_mistakes(evaluation.mistakes[: Choices().top], test))
    return evaluation


def explain_run(
    run: Run,
    data: Data,
    evaluation: Evaluation | None = None,
    *,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
    command: Sequence[str] = ("seefar.explain_run",),
    **choices: Any,
) -> Result:
    """The third step: the mistakes of a run explained, and the report; what was explained before is read back.

    Args:
        run: a finished training.
        data: its test images are explained.
        evaluation: of the run on these images; default: `evaluate_run`.
        data_dir: see `evaluate_run`.
        progress: see `seefar.progress`.
        command: what the manifest says made the files.
        choices: which mistakes are shown and how they are explained: the fields of `seefar.Choices`.

    Raises:
        ChoiceError, DataError, MapError: a choice cannot be met.
        RunError: see `evaluate_run`.

    Example:
        >>> import tempfile, seefar
        >>> from seefar.data.shapes import load_shapes
        >>> data, folder = load_shapes(40, 20), Path(tempfile.mkdtemp()) / "tiny"
        >>> tiny = seefar.recipe("demo", width=2, epochs=1, batch_size=16)
        >>> run = seefar.train(tiny, data, folder, progress=seefar.SILENT)
        >>> result = explain_run(run, data, top=2, explain="shown", neighbours=False, progress=seefar.SILENT)
        >>> len(result.shown), run.folder.report.exists()
        (2, True)
    """
    chosen, test, folder = Choices(**choices), data.test, run.folder
    check_choices(chosen, data)
    with writing_if_possible(folder, command), showing(progress) as display:
        evaluation = evaluation or evaluate_run(run, data, data_dir=data_dir, progress=display)
        ranked = find_mistakes(evaluation.predictions, chosen.order, true=chosen.true, predicted=chosen.predicted)
        shown = ranked[: chosen.top]
        if evaluation.mistakes and not shown:
            display.line("no mistake is of the chosen classes: the figures mistakes and maps are left out")
        if is_writable(folder):
            save_figure(folder.figure("mistakes"), plot_mistakes(shown, test) if shown else None)
        saved = saved_explanation(run, evaluation, chosen)
        explanation = _explain_part(run, test, evaluation, chosen, shown, saved, display)
        if is_writable(folder):
            save_figure(folder.figure("maps"), plot_maps(explanation.of(shown), test) if shown else None)
        there = {mistake.index for mistake in explanation.mistakes}
        rest = [one for one in evaluation.mistakes if one.index not in there] if chosen.explain == "all" else []
        for start in range(0, len(rest), PART):
            part = Part(display, start // PART + 1, -(-len(rest) // PART))
            explanation = _explain_part(run, test, evaluation, chosen, rest[start : start + PART], explanation, part)
        findings = find(run, data, evaluation, data_dir, display)
        result = Result(run, evaluation, explanation, shown, findings, saved_neighbours(folder, evaluation, data))
        if is_writable(folder):
            save_metrics(folder, evaluation, findings)
            draw_findings(folder, evaluation, findings)
            write_result(result, data, command, data_dir)
        (kept,) = processes.agree(is_writable(folder))  # by the first of several processes; all ask the network
        if kept and chosen.neighbours and result.neighbours is None and evaluation.mistakes:  # all else is there by now
            result = replace(result, neighbours=compute_neighbours(run, data, evaluation, display))
            if is_writable(folder):
                write_result(result, data, command, data_dir)
        if not kept:
            looked = result.neighbours is not None or not (chosen.neighbours and evaluation.mistakes)
            held = {folder.maps: explanation is saved, folder.neighbours: looked}
            tell_unwritten(folder, {**held, folder.report: folder.report.exists()}, display)
    return result


def report_run(
    run: Run,
    data: Data,
    *,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
    command: Sequence[str] = ("seefar.report_run",),
) -> Path:
    """The last step: `report.html` from what the folder holds; only a run without predictions asks the network.

    Args:
        run: a finished training.
        data: what it was trained on.
        data_dir: where the reference data for CIFAR-10 lie, if they were fetched; see `seefar.load_reference`.
        progress: see `seefar.progress`.
        command: see `evaluate_run`, as for what it raises.

    Example:
        >>> import tempfile, seefar.data.shapes
        >>> data, quiet = seefar.data.shapes.load_shapes(40, 20), seefar.SILENT
        >>> run = seefar.train(seefar.recipe("demo", width=2, epochs=1), data, tempfile.mkdtemp(), progress=quiet)
        >>> report_run(run, data, progress=quiet).name
        'report.html'
    """
    with writing_if_possible(run.folder, command):
        evaluation = evaluate_run(run, data, data_dir=data_dir, progress=progress)
        explanation, calibrations = saved_explanation(run, evaluation), saved_calibrations(run, evaluation)
        with showing(progress) as shown:
            for line in left_out(run, data, evaluation, explanation, data_dir):
                shown.line(line)
        if run.folder.report.exists() and not is_writable(run.folder):
            return run.folder.report
        neighbours = saved_neighbours(run.folder, evaluation, data)
        return make_report(
            run, data, evaluation, explanation, neighbours, calibrations, command=command, data_dir=data_dir
        )


def _explain_part(
    run: Run,
    test: Split,
    evaluation: Evaluation,
    choices: Choices,
    mistakes: list[Mistake],
    known: Explanation | None,
    progress: Progress,
) -> Explanation:
    """Explain some mistakes beside those that are known, and save all of them; nothing is done if all are known."""
    there = set() if known is None else {mistake.index for mistake in known.mistakes}
    tried = known is not None and (len(known.damaged) > 0 or len(there) < len(evaluation.mistakes))
    if known and tried and there.issuperset(mistake.index for mistake in mistakes):
        return known
    explanation = explain(
        run.model,
        test,
        evaluation.predictions,
        mistakes,
        method=choices.method,
        layer=choices.layer,
        cells=choices.cells,
        hide=choices.hide,
        known=known,
        progress=progress,
    )
    if explanation is not known and is_writable(run.folder):
        explanation.save(run.folder.maps)
    return explanation
