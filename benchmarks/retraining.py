"""Do the nearest training images of the predicted class teach a mistake? Leave them out, train again, and look.

    python benchmarks/retraining.py > results/retraining.json

`demo`, of half its width, is trained on 2,000 images of `shapes`. Its labels are right and its shapes visible, so every
mistake is the model's own. For each of the first 100 mistakes the 10 nearest training images of the predicted class are
left out, for 20 mistakes at once, since a training each would take 20 times as long. Beside it as many images of the
same classes are left out by chance, and none. Each is trained with three seeds that differ from the first training's:
that alone repairs mistakes, so only the difference to `random` counts.

`p` is McNemar's over mistakes and seeds; the mistakes of one training are not independent, so the counts of each seed
are given too. `true_probability` is a finer measure than repair: the mean probability of the true class. Trainings are
kept in runs/retraining-*, and read if they are there.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import seefar
from lab.measuring import arguments, print_result
from seefar.data import Data
from seefar.data.shapes import load_shapes
from seefar.evaluation.metrics import Rate, mcnemar
from seefar.evaluation.predictions import Predictions
from seefar.explanation.leaks import nearest
from seefar.training.run import Run

TRAIN, TEST = 2000, 1000
MISTAKES, LEFT_OUT, GROUP, SEEDS = 100, 10, 20, (1, 2, 3)
RECIPE = seefar.recipe("demo", width=8, batch_size=64)
RESAMPLES = 2000

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]
NONE = np.array([], dtype=np.int64)


def trained(seed: int, left_out: Indices, name: str) -> tuple[Run, Predictions]:
    """The recipe, trained without some images, in runs/retraining-*, and its predictions for the test images."""
    data = load_shapes(TRAIN, TEST)
    train = data.train.take(np.setdiff1d(np.arange(TRAIN), left_out))
    folder = f"retraining-{seed}-{name}"
    run = seefar.train(replace(RECIPE, seed=seed), Data("shapes", train, data.test), folder, progress=seefar.SILENT)
    return run, seefar.predict(run.model, data.test, progress=seefar.SILENT)


def probabilities_of(seed: int, left_out: Indices, name: str) -> Floats:
    """Probability of each class for each test image, (N, K); in a process of its own."""
    torch.set_num_threads(1)
    print(name, seed, file=sys.stderr, flush=True)
    return np.exp(trained(seed, left_out, name)[1].log_probabilities)


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


def measure(near: Indices, index: Indices, labels: Indices) -> dict[str, Floats]:
    """Probability of each class for each mistake, after each way of leaving out: name -> (seeds, M, K)."""
    groups = np.array_split(np.arange(len(index)), max(1, len(index) // GROUP))
    jobs = {}
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for group, rows in enumerate(groups):
            chosen = np.unique(near[rows])
            for seed in SEEDS:
                by_chance = of_the_same_classes(chosen, labels, np.random.default_rng((seed, group)))
                for name, left_out in (("nearest", chosen), ("random", by_chance)):
                    jobs[name, seed, group] = pool.submit(probabilities_of, seed, left_out, f"{name}-{group}")
        for seed in SEEDS:
            jobs |= dict.fromkeys(
                [("nothing", seed, group) for group in range(len(groups))],
                pool.submit(probabilities_of, seed, NONE, "nothing"),
            )
        found = {key: job.result()[index[groups[key[2]]]] for key, job in jobs.items()}
    return {
        name: np.stack([np.concatenate([found[name, seed, group] for group in range(len(groups))]) for seed in SEEDS])
        for name in ("nearest", "random", "nothing")
    }


def summary(probabilities: Floats, true: Indices) -> dict[str, Any]:
    """How many are repaired, over all seeds and for each, and the mean probability of the true class."""
    right = probabilities.argmax(2) == true  # (seeds, M)
    return {
        "repaired": asdict(Rate.of(right.reshape(-1))),
        "repaired_by_seed": right.sum(1).tolist(),
        "true_probability": float(probabilities[:, np.arange(len(true)), true].mean()),
    }


def bootstrap_mean(values: Floats) -> dict[str, Any]:
    """A mean over mistakes with its 95 % bootstrap interval."""
    random = np.random.default_rng(0)
    means = values[random.integers(0, len(values), (RESAMPLES, len(values)))].mean(1)
    return {"mean": float(values.mean()), "interval": np.quantile(means, (0.025, 0.975)).tolist()}


def main() -> None:
    """Train, leave out, train again, and print one JSON object."""
    arguments(__doc__)
    run, first = trained(0, NONE, "nothing")
    index = np.flatnonzero(first.predicted != first.labels)[:MISTAKES]
    train = load_shapes(TRAIN, TEST).train
    known = seefar.predict(run.model, train, progress=seefar.SILENT)
    near = neighbours_of(first.features[index], first.predicted[index], known)
    found, true = measure(near, index, train.labels), first.labels[index]
    right = {name: (one.argmax(2) == true).reshape(-1) for name, one in found.items()}
    gain = (found["nearest"] - found["random"])[:, np.arange(len(index)), true].mean(0)  # (M,), mean over the seeds
    result = {
        "recipe": json.loads(RECIPE.to_json()),
        "accuracy": float((first.predicted == first.labels).mean()),
        "mistakes": len(index),
        "seeds": len(SEEDS),
        "left_out": {"of_each_mistake": LEFT_OUT, "mistakes_at_once": GROUP},
        **{name: summary(one, true) for name, one in found.items()},
        "nearest_minus_random": {
            "only_nearest_repairs": int((right["nearest"] & ~right["random"]).sum()),
            "only_random_repairs": int((~right["nearest"] & right["random"]).sum()),
            "p": mcnemar(right["nearest"], right["random"]),
            "true_probability": bootstrap_mean(gain),
        },
    }
    print_result(result)


if __name__ == "__main__":
    main()
