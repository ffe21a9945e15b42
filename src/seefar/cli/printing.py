"""Functions that print results on standard output."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from seefar.errors import counted, printable

if TYPE_CHECKING:
    from seefar.artifacts import Result
    from seefar.data import Data
    from seefar.evaluation.comparison import Comparison
    from seefar.evaluation.evaluate import Evaluation
    from seefar.evaluation.verdict import AccuracyView, Verdict
    from seefar.explanation.pictures import PicturePrediction
    from seefar.progress import Progress
    from seefar.runs.folder import RunFolder


def print_evaluation(evaluation: Evaluation, as_json: bool = False) -> None:
    """Accuracy with its interval, recall of each class, number of mistakes, most confused pairs."""
    from seefar.evaluation.mistakes import count_confusions

    metrics = evaluation.metrics
    if as_json:
        print(json.dumps({"test": asdict(metrics)}, indent=2))
        return
    low, high = metrics.interval
    interval = f"95% interval {low:.2%} to {high:.2%}"
    print(f"Accuracy of the network on the {metrics.n} test images: {metrics.accuracy:.2%} ({interval})")
    for row in metrics.classes:
        print(f"  {row.name:12s} {'-' if row.recall is None else f'{row.recall:6.1%}'} of {row.n}")
    names = [row.name for row in metrics.classes]
    most = count_confusions(metrics.confusion)[:3]
    confused = "; ".join(f"{names[true]} predicted as {names[predicted]} {n}" for true, predicted, n in most)
    if confused:
        confused = f", most frequent: {confused}"
    print(f"{counted(metrics.mistakes, 'mistake')}{confused}", flush=True)


def print_result(result: Result, as_json: bool) -> None:
    """Print the repair rates and the files of the folder; as JSON, the metrics too."""
    folder, explanation = result.run.folder, result.explanation
    if as_json:
        occlusion = None if explanation is None else asdict(explanation.rates)
        test = asdict(result.evaluation.metrics)
        sections = {"test": test, **result.analysis.sections, **result.calibrations.sections, "occlusion": occlusion}
        print(json.dumps(sections, indent=2))
        return
    if explanation is not None and not result.evaluation.metrics.at_chance:
        print(explanation.rates)
    for line in (*(result.leaks.findings.values() if result.leaks else ()), *result.analysis.lines):
        print(line)
    if (calibration := result.calibrations.plain) is not None:
        low, high = calibration.ece.interval
        print(
            f"calibration: mean confidence {calibration.confidence:.1%}, accuracy {calibration.accuracy:.1%}; "
            f"expected calibration error {calibration.ece.value:.2%} ({low:.2%} to {high:.2%})"
        )
    mistakes = counted(result.evaluation.metrics.mistakes, "mistake")
    print(f"Figures show {len(result.shown)} of {mistakes}. Files in {folder}:")
    for names in ("report.html", "figures/*.png", "mistakes.csv", "explanation.json", "metrics.json", "manifest.json"):
        for path in sorted(folder.path.glob(names)):
            print(f"  {printable(str(path))}")  # an untrusted folder can hold any file name
    if explanation is None or not result.run.loads_model:
        return
    precision = "--precision bfloat16" if getattr(result.run.model, "in_bfloat16", False) else ""
    if len(explanation) < len(result.evaluation.mistakes):
        verb = "has a map" if len(explanation) == 1 else "have maps"
        print(f"{counted(len(explanation), 'mistake')} {verb}; the next command adds the other maps, and neighbours")
        print_next("explain", folder, precision)
    elif len(result.shown) < min(20, len(result.evaluation.mistakes)):
        print_next("explain", folder, f"--top 20 --order confidence {precision}")


def print_next(command: str, folder: RunFolder, flags: str = "") -> None:
    """Suggest a next command."""
    print(f"next: seefar {command} {shlex.quote(folder.name)} {flags}".rstrip())


def print_data(data: Data, source: str) -> None:
    """Print the folder and the contents of a data set."""
    height, width = data.train.images.shape[1:3]
    mean, deviation = (", ".join(f"{value:.4f}" for value in values) for values in data.statistics)
    print(f"{data.name}: {source}")
    print(f"{len(data.train)} training and {len(data.test)} test images of {height}x{width} pixels")
    print(f"{len(data.classes)} classes: {', '.join(data.classes)}")
    print(f"mean {mean}; standard deviation {deviation}")


def print_comparison(comparison: Comparison) -> None:
    """Tables of the runs, the pairs of runs and the classes, and how many mistakes of the first run were luck."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False, emoji=False)

    def print_table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column, name in enumerate(names):
            table.add_column(name, justify="right" if column else "left", overflow="fold")
        for row in rows:
            table.add_row(*map(str, row))
        console.print(table)

    runs, pairs = comparison.runs, comparison.pairs
    intervals = (f"{low:.2%} to {high:.2%}" for low, high in (run.interval for run in runs))
    rows: Iterable[Sequence[object]] = (
        (run.name, f"{run.accuracy:.2%}", interval, run.mistakes) for run, interval in zip(runs, intervals, strict=True)
    )
    print_table(["run", "accuracy", "95% interval", "mistakes"], rows)
    rows = (
        (
            f"{Path(pair.first).name}, {Path(pair.second).name}",
            *(len(pair.repaired), len(pair.broken), f"{pair.p:.2g}" if pair.p >= 0.001 else "< 0.001"),
            *(pair.shared, f"{pair.shared_by_chance:.1f}", f"{pair.kappa:.3f}", f"{pair.error_kappa:.3f}"),
        )
        for pair in pairs
    )
    print_table(["first, second", "repaired", "broken", "p", "shared", "by chance", "kappa", "kappa of errors"], rows)
    changes = [("repaired", pairs[0].repaired_by_class), ("broken", pairs[0].broken_by_class)] if len(runs) == 2 else []
    rows = (
        (
            name,
            *("-" if run.recall[k] is None else f"{run.recall[k]:.1%}" for run in runs),
            *(counts[k] for _, counts in changes),
        )
        for k, name in enumerate(comparison.classes)
    )
    print_table(["class", *(run.name for run in runs), *(name for name, _ in changes)], rows)
    mistakes = counted(runs[0].mistakes, "mistake")
    console.print(
        f"{mistakes} of {runs[0].name}: {len(comparison.luck)} luck (right in another run), "
        f"{len(comparison.settled)} settled ({'both' if len(runs) == 2 else 'all'} wrong; "
        f"{comparison.shared_by_chance:.0f} by chance)",
        soft_wrap=True,
    )


def print_triage(
    file: Path, verdicts: Sequence[Verdict], views: Sequence[AccuracyView], same: Sequence[str], as_json: bool
) -> None:
    """One line for each cause and each accuracy, and the clearest model errors; as JSON, every verdict."""
    from seefar.evaluation.verdict import count_faults, rule_of

    counts, rule = count_faults(verdicts), rule_of(verdicts)
    if as_json:
        result = {**counts, "same_as": list(same), "accuracy": [asdict(view) for view in views], "rule": asdict(rule)}
        result["verdicts"] = [{**asdict(verdict), "rule": verdict.rule.name} for verdict in verdicts]
        print(json.dumps(result, indent=2))
        return
    print(f"{file}: {counted(counts['errors'], 'mistake')}")
    if same:
        print(f"These are the predictions of {', '.join(same)}, which is not counted among the other networks.")
    for fault, meaning in rule.meaning.items():
        share = counts[fault] / max(1, counts["errors"])
        print(f"  {fault:10s} {counts[fault]:5d}  {share:6.1%}  {meaning}")
    print(f"By {rule.name}: {rule.reliability}")
    print("Accuracy, with its 95% interval:")
    for view in views:
        print(f"  {view}")
    clearest = sorted((item for item in verdicts if item.fault == "model"), key=lambda item: item.nets_wrong or 0)[:3]
    if clearest:
        print("Worth a look first:")
    for verdict in clearest:
        print(f"  image {verdict.index}: {verdict.sentence}")
    print("next: --json prints every verdict")


def print_reference(data_dir: Path | None, progress: Progress | None) -> None:
    """Download the reference data if they are missing; print sources, licences and folders."""
    from seefar.data.reference import find_files, read_reference, reference_sources

    paths = find_files(data_dir, progress=progress)
    reference = read_reference(paths)
    for source in reference_sources():
        print(f"{source.credit}\n  {paths[next(iter(source.files))].parent}")
    print(
        f"{len(reference.counts):,} test images, {reference.counts.sum():,} choices by people, "
        f"{(reference.confirmed >= 0).sum()} checked labels of which {reference.label_errors.sum()} are errors, "
        f"{len(reference.nets)} published networks"
    )


def print_prediction(prediction: PicturePrediction, figure: Path) -> None:
    """Print the prediction of one picture, and the effect of hiding the evidence."""
    print(f"{printable(prediction.file)}: {prediction.describe()}")
    print(f"  {prediction.picture.describe()}")
    print(f"  {prediction.sentence()}")
    print(f"  map: {'; '.join((prediction.health.badge, *prediction.health.reasons))}")
    print(f"  {printable(str(figure))}")
