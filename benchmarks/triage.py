"""Whose fault the mistakes of a run on CIFAR-10 are, its accuracy seen several ways, and patterns of its mistakes.

    python benchmarks/triage.py [--run runs/fast] > results/triage.json

The published nets are judged in the same way, each without itself among the others. `seconds` is the best of five
calls on arrays that are in memory.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np

import seefar
from seefar.data import Split, load_data
from seefar.evaluation.metrics import wilson_interval
from seefar.evaluation.patterns import mistakes_by_class
from seefar.evaluation.slices import evidence_off_centre
from seefar.evaluation.triage import FAULTS, GOOD_ACCURACY, MEANING, Verdict, count_faults
from seefar.maps.grid import grid_of
from seefar.model.resnet import ResNet18
from seefar.runs.manifest import provenance

EXAMPLES = 3
BLOCK = 500  # images


def shares(verdicts: list[Verdict]) -> dict[str, Any]:
    """How many mistakes have each fault, as a share with its 95 % Wilson interval, and the clearest examples."""
    counts, found = count_faults(verdicts), {}
    for fault in FAULTS:
        examples = sorted(
            (one for one in verdicts if one.fault == fault), key=lambda one: (one.nets_wrong, -one.people_true)
        )
        clearest = examples if fault == "model" else examples[::-1]
        found[fault] = {
            "meaning": MEANING[fault],
            "mistakes": counts[fault],
            "share": counts[fault] / len(verdicts),
            "interval": wilson_interval(counts[fault], len(verdicts)),
            "examples": [{"index": one.index, "sentence": one.sentence} for one in clearest[:EXAMPLES]],
        }
    return found


def off_centre(model: ResNet18, test: Split, predicted: np.ndarray) -> np.ndarray:
    """Pixels from the middle of each image to that of the evidence for the predicted class, (N,)."""
    found = []
    for start in range(0, len(test), BLOCK):
        rows = slice(start, start + BLOCK)
        maps = seefar.class_maps(model, test.images[rows]).of(predicted[rows])
        grid = grid_of(model, (maps.shape[1], maps.shape[2]), test.images.shape[1])
        found.append(evidence_off_centre(maps, grid, test.images.shape[1]))
    return np.concatenate(found)


def best_seconds(call: Callable[[], object], rounds: int = 5) -> float:
    """The shortest of some calls, in seconds."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="runs/fast")
    run = seefar.load_run(parser.parse_args().run)
    test, reference = load_data("cifar10").test, seefar.load_reference(fetch=False)
    labels, classes = test.labels, test.classes
    predictions = seefar.predict(run.model, test)
    mirrored = seefar.predict(run.model, replace(test, images=np.ascontiguousarray(test.images[:, :, ::-1])))
    two_views = np.logaddexp(predictions.log_probabilities, mirrored.log_probabilities).argmax(1)
    predicted = predictions.predicted
    verdicts = seefar.triage(labels, predicted, reference)
    issues = seefar.find_label_issues(labels, np.exp(predictions.log_probabilities))
    accuracies = (reference.answers == labels).mean(1)
    judged = {
        name: {"accuracy": float(accuracy), **count_faults(seefar.triage(labels, answers, reference))}
        for name, answers, accuracy in zip(reference.nets, reference.answers, accuracies, strict=True)
        if accuracy > GOOD_ACCURACY
    }
    pairs = seefar.confused_pairs(labels, predicted, len(classes))[:5]
    by_class = mistakes_by_class(labels, predicted, len(classes))
    result = {
        "command": "python benchmarks/triage.py",
        **provenance(),
        "run": {"recipe": run.recipe.name, "seed": run.recipe.seed},
        **count_faults(verdicts),
        "faults": shares(verdicts),
        "published": judged,
        "accuracy": [asdict(view) for view in seefar.accuracy_views(labels, predicted, reference, two_views=two_views)],
        "confused_pairs": [
            {**asdict(pair), "first": classes[pair.first], "second": classes[pair.second]} for pair in pairs
        ],
        "by_class": [{**asdict(one), "index": classes[one.index]} for one in by_class],
        "slices": [
            asdict(one)
            for one in seefar.error_slices(
                test.images, labels, predicted, off_centre=off_centre(run.model, test, predicted)
            )
        ],
        "seconds": {
            "triage": best_seconds(lambda: seefar.triage(labels, predicted, reference)),
            "label_issues": best_seconds(
                lambda: seefar.find_label_issues(labels, np.exp(predictions.log_probabilities))
            ),
        },
        "label_issues": {
            "listed": len(issues.issues),
            "mistakes_among_them": sum(bool(predicted[one.index] != labels[one.index]) for one in issues.issues),
        },
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
