"""Time of neighbours, near-duplicates, calibration and triage, beside scikit-learn's exact neighbours.

    python benchmarks/neighbours.py --run runs/fast > results/neighbours.json

The features of the training images are computed first; that is not timed. scikit-learn's is the plain alternative:
brute force, cosine, the 10 neighbours of every test image. Both use the same number of threads. `--test` and `--train`
take the first images only.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

import seefar
from lab.measuring import arguments, peak_memory, print_result, timed
from seefar.evaluation.metrics import measure_calibration
from seefar.explanation.leaks import find_duplicates, nearest
from seefar.explanation.neighbours import find_neighbours
from seefar.training.run import load_for


def main() -> None:
    """Measure and print one JSON object."""
    chosen = arguments(__doc__, run="runs/fast", test=int, train=int)
    from sklearn.neighbors import NearestNeighbors

    run = seefar.load_run(chosen.run)
    data = load_for(run.recipe)
    test, train = data.test.take(np.arange(len(data.test))[: chosen.test]), data.train
    train = train.take(np.arange(len(train))[: chosen.train])
    data = seefar.Data(data.name, train, test)
    known = seefar.predict(run.model, train)
    asked = seefar.predict(run.model, test)
    taken: dict[str, float] = {}
    found, taken["neighbours and near-duplicates"] = timed(lambda: find_neighbours(asked, known, data))
    (ours, _), taken["10 nearest"] = timed(lambda: nearest(asked.features, known.features, 10))
    _, taken["near-duplicates"] = timed(lambda: find_duplicates(test.images, train.images))
    plain = NearestNeighbors(n_neighbors=10, algorithm="brute", metric="cosine").fit(known.features)
    theirs, taken["10 nearest by scikit-learn"] = timed(lambda: plain.kneighbors(asked.features, return_distance=False))
    calibration, taken["calibration"] = timed(lambda: measure_calibration(asked.logits, asked.labels))
    if data.name == "cifar10" and chosen.test is None:
        reference = seefar.load_reference()
        _, taken["triage"] = timed(lambda: seefar.triage(asked.labels, asked.predicted, reference))
    result = {
        "images": {"test": len(test), "training": len(train), "mistakes": len(found.index)},
        "seconds": taken,
        "ratio_to_scikit_learn": taken["10 nearest by scikit-learn"] / taken["10 nearest"],
        "same_neighbours": float((np.sort(ours, axis=1) == np.sort(theirs, axis=1)).mean()),
        "near_duplicates": len(found.duplicates),
        "near_duplicates_among_mistakes": len({one.index for one in found.duplicates} & set(found.index.tolist())),
        "calibration": {"ece": asdict(calibration.ece), "brier": asdict(calibration.brier)},
        "peak_memory_mib": peak_memory(),
    }
    print_result(result)


if __name__ == "__main__":
    main()
