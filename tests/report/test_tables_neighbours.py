from __future__ import annotations

import numpy as np

from seefar.explanation.duplicates import Duplicate
from seefar.explanation.neighbours import Neighbours
from seefar.report.tables import neighbours_table


def test_the_columns_hold_indices_distances_and_duplicates_of_mistakes() -> None:
    near = np.array([[7, 5, -1], [-1, -1, -1]])
    far = np.array([[0.25, 0.5, np.nan], [np.nan] * 3])
    duplicates = (Duplicate(2, 40, 0.8, False), Duplicate(3, 41, 1.0, True))
    found = Neighbours(np.array([3, 9]), near, near, far, far, duplicates,
                       "weights", "training", "images")  # fmt: skip
    assert neighbours_table(found) == {
        "neighbours_predicted": {3: "7 5", 9: ""},
        "distance_predicted": {3: "0.2500"},
        "neighbours_true": {3: "7 5", 9: ""},
        "distance_true": {3: "0.2500"},
        "duplicate_of": {3: 41},
    }
