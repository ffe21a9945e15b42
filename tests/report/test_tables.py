from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from seefar.data import Split
from seefar.evaluation.metrics import ClassMetrics, Metrics
from seefar.evaluation.mistakes import Mistake
from seefar.explanation.duplicates import Duplicate
from seefar.explanation.neighbours import Neighbours
from seefar.report.tables import files_table, neighbours_table, write_metrics, write_mistakes

CLASSES = ("cat", "dog", "ship")
MISTAKES = [
    Mistake(1, 2, 0, confidence=0.8, true_probability=0.05, loss=2.9957),
    Mistake(3, 1, 0, confidence=0.4, true_probability=0.35, loss=1.0498),
]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_csv_names_index_and_both_classes(tmp_path: Path) -> None:
    write_mistakes(tmp_path / "mistakes.csv", MISTAKES, CLASSES)
    found = rows(tmp_path / "mistakes.csv")
    assert [(row["index"], row["true"], row["predicted"]) for row in found] == [
        ("1", "ship", "cat"),
        ("3", "dog", "cat"),
    ]
    assert list(found[0].values())[3:] == ["0.800000", "0.05", "2.995700"]


def test_tables_are_joined_by_index_and_gaps_are_empty(tmp_path: Path) -> None:
    """Whatever the order of a table is, and however many mistakes it knows."""
    faults = {"fault": {3: "label", 1: None, 99: "model"}}
    more = {"note": {1: 'a "quoted", <b>name</b>'}}
    write_mistakes(tmp_path / "mistakes.csv", MISTAKES, CLASSES, faults, more)
    found = rows(tmp_path / "mistakes.csv")
    assert list(found[0])[6:] == ["fault", "note"]
    assert [(row["fault"], row["note"]) for row in found] == [("", 'a "quoted", <b>name</b>'), ("label", "")]


def test_file_names_stand_beside_their_mistakes(tmp_path: Path) -> None:
    images, names = np.zeros((4, 8, 8, 3), np.uint8), ("a.png", "b/ü.png", "c.png", "d.png")
    with_names = Split(images, [0, 2, 0, 1], CLASSES, files=names)
    write_mistakes(tmp_path / "mistakes.csv", MISTAKES, CLASSES, files_table(with_names))
    assert [row["file"] for row in rows(tmp_path / "mistakes.csv")] == ["b/ü.png", "d.png"]
    assert files_table(Split(images, [0, 2, 0, 1], CLASSES)) == {}


def test_metrics_are_sections_of_plain_values(tmp_path: Path) -> None:
    one = ClassMetrics("cat", 2, recall=0.5, precision=None)
    test = Metrics(0.5, (0.1, 0.9), n=2, mistakes=1, loss=1.25, classes=(one,), confusion=((1, 1), (0, 0)))
    write_metrics(tmp_path / "metrics.json", {"test": test, "calibration": {"ece": 0.03}})
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["test"]["interval"] == [0.1, 0.9]
    assert found["test"]["classes"] == [{"name": "cat", "n": 2, "recall": 0.5, "precision": None}]
    assert found["calibration"] == {"ece": 0.03}
    with pytest.raises(TypeError, match="object cannot be written"):
        write_metrics(tmp_path / "metrics.json", {"test": object()})
    assert found == json.loads((tmp_path / "metrics.json").read_text())  # what was there is not lost


def test_no_name_is_run_as_a_formula_and_numbers_stay_numbers(tmp_path: Path) -> None:
    names = ("=1+1", "cat", "@sum(a1)")
    more = {
        "file": {1: "+a.png", 3: "-1+cmd|'/c calc'!a0"},
        "margin": {1: "-0.0000", 3: -0.5},
        "note": {1: "a=b", 3: "'s"},
    }
    write_mistakes(tmp_path / "mistakes.csv", MISTAKES, names, more)
    found = rows(tmp_path / "mistakes.csv")
    assert {row["true"] for row in found} | {row["predicted"] for row in found} == {
        name if name == "cat" else f"'{name}"
        for name in (names[one] for m in MISTAKES for one in (m.true, m.predicted))
    }
    assert [row["file"] for row in found] == ["'+a.png", "'-1+cmd|'/c calc'!a0"]
    assert [(row["margin"], row["note"]) for row in found] == [("-0.0000", "a=b"), ("-0.5", "'s")]


def test_the_columns_hold_indices_distances_and_duplicates_of_mistakes() -> None:
    near = np.array([[7, 5, -1], [-1, -1, -1]])
    far = np.array([[0.25, 0.5, np.nan], [np.nan] * 3])
    duplicates = (Duplicate(2, 40, 0.8, False), Duplicate(3, 41, 1.0, True))
    found = Neighbours(np.array([3, 9]), near, near, far, far, duplicates, np.zeros(10, int), 0.5, (0.4, 0.6), 0.8,
                       "weights", "training", "images")  # fmt: skip
    assert neighbours_table(found) == {
        "neighbours_predicted": {3: "7 5", 9: ""},
        "distance_predicted": {3: "0.2500"},
        "neighbours_true": {3: "7 5", 9: ""},
        "distance_true": {3: "0.2500"},
        "duplicate_of": {3: 41},
    }
