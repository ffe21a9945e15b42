"""What the command line prints on standard output."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seefar.data import Data
    from seefar.evaluation.evaluate import Evaluation
    from seefar.result import Result
    from seefar.runs.folder import RunFolder

CONFUSED_PAIRS = 3


def print_evaluation(evaluation: Evaluation, as_json: bool = False) -> None:
    """Accuracy with its interval, recall of each class, number of mistakes, most confused pairs."""
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
    pairs = [
        (count, names[true], names[predicted])
        for true, row in enumerate(metrics.confusion)
        for predicted, count in enumerate(row)
        if true != predicted and count
    ]
    most = sorted(pairs, key=lambda pair: -pair[0])[:CONFUSED_PAIRS]
    confused = "; ".join(f"{true} taken for {predicted} {count}" for count, true, predicted in most)
    print(f"{metrics.mistakes} mistakes{', most of them: ' if confused else ''}{confused}", flush=True)


def print_result(result: Result, as_json: bool) -> None:
    """The repair rates and what lies in the folder; as JSON, the metrics too."""
    folder, explanation = result.run.folder, result.explanation
    if as_json:
        test, occlusion = asdict(result.evaluation.metrics), asdict(explanation.rates)
        sections = {"test": test, **result.findings.sections, "occlusion": occlusion}
        print(json.dumps(sections, indent=2))
        return
    print(explanation.rates)
    for line in result.findings.lines:
        print(line)
    if result.neighbours is not None:
        print(f"{len(result.neighbours.duplicates)} test images are nearly training images")
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
