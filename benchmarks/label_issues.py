"""Precision and recall of label issues: against CIFAR-10's checked label errors, and against planted label noise.

    python benchmarks/label_issues.py [--run runs/fast] [--demo runs/demo] > results/label_issues.json

CIFAR-10: the issues among the labels of the run's test predictions, against the labels that fewer than three of five
checkers confirmed. Only 275 labels were checked, so an issue that is not among them may be a label error still: the
precision is a lower bound.

`shapes`: a share of the labels, of training and test images alike, is changed to another class by chance; `demo` is
trained on the changed labels, and the issues among the test labels are compared with those that were changed
(`noisy_training`). `clean_training` is the same with the finished run of `demo`, which was trained on clean labels.

`by_loss` is the plain alternative, in both: as many labels as there are issues, those of the largest cross-entropy.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import seefar
from lab.measuring import arguments, print_result, share
from seefar.data import Data, Split
from seefar.data.shapes import load_shapes
from seefar.evaluation.predictions import Predictions
from seefar.training.recipe import Recipe

SHARES = (0.05, 0.10, 0.20)


def plant(split: Split, part: float, seed: int) -> tuple[Split, NDArray[np.bool_]]:
    """Change this share of the labels to another class, each of the others alike; and which were changed."""
    random = np.random.default_rng(seed)
    chosen = np.zeros(len(split), dtype=bool)
    chosen[random.permutation(len(split))[: round(part * len(split))]] = True
    others = random.integers(1, len(split.classes), len(split))
    labels = np.where(chosen, (split.labels + others) % len(split.classes), split.labels)
    return replace(split, labels=labels), chosen


def score(predictions: Predictions, labels: NDArray[np.int64], wrong: NDArray[np.bool_]) -> dict[str, Any]:
    """Precision and recall of the whole list, and of as many as there are wrong labels, beside the largest losses."""
    found = seefar.find_label_issues(labels, np.exp(predictions.log_probabilities))
    losses = -predictions.log_probabilities[np.arange(len(labels)), labels]
    by_loss = np.argsort(-losses, kind="stable")
    issues = np.array([issue.index for issue in found])
    return {
        "n": len(labels),
        "wrong_labels": int(wrong.sum()),
        "by_chance": float(wrong.mean()),
        "issues": hits(wrong[issues], int(wrong.sum())),
        "by_loss": hits(wrong[by_loss[: len(issues)]], int(wrong.sum())),
    }


def hits(wrong: NDArray[np.bool_], count: int) -> dict[str, Any]:
    """How many labels of a ranked list are wrong, out of `count` wrong ones."""
    found, top = int(wrong.sum()), int(wrong[:count].sum())
    return {
        "listed": len(wrong),
        "found": found,
        "precision": share(found, len(wrong)),
        "recall": share(found, count),
        "found_at_the_top": {"listed": min(count, len(wrong)), "found": top},
    }


def planted_noise(demo: Recipe, clean: Predictions) -> dict[str, Any]:
    """Scores for each share of changed labels, of nets trained on changed and on clean labels."""
    shapes = load_shapes()
    if clean.labels.tolist() != shapes.test.labels.tolist():
        raise SystemExit("the run of --demo is not of `shapes`")
    scores: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, part in enumerate(SHARES):
            train, _ = plant(shapes.train, part, seed=2 * number)
            test, wrong = plant(shapes.test, part, seed=2 * number + 1)
            run = seefar.train(demo, Data("shapes", train, test), Path(folder) / str(number))
            scores[f"{part:.0%}"] = {
                name: {
                    "accuracy_on_clean_labels": float((predictions.predicted == shapes.test.labels).mean()),
                    **score(predictions, test.labels, wrong),
                }
                for name, predictions in (
                    ("noisy_training", seefar.predict(run.model, test)),
                    ("clean_training", clean),
                )
            }
    return scores


def main() -> None:
    """Measure and print one JSON object."""
    chosen = arguments(__doc__, run="runs/fast", demo="runs/demo")
    predictions, clean = (Predictions.load(Path(run) / "predictions.npz") for run in (chosen.run, chosen.demo))
    reference = seefar.load_reference(fetch=False)
    reference.check_labels(predictions.labels)
    result = {
        "cifar10": score(predictions, predictions.labels, reference.label_errors),
        "shapes": planted_noise(seefar.recipe("demo"), clean),
    }
    print_result(result)


if __name__ == "__main__":
    main()
