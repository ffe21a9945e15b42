"""Ten label sets with probabilities, and what cleanlab finds in them.

pip install cleanlab==2.9.0
python tests/evaluation/cleanlab_cases.py > tests/evaluation/cleanlab_cases.json
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

Case = tuple[np.ndarray, np.ndarray]


def draw(
    seed: int, count: int, classes: int, sharpness: float, noise: float, *, sizes: Any = None, shift: float = 0.0
) -> Case:
    """Labels of which a share is wrong, and the softmax of scores that know the true class up to noise."""
    random = np.random.default_rng(seed)
    shares = np.full(classes, 1 / classes) if sizes is None else np.asarray(sizes)
    true = np.searchsorted(np.cumsum(shares)[:-1], random.random(count), side="right")
    labels = np.where(random.random(count) < noise, (random.random(count) * classes).astype(int), true)
    scores = sharpness * (np.eye(classes)[true] + 1.5 * random.random((count, classes)))
    scores[:, -1] -= shift
    odds = np.exp(scores - scores.max(1, keepdims=True))
    return labels, odds / odds.sum(1, keepdims=True)


def rounded(case: Case, digits: int) -> Case:
    """Probabilities of few digits, in which many are equal; their sums stay 1."""
    labels, shares = case
    shares = shares.round(digits)
    shares[np.arange(len(labels)), shares.argmax(1)] += 1 - shares.sum(1)
    return labels, shares


CASES: dict[str, Callable[[], Case]] = {
    "two classes": lambda: draw(1, 400, 2, 3, 0.1),
    "ten classes": lambda: draw(2, 1000, 10, 6, 0.1),
    "a hundred classes": lambda: draw(3, 2000, 100, 10, 0.2),
    "a model near chance": lambda: draw(4, 500, 5, 0.3, 0.3),
    "an overconfident model": lambda: draw(5, 500, 5, 40, 0.2),
    "clean labels": lambda: draw(6, 500, 4, 8, 0.0),
    "rare classes": lambda: draw(7, 600, 4, 4, 0.1, sizes=(0.7, 0.25, 0.04, 0.01)),
    "a class never predicted": lambda: draw(8, 600, 3, 4, 0.1, shift=30),
    "equal probabilities": lambda: rounded(draw(9, 600, 3, 2, 0.2), 1),
    "half of the labels wrong": lambda: draw(10, 800, 6, 5, 0.5),
}


def main() -> None:
    """Write the counts and indices that cleanlab finds."""
    import cleanlab
    from cleanlab.filter import find_label_issues

    found = {}
    for name, make in CASES.items():
        mask = find_label_issues(*make(), filter_by="confident_learning")
        found[name] = {"count": int(mask.sum()), "indices": np.flatnonzero(mask).tolist()}
    print(json.dumps({"cleanlab": cleanlab.__version__, "cases": found}))


if __name__ == "__main__":
    main()
