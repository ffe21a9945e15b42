"""Whose fault the mistakes of a run on CIFAR-10 are, its accuracy seen several ways, and patterns of its mistakes.

    python benchmarks/triage.py [--run runs/fast] > results/triage.json

The published nets are judged in the same way, each without itself among the others. The accuracy of two views is that
of results/evaluate.json. Whether objects at the border are harder is tested on the mistakes and 1,000
correct predictions, since only those are mapped. `seconds` is the best of five calls on arrays that are in memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import seefar
from lab.border import border_slice, evidence_off_centre
from lab.measuring import arguments, print_result, seconds
from seefar.data import Split, load_data
from seefar.evaluation.metrics import wilson_interval
from seefar.evaluation.mistakes import confused_pairs, measure_slices, tenths
from seefar.evaluation.predictions import Predictions
from seefar.evaluation.verdict import GOOD_ACCURACY, HUMAN, AccuracyView, Verdict, accuracy_views, count_faults
from seefar.maps.formulas import grid_of
from seefar.model.inference import weights_fingerprint
from seefar.model.resnet import ResNet18

EVALUATE = Path(__file__).parents[1] / "results" / "evaluate.json"
EXAMPLES = 3
MAPPED_RIGHT = 1000
BLOCK = 100  # images


def shares(verdicts: list[Verdict]) -> dict[str, Any]:
    """How many mistakes have each fault, as a share with its 95 % Wilson interval, and the clearest examples."""
    counts, found = count_faults(verdicts), {}
    for fault, meaning in HUMAN.meaning.items():
        examples = sorted(
            (one for one in verdicts if one.fault == fault),
            key=lambda one: (one.nets_wrong or 0, -(one.people_true or 0)),
        )
        clearest = examples if fault == "model" else examples[::-1]
        found[fault] = {
            "meaning": meaning,
            "mistakes": counts[fault],
            "share": counts[fault] / len(verdicts),
            "interval": wilson_interval(counts[fault], len(verdicts)),
            "examples": [{"index": one.index, "sentence": one.sentence} for one in clearest[:EXAMPLES]],
        }
    return found


def border(model: ResNet18, test: Split, predicted: np.ndarray) -> dict[str, Any]:
    """The slice whose evidence for the predicted class lies farthest from the middle."""
    right = np.flatnonzero(predicted == test.labels)
    chosen = np.random.default_rng(0).choice(right, MAPPED_RIGHT, replace=False)
    rows = np.sort(np.concatenate([np.flatnonzero(predicted != test.labels), chosen]))
    found, size = [], test.images.shape[1]
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        maps = seefar.class_maps(model, test.images[block]).of(predicted[block])
        found.append(evidence_off_centre(maps, grid_of(model, (maps.shape[1], maps.shape[2]), size), size))
    images, labels, off_centre = test.images[rows], test.labels[rows], np.concatenate(found)
    return asdict(border_slice(images, labels, predicted[rows], off_centre))


def two_views() -> AccuracyView:
    """The accuracy of two views, as benchmarks/evaluate.py measured it."""
    measured = json.loads(EVALUATE.read_text(encoding="utf-8"))
    n, accuracy, interval = measured["images"], measured["two_views"]["accuracy"], measured["two_views"]["interval"]
    meaning = "two views: image and mirror image averaged, all test images, as labelled"
    return AccuracyView("two views", meaning, n, round(n * accuracy), accuracy, tuple(interval))


def best_seconds(call: Callable[[], object], rounds: int = 5) -> float:
    """The shortest of some calls, in seconds."""
    return min(seconds(call) for _ in range(rounds))


def main() -> None:
    """Measure and print one JSON object."""
    run = seefar.load_run(arguments(__doc__, run="runs/fast").run)
    test, reference = load_data("cifar10").test, seefar.load_reference(fetch=False)
    labels, classes = test.labels, test.classes
    predictions = Predictions.load(run.folder.predictions)
    if not predictions.are_for(test) or predictions.model != weights_fingerprint(run.model):
        raise SystemExit("the predictions in the run folder are of other weights or images: seefar evaluate")
    predicted = predictions.predicted
    verdicts = seefar.triage(labels, predicted, reference)
    issues = seefar.find_label_issues(labels, np.exp(predictions.log_probabilities))
    accuracies = (reference.predictions == labels).mean(1)
    judged = {
        name: {"accuracy": float(accuracy), **count_faults(seefar.triage(labels, answers, reference))}
        for name, answers, accuracy in zip(reference.nets, reference.predictions, accuracies, strict=True)
        if accuracy > GOOD_ACCURACY
    }
    pairs = confused_pairs(labels, predicted, len(classes))[:5]
    result = {
        "run": {"recipe": run.recipe.name, "seed": run.recipe.seed},
        **count_faults(verdicts),
        "faults": shares(verdicts),
        "published": judged,
        "accuracy": [asdict(view) for view in (*accuracy_views(labels, predicted, reference), two_views())],
        "confused_pairs": [
            {**asdict(pair), "first": classes[pair.first], "second": classes[pair.second]} for pair in pairs
        ],
        "slices": [asdict(one) for one in measure_slices(tenths(test.images), predicted != labels)],
        "border": {"mapped_right_answers": MAPPED_RIGHT, **border(run.model, test, predicted)},
        "seconds": {
            "triage": best_seconds(lambda: seefar.triage(labels, predicted, reference)),
            "label_issues": best_seconds(
                lambda: seefar.find_label_issues(labels, np.exp(predictions.log_probabilities))
            ),
        },
        "label_issues": {
            "listed": len(issues),
            "mistakes_among_them": sum(bool(predicted[one.index] != labels[one.index]) for one in issues),
        },
    }
    print_result(result)


if __name__ == "__main__":
    main()
