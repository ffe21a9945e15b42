"""Verdicts from evidence on `shapes`, where a share of the labels or of the images is known to be bad.

    python benchmarks/planted.py > results/planted.json

`labels`: a share of the labels, of training and test images alike, is changed to another class by chance, and `demo`
is trained on the changed labels with three seeds. Is a mistake whose label was changed judged `label`?

`blends`: a tenth of the test images become the mean of two images of different classes, labelled as the first; the
network is trained on intact images. Are mistakes on them found? No rule gives `ambiguous`, so `given` says what they
are taken for, and `evidence` whether margin and entropy distinguish them from other mistakes (AUC, 0.5 is worthless).

Trainings are kept in runs/planted-*, and read if they are there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import seefar
from lab.evidence import doubt
from lab.measuring import arguments, print_result, share
from label_issues import plant
from seefar.data import Data, Split
from seefar.data.images import Labels
from seefar.data.shapes import load_shapes
from seefar.evaluation.metrics import fit_temperature
from seefar.evaluation.predictions import Predictions
from seefar.evaluation.verdict import judge
from verdicts import auc

SHARES, SEEDS, BLENDED = (0.05, 0.10, 0.20), (0, 1, 2), 0.1
RECIPE = seefar.recipe("demo")


def blend(split: Split, share: float) -> tuple[Split, NDArray[np.bool_]]:
    """Blend this share of the images with one of another class; and which were blended."""
    random, n = np.random.default_rng(0), len(split)
    chosen = np.zeros(n, dtype=bool)
    chosen[random.permutation(n)[: round(share * n)]] = True
    images = split.images.copy()
    for index in np.flatnonzero(chosen):
        other = random.choice(np.flatnonzero(split.labels != split.labels[index]))
        images[index] = (split.images[index].astype(np.uint16) + split.images[other] + 1) // 2
    return replace(split, images=images), chosen


def score(predictions: Predictions, others: Sequence[Labels], bad: NDArray[np.bool_]) -> dict[str, Any]:
    """Verdicts on bad images and labels, and on the other mistakes."""
    verdicts = judge(predictions, others=others)
    index, given = np.array([one.index for one in verdicts]), np.array([one.fault for one in verdicts])
    planted, label = bad[index], given == "label"
    return {
        "runs": 1 + len(others),
        "bad": int(bad.sum()),
        "mistakes": len(index),
        "bad_mistakes": int(planted.sum()),
        "by_chance": float(planted.mean()),
        "precision": share(int((planted & label).sum()), int(label.sum())),
        "recall": share(int((planted & label).sum()), int(bad.sum())),
        "given": {
            name: {fault: int((given[rows] == fault).sum()) for fault in ("label", "hard", "model", "unknown")}
            for name, rows in (("bad", planted), ("other", ~planted))
        },
    }


def worth(predictions: Predictions, bad: NDArray[np.bool_]) -> dict[str, float]:
    """How well margin and entropy distinguish bad images from other mistakes, as AUC."""
    index = np.flatnonzero(predictions.predicted != predictions.labels)
    temperature = fit_temperature(predictions.logits, predictions.labels)
    margin, entropy = doubt(predictions.logits, index, predictions.labels, temperature).T
    return {"margin": auc(margin, bad[index]), "entropy": auc(entropy, bad[index])}


def predictions_of(train: Split, test: Split, name: str) -> list[Predictions]:
    """Of `demo`, trained with each seed, each in a process of its own."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(predictions_with, seed, train, test, name) for seed in SEEDS]
        return [job.result() for job in jobs]


def predictions_with(seed: int, train: Split, test: Split, name: str) -> Predictions:
    """Of `demo`, trained with this seed."""
    torch.set_num_threads(1)
    data, folder = Data("shapes", train, test), f"planted-{name}-{seed}"
    run = seefar.train(replace(RECIPE, seed=seed), data, folder, progress=seefar.SILENT)
    return seefar.predict(run.model, test, progress=seefar.SILENT)


def both(predictions: Sequence[Predictions], bad: NDArray[np.bool_]) -> dict[str, Any]:
    """Scores of the first run alone, and with the others."""
    first, *others = predictions
    return {
        "one_run": score(first, [], bad),
        "three_runs": score(first, [other.predicted for other in others], bad),
    }


def main() -> None:
    """Train, judge and print one JSON object."""
    arguments(__doc__)
    shapes = load_shapes()
    labels = {}
    for number, noise in enumerate(SHARES):
        train, _ = plant(shapes.train, noise, seed=2 * number)
        test, changed = plant(shapes.test, noise, seed=2 * number + 1)
        labels[f"{noise:.0%}"] = both(predictions_of(train, test, f"{noise:.0%}"), changed)
    test, blended = blend(shapes.test, BLENDED)
    predictions = predictions_of(shapes.train, test, "intact")
    result = {
        "recipe": json.loads(RECIPE.to_json()),
        "labels": labels,
        "blends": {**both(predictions, blended), "evidence": worth(predictions[0], blended)},
    }
    print_result(result)


if __name__ == "__main__":
    main()
