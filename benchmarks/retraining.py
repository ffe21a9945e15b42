"""Do the nearest training images of the predicted class teach a mistake? Leave them out, train again, and look.

    python benchmarks/retraining.py > results/retraining.json

`demo`, of half its width, is trained on 2,000 images of `shapes`. Its labels are right and its shapes visible, so every
mistake is the model's own. For each of the first 100 mistakes the 10 nearest training images of the predicted class are
left out, for 20 mistakes at once, since a training each would take 20 times as long. Beside it as many images of the
same classes are left out by chance, and none. Each is trained with three seeds that differ from the first training's:
that alone repairs mistakes, so only the difference to `random` counts.

`p` is McNemar's over mistakes and seeds; the mistakes of one training are not independent, so the counts of each seed
are given too. `true_probability` is a finer measure than repair: the mean probability of the true class.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import seefar
from seefar.data import Data, Split
from seefar.data.shapes import load_shapes
from seefar.evaluation.metrics import mcnemar
from seefar.evaluation.predictions import Predictions
from seefar.explanation.neighbours import nearest
from seefar.explanation.occlusion import Rate
from seefar.runs.provenance import provenance

TRAIN, TEST = 2000, 1000
MISTAKES, LEFT_OUT, GROUP, SEEDS = 100, 10, 20, (1, 2, 3)
RECIPE = seefar.recipe("demo", width=8)

Indices = NDArray[np.int64]


def trained(train: Split, test: Split, seed: int) -> tuple[seefar.Run, Predictions]:
    """The recipe, trained on these images with this seed, and its predictions for the test images."""
    with tempfile.TemporaryDirectory() as folder:
        data = Data("shapes", train, test)
        run = seefar.train(replace(RECIPE, seed=seed), data, Path(folder) / "run", progress=seefar.SILENT)
        return run, seefar.predict(run.model, test, progress=seefar.SILENT)


def neighbours_of(features: NDArray[np.float32], classes: Indices, train: Predictions) -> Indices:
    """The nearest training images of its class for each row, (M, LEFT_OUT)."""
    found = np.empty((len(features), LEFT_OUT), np.int64)
    for k in np.unique(classes):
        rows, members = np.flatnonzero(classes == k), np.flatnonzero(train.labels == k)
        found[rows] = members[nearest(features[rows], train.features[members], LEFT_OUT)[0]]
    return found


def of_the_same_classes(chosen: Indices, labels: Indices, random: np.random.Generator) -> Indices:
    """As many images of each class, by chance."""
    counts = np.bincount(labels[chosen])
    return np.concatenate([random.choice(np.flatnonzero(labels == k), n, False) for k, n in enumerate(counts)])


def without(split: Split, left_out: Indices) -> Split:
    """The other images."""
    return split.take(np.setdiff1d(np.arange(len(split)), left_out))


def measure(first: Predictions, near: Indices, index: Indices, data: Data) -> dict[str, NDArray[np.float64]]:
    """Probability of each class for each mistake, after each way of leaving out: name -> (seeds, M, K)."""
    groups = np.array_split(np.arange(len(index)), max(1, len(index) // GROUP))
    found = {name: np.empty((len(SEEDS), len(index), len(first.classes))) for name in ("nearest", "random", "nothing")}
    for number, seed in enumerate(SEEDS):
        test = data.test.take(index)
        found["nothing"][number] = np.exp(trained(data.train, test, seed)[1].log_probabilities)
        for group, rows in enumerate(groups):
            chosen = np.unique(near[rows])
            by_chance = of_the_same_classes(chosen, data.train.labels, np.random.default_rng((seed, group)))
            for name, left_out in (("nearest", chosen), ("random", by_chance)):
                predictions = trained(without(data.train, left_out), data.test.take(index[rows]), seed)[1]
                found[name][number, rows] = np.exp(predictions.log_probabilities)
            print(f"seed {seed}, group {group + 1} of {len(groups)}", flush=True, file=sys.stderr)
    return found


def summary(probabilities: NDArray[np.float64], true: Indices) -> dict[str, Any]:
    """How many are repaired, over all seeds and for each, and the mean probability of the true class."""
    right = probabilities.argmax(2) == true  # (seeds, M)
    return {
        "repaired": asdict(Rate.of(right.reshape(-1))),
        "repaired_by_seed": right.sum(1).tolist(),
        "true_probability": float(probabilities[:, np.arange(len(true)), true].mean()),
    }


def main() -> None:
    """Train, leave out, train again, and print one JSON object."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    data = load_shapes(TRAIN, TEST)
    run, first = trained(data.train, data.test, 0)
    index = np.flatnonzero(first.predicted != first.labels)[:MISTAKES]
    near = neighbours_of(first.features[index], first.predicted[index], seefar.predict(run.model, data.train))
    found, true = measure(first, near, index, data), first.labels[index]
    right = {name: (one.argmax(2) == true).reshape(-1) for name, one in found.items()}
    towards = found["nearest"] - found["random"]
    gain = towards[:, np.arange(len(index)), true].mean(0)  # (M,), mean over the seeds
    result = {
        "command": "python benchmarks/retraining.py",
        **provenance(),
        "recipe": json.loads(RECIPE.to_json()),
        "accuracy": float((first.predicted == first.labels).mean()),
        "mistakes": len(index),
        "seeds": len(SEEDS),
        "left_out": {"of_each_mistake": LEFT_OUT, "mistakes_at_once": GROUP},
        "trainings": 1 + len(SEEDS) * (1 + 2 * max(1, len(index) // GROUP)),
        **{name: summary(one, true) for name, one in found.items()},
        "nearest_minus_random": {
            "only_nearest_repairs": int((right["nearest"] & ~right["random"]).sum()),
            "only_random_repairs": int((~right["nearest"] & right["random"]).sum()),
            "p": mcnemar(right["nearest"], right["random"]),
            "true_probability": bootstrap_mean(gain),
        },
    }
    print(json.dumps(result, indent=2))


def bootstrap_mean(values: NDArray[np.float64] | Sequence[float], resamples: int = 2000) -> dict[str, Any]:
    """A mean over mistakes with its 95 % bootstrap interval."""
    values, random = np.asarray(values), np.random.default_rng(0)
    means = values[random.integers(0, len(values), (resamples, len(values)))].mean(1)
    return {"mean": float(values.mean()), "interval": np.quantile(means, (0.025, 0.975)).tolist()}


if __name__ == "__main__":
    main()
