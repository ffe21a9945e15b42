from __future__ import annotations

import numpy as np
import pytest

from seefar.evaluation.metrics import mcnemar, measure, wilson_interval


def test_wilson_of_a_known_figure_and_of_none_and_all() -> None:
    """Newcombe 1998, Statistics in Medicine 17:857, table I: 81 of 263 gives 0.2553 to 0.3662."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert (wilson_interval(0, 5)[0], wilson_interval(5, 5)[1]) == (pytest.approx(0), pytest.approx(1))


def test_metrics_by_hand() -> None:
    labels, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 0, 1])
    metrics = measure(labels, predicted, np.arange(6.0), "abcd")
    assert metrics.confusion == ((2, 1, 0, 0), (1, 1, 0, 0), (0, 1, 0, 0), (0, 0, 0, 0))
    assert (metrics.n, metrics.mistakes, metrics.accuracy, metrics.interval) == (6, 3, 0.5, wilson_interval(3, 6))
    assert [(c.n, c.recall, c.precision) for c in metrics.classes] == [
        (3, pytest.approx(2 / 3), pytest.approx(2 / 3)),
        (2, pytest.approx(1 / 2), pytest.approx(1 / 3)),
        (1, 0.0, None),  # never named
        (0, None, None),  # not in the test set
    ]
    assert metrics.loss == 2.5


def test_mcnemar_counts_only_where_one_of_the_two_succeeds() -> None:
    """Six to none: two tails of (1/2)^6. Three to one: 2 * (4 + 1) / 16. One to one and none: 1."""
    yes, no = np.array([True] * 6), np.array([False] * 6)
    assert mcnemar(yes, no) == pytest.approx(2 / 64)
    assert mcnemar(no, yes) == pytest.approx(2 / 64)
    both = np.array([True] * 10)
    assert mcnemar(np.r_[both, True, True, True, False], np.r_[both, False, False, False, True]) == pytest.approx(0.625)
    assert mcnemar(yes, yes) == mcnemar(no, no) == mcnemar(np.array([True, False]), np.array([False, True])) == 1


@pytest.mark.parametrize(
    ("labels", "predicted", "words"),
    [
        ([0] * 90 + [1] * 10, [0] * 100, ["order"]),  # always the largest class
        ([0] * 60 + [1] * 40, [0] * 60 + [1] * 40, []),
        ([0] * 50 + [1] * 47 + [2] * 3, [0] * 50 + [1] * 50, ["never predicted: fox (3 images)"]),
    ],
)
def test_models_at_chance_or_with_an_unused_class_get_a_caution(
    labels: list[int], predicted: list[int], words: list[str]
) -> None:
    classes = ("cat", "dog", "fox")[: max(labels) + 1]
    metrics = measure(np.array(labels), np.array(predicted), np.zeros(len(labels)), classes)
    assert len(metrics.cautions) == len(words)
    for sentence, word in zip(metrics.cautions, words, strict=True):
        assert word in sentence
    assert metrics.at_chance == ("order" in words)
