"""Time of neighbours, near-duplicates, calibration and triage, beside scikit-learn's exact neighbours.

    python benchmarks/neighbours.py --run runs/fast > results/neighbours.json

The features of the training images are computed first; that is not timed. scikit-learn's is the plain alternative:
brute force, cosine, the 10 neighbours of every test image. Both use the same number of threads. `--test` and `--train`
take the first images only.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

import seefar
from seefar.data import load_data
from seefar.evaluation.calibration import measure_calibration
from seefar.explanation.leaks import find_duplicates, nearest
from seefar.explanation.neighbours import find_neighbours
from seefar.runs.provenance import provenance


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result and the seconds."""
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="runs/fast")
    parser.add_argument("--test", type=int)
    parser.add_argument("--train", type=int)
    chosen = parser.parse_args()
    from sklearn.neighbors import NearestNeighbors

    run = seefar.load_run(chosen.run)
    data = load_data(run.recipe.data, None, run.recipe.image_size)
    test, train = data.test.take(np.arange(len(data.test))[: chosen.test]), data.train
    train = train.take(np.arange(len(train))[: chosen.train])
    data = seefar.Data(data.name, train, test)
    known = seefar.predict(run.model, train)
    asked = seefar.predict(run.model, test)
    seconds: dict[str, float] = {}
    found, seconds["neighbours and near-duplicates"] = timed(lambda: find_neighbours(asked, known, data))
    (ours, _), seconds["10 nearest"] = timed(lambda: nearest(asked.features, known.features, 10))
    _, seconds["near-duplicates"] = timed(lambda: find_duplicates(test.images, train.images))
    plain = NearestNeighbors(n_neighbors=10, algorithm="brute", metric="cosine").fit(known.features)
    theirs, seconds["10 nearest by scikit-learn"] = timed(
        lambda: plain.kneighbors(asked.features, return_distance=False)
    )
    calibration, seconds["calibration"] = timed(lambda: measure_calibration(asked.logits, asked.labels))
    if data.name == "cifar10" and chosen.test is None:
        reference = seefar.load_reference()
        _, seconds["triage"] = timed(lambda: seefar.triage(asked.labels, asked.predicted, reference))
    result = {
        "command": f"python benchmarks/neighbours.py --run {chosen.run}",
        **provenance(),
        "images": {"test": len(test), "training": len(train), "mistakes": len(found.index)},
        "seconds": seconds,
        "ratio_to_scikit_learn": seconds["10 nearest by scikit-learn"] / seconds["10 nearest"],
        "same_neighbours": float((np.sort(ours, axis=1) == np.sort(theirs, axis=1)).mean()),
        "near_duplicates": len(found.duplicates),
        "near_duplicates_among_mistakes": len({one.index for one in found.duplicates} & set(found.index.tolist())),
        "calibration": {"ece": asdict(calibration.ece), "brier": asdict(calibration.brier)},
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
