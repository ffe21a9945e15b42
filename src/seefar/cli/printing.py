"""What the command line prints on standard output."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seefar.data import Data
    from seefar.evaluation.evaluate import Evaluation
    from seefar.pipeline import Result
    from seefar.runs.folder import RunFolder

CONFUSED_PAIRS = 3


def print_evaluation(evaluation: Evaluation, as_json: bool = False) -> None:
    """Accuracy with its interval, recall of each class, number of mistakes, most confused pairs."""
    from seefar.evaluation.mistakes import count_confusions

    metrics = evaluation.metrics
    if as_json:
        print(json.dumps({"test": asdict(metrics)}, indent=2))
        return
    low, high = metrics.interval
    interval = f"95 % interval {low:.2%} to {high:.2%}"
    print(f"Accuracy of the network on the {metrics.n} test images: {metrics.accuracy:.2%} ({interval})")
    for one in metrics.classes:
        print(f"  {one.name:12s} {'-' if one.recall is None else f'{one.recall:6.1%}'} of {one.n}")
    names = [one.name for one in metrics.classes]
    most = count_confusions(metrics.confusion)[:CONFUSED_PAIRS]
    confused = "; ".join(f"{names[one.true]} taken for {names[one.predicted]} {one.n}" for one in most)
    print(f"{metrics.mistakes} mistakes{', most of them: ' if confused else ''}{confused}", flush=True)


def print_result(result: Result, as_json: bool) -> None:
    """The repair rates and what lies in the folder; as JSON, the metrics too."""
    folder, explanation = result.run.folder, result.explanation
    if as_json:
        test, occlusion = asdict(result.evaluation.metrics), asdict(explanation.rates)
        sections = {"test": test, **result.analysis.sections, **result.calibrations.sections, "occlusion": occlusion}
        print(json.dumps(sections, indent=2))
        return
    print(explanation.rates)
    for line in result.analysis.lines:
        print(line)
    calibration = result.calibrations.plain
    low, high = calibration.ece.interval
    print(
        f"calibration: mean confidence {calibration.confidence:.1%}, accuracy {calibration.accuracy:.1%}; "
        f"expected calibration error {calibration.ece.value:.2%} ({low:.2%} to {high:.2%})"
    )
    if result.neighbours is not None:
        print(f"{len(result.neighbours.duplicates)} test images are near-duplicates of training images")
    print(f"{len(result.shown)} of {result.evaluation.metrics.mistakes} mistakes are shown; in {folder}:")
    figures = (folder.figure(name) for name in ("history", "mistakes", "maps", "faults", "confusion", "reliability"))
    for path in (folder.report, *figures, folder.mistakes, folder.explanation, folder.metrics, folder.manifest):
        if path.exists():
            print(f"  {path}")
    if result.evaluation.mistakes:
        print_next("explain", folder, "--top 20 --order confidence")


def print_next(command: str, folder: RunFolder, flags: str = "") -> None:
    """The command that a user may want next."""
    print(f"next: seefar {command} {shlex.quote(folder.name)} {flags}".rstrip())


def print_data(data: Data, place: str) -> None:
    """Where a data set lies, and what it holds."""
    size = data.image_size
    mean, deviation = (", ".join(f"{value:.4f}" for value in values) for values in data.statistics)
    print(f"{data.name}: {place}")
    print(f"{len(data.train)} training and {len(data.test)} test images of {size}x{size} pixels")
    print(f"{len(data.classes)} classes: {', '.join(data.classes)}")
    print(f"mean {mean}; standard deviation {deviation}")
