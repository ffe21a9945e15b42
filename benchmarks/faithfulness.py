"""Removal scores of every method, layer and baseline, on mistakes and on as many correct predictions of a trained net.

    python benchmarks/faithfulness.py --run runs/fast [--images N] > results/faithfulness.json

Each image's map is of the class that the network named, and it is that class's probability that is followed: deletion
(lower is better), insertion and ROAD (higher is better), see `lab.removal_scores`. Every contender gets
the same images, so the differences to the default are paired.

Maps are made in float32. The network is asked a million times what it says of an image with pixels removed; that is
done in bfloat16, and the JSON says what this changes: the default's scores in both precisions, on the same images.
It takes an hour on two cores. What is measured is kept in runs/faithfulness-COMMIT-N, where the same command goes on.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

import seefar
from lab.baselines import BASELINES
from lab.gradient_free import GRADIENT_FREE
from lab.measuring import arguments, print_result
from lab.placed import placed_contrast
from lab.removal_scores import bootstrap_interval, deletion, insertion, road
from seefar.data.images import Images, Labels, Split
from seefar.evaluation.evaluate import evaluate
from seefar.maps.formulas import METHODS, MapMethod
from seefar.maps.grid import Grid, rank_pixels, to_pixels
from seefar.maps.sanity import MOST_MAPS
from seefar.model.inference import device_of
from seefar.model.resnet import STAGES, ResNet18
from seefar.runs.files import written_beside
from seefar.runs.provenance import provenance
from seefar.seeds import Stream
from seefar.training.device import keep_freed_memory
from seefar.training.run import load_for

SCORES = {"deletion": deletion, "insertion": insertion, "road": road}
DEFAULT = "gradcam, twin 8x8"
SCORECAM_IMAGES = 50  # of each group: it asks the network 512 times an image
CHECKED_IMAGES = 100  # on which float32 and bfloat16 are compared


def contenders() -> dict[str, MapMethod]:
    """The methods with their layers, by name; `twin` stands in the names of those at the twin's last stage."""
    found: dict[str, MapMethod] = {DEFAULT: seefar.gradcam}
    found["gradcam, twin 16x16"] = partial(seefar.gradcam, cells=16)
    for name, method in {
        "gradcam": seefar.gradcam,
        **BASELINES,
        **METHODS,
        **GRADIENT_FREE,
    }.items():
        if name in BASELINES:
            found[name] = method
            continue
        if name != "hirescam":  # where a mean and a linear layer follow, its map is that of gradcam
            found[f"{name}, twin 8x8"] = method
        if name not in ("scorecam", "integrated_gradients"):  # slow, and of the pixels
            for layer in reversed(STAGES[:-1] if name == "hirescam" else STAGES):
                found[f"{name}, {layer}"] = partial(method, layer=layer, force=True)
    return found


def scores(
    run: str, index: np.ndarray, named: Labels, grids: list[Grid], kept: Path
) -> dict[str, dict[str, np.ndarray]]:
    """Of every contender, each of the three scores, float64 (N,); what is `kept` already is read, not measured."""
    keep_freed_memory()
    model, images = seefar.load_run(run).model, load_test(run).images[index]
    kept.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, method in contenders().items():
        path = kept / f"{name}.npz"
        if not path.exists():
            count = SCORECAM_IMAGES if name.startswith("scorecam") else len(images)
            maps = method(model, images[:count], named[:count])
            placed = {grid.cells: grid for grid in grids} if "twin" in name else {}
            ranks = rank_pixels(to_pixels(maps, images.shape[1], placed.get(maps.shape[1:])))
            with torch.autocast(device_of(model).type, torch.bfloat16), written_beside(path) as beside:
                measured = {
                    score: measure(model, images[:count], named[:count], ranks) for score, measure in SCORES.items()
                }
                np.savez(beside, **measured)
        with np.load(path) as file:
            found[name] = {score: file[score] for score in SCORES}
        means = {score: round(float(values.mean()), 4) for score, values in found[name].items()}
        print(kept.name, name, means, file=sys.stderr)
    return found


def load_test(run: str) -> Split:
    """The test images of a run."""
    return load_for(seefar.load_run(run).recipe).test


def precision_check(model: ResNet18, images: Images, classes: Labels, grid: Grid) -> dict[str, dict[str, float]]:
    """Mean scores of the default in both precisions, and the largest difference of a single image."""
    images, classes = images[:CHECKED_IMAGES], classes[:CHECKED_IMAGES]
    ranks = rank_pixels(to_pixels(seefar.gradcam(model, images, classes), images.shape[1], grid))
    found = {}
    for score, measure in SCORES.items():
        exact = measure(model, images, classes, ranks)
        with torch.autocast(device_of(model).type, torch.bfloat16):
            rounded = measure(model, images, classes, ranks)
        largest = float(np.abs(exact - rounded).max())
        found[score] = {"float32": float(exact.mean()), "bfloat16": float(rounded.mean()), "largest": largest}
    return found


def summary(found: dict[str, dict[str, np.ndarray]]) -> dict[str, Any]:
    """Means with their intervals, and the paired differences to the default (positive: the default is better)."""
    best = found[DEFAULT]
    result: dict[str, Any] = {}
    for name, of_method in found.items():
        n = len(of_method["road"])
        result[name] = {"n": n}
        for score, values in of_method.items():
            sign = 1 if score == "deletion" else -1
            lead = sign * (values - best[score][:n])
            result[name][score] = {
                "mean": float(values.mean()),
                "interval": bootstrap_interval(values),
                "default_leads_by": float(lead.mean()),
                "lead_interval": bootstrap_interval(lead),
            }
    return result


def main() -> None:
    """Measure and print JSON."""
    chosen = arguments(__doc__, run="runs/fast", images=int)
    keep_freed_memory()
    run, test = seefar.load_run(chosen.run), load_test(chosen.run)
    evaluation = evaluate(run.model, test)
    named = evaluation.predictions.predicted
    random = np.random.default_rng(Stream.RIGHT_ANSWERS)
    mistakes, right = (
        random.permutation(np.flatnonzero(part)) for part in (named != test.labels, named == test.labels)
    )
    count = min(chosen.images or len(mistakes), len(mistakes), len(right))
    # Where the twin's cells lie on this network's images, as `seefar.explain` finds it: of 8x8 cells and of 16x16.
    some = mistakes[:MOST_MAPS]
    grids = [placed_contrast(run.model, test.images[some], named[some], test.labels[some], n)[1] for n in (8, 16)]
    about = {
        "run": {"recipe": run.recipe.name, "seed": run.recipe.seed, "accuracy": evaluation.metrics.accuracy},
        "all_mistakes": len(mistakes),
        "images": count,
        "first_cell": grids[0].origin,
        "precision": precision_check(run.model, test.images[mistakes], named[mistakes], grids[0]),
    }
    # The two groups side by side, each on half of the cores: small equations are slower on several.
    kept = Path("runs") / f"faithfulness-{str(provenance()['commit'])[:8]}-{count}"
    os.environ["OMP_NUM_THREADS"] = str(max(1, torch.get_num_threads() // 2))
    groups = {"mistakes": mistakes[:count], "right": right[:count]}
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        found = {
            group: pool.submit(scores, chosen.run, index, named[index], grids, kept / group)
            for group, index in groups.items()
        }
        print_result({**about, **{group: summary(future.result()) for group, future in found.items()}})


if __name__ == "__main__":
    main()
