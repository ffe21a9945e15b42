"""Time of the evidence about mistakes, once features are there; and of neighbours beside scikit-learn's.

    python benchmarks/neighbours.py [--run runs/fast] [--features features.npz] > results/neighbours.json

`evidence`: seconds for what the verdicts, the page and `results/verdicts.json` use. `ten_nearest`: the 10 nearest
training images of every test image, beside the plain alternative, scikit-learn's brute-force search by cosine.
Each is the best of `--rounds`. The features of the training images take minutes and are not timed; `--features` is
the file that they are read from, or written to. `--test` and `--train` take the first images only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors

import seefar
from lab.evidence import doubt, neighbour_shares, training_predictions
from lab.measuring import arguments, peak_memory, print_result, take_turns, timed
from seefar.evaluation.metrics import measure_calibration
from seefar.evaluation.verdict import judge
from seefar.explanation.leaks import find_leaks, nearest
from seefar.explanation.neighbours import find_neighbours
from seefar.training.run import load_for


def main() -> None:
    """Measure and print one JSON object."""
    chosen = arguments(__doc__, run="runs/fast", features=str, test=int, train=int, rounds=3)
    run = seefar.load_run(chosen.run)
    data = load_for(run.recipe)
    train = data.train.take(np.arange(len(data.train))[: chosen.train])
    data = replace(data, train=train, test=data.test.take(np.arange(len(data.test))[: chosen.test]))
    known = training_predictions(run, train, chosen.features)
    asked = seefar.predict(run.model, data.test)
    labels, predicted = asked.labels, asked.predicted
    index = np.flatnonzero(predicted != labels)
    classes = np.stack([predicted[index], labels[index]], axis=1)
    layer = run.model.fc.weight.detach().numpy()
    by_weight = np.abs(layer[classes[:, 0]] - layer[classes[:, 1]])
    of_mistakes = asked.features[index], classes, known.features, known.labels
    neighbours = find_neighbours(asked, known, data)
    evidence: dict[str, Callable[[], Any]] = {
        "near-duplicates, and neighbours of the mistakes": lambda: find_neighbours(asked, known, data),
        "leaks and accuracy without them": lambda: find_leaks(
            data.test, train, predicted, duplicates=neighbours.duplicates
        ),
        "classes of the nearest training images": lambda: neighbour_shares(*of_mistakes),
        "classes of the nearest by what decided": lambda: neighbour_shares(*of_mistakes, weights=by_weight),
        "confident learning": lambda: seefar.find_label_issues(labels, np.exp(asked.log_probabilities)),
        "temperature scaling and calibration": lambda: measure_calibration(asked.logits, labels),
        "margin and entropy": lambda: doubt(asked.logits, index, labels, 1.0),
        "verdicts": lambda: judge(asked),
    }
    search = NearestNeighbors(n_neighbors=10, algorithm="brute", metric="cosine").fit(known.features)
    contenders: dict[str, Callable[[], Any]] = {
        "seefar": lambda: nearest(asked.features, known.features, 10)[0],
        "scikit-learn": lambda: search.kneighbors(asked.features, return_distance=False),
    }
    turns = take_turns({name: partial(timed, work) for name, work in {**evidence, **contenders}.items()}, chosen.rounds)
    seconds = {name: min(taken for _, taken in rounds) for name, rounds in turns.items()}
    ours, theirs = (np.sort(turns[name][0][0], axis=1) for name in contenders)
    result = {
        "images": {"test": len(data.test), "training": len(train), "mistakes": len(index)},
        "evidence": {
            "seconds": {name: seconds[name] for name in evidence},
            "total": sum(seconds[name] for name in evidence),
        },
        "ten_nearest": {
            "seconds": {name: seconds[name] for name in contenders},
            "ratio_to_scikit_learn": seconds["scikit-learn"] / seconds["seefar"],
            "same_neighbours": float((ours == theirs).mean()),
        },
        "near_duplicates": len(neighbours.duplicates),
        "near_duplicates_among_mistakes": len({copy.index for copy in neighbours.duplicates} & set(index.tolist())),
        "peak_memory_mib": peak_memory(),
    }
    print_result(result)


if __name__ == "__main__":
    main()
