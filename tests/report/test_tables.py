from __future__ import annotations

import csv

import numpy as np

from seefar.data import Split
from seefar.evaluation.mistakes import Mistake
from seefar.explanation.leaks import Duplicate
from seefar.explanation.neighbours import Neighbours
from seefar.report.tables import files_table, mistakes_csv, neighbours_table

CLASSES = ("cat", "dog", "ship")
MISTAKES = [
    Mistake(1, 2, 0, confidence=0.8, true_probability=0.05, loss=2.9957),
    Mistake(3, 1, 0, confidence=0.4, true_probability=0.35, loss=1.0498),
]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_the_csv_names_index_and_both_classes() -> None:
    found = rows(mistakes_csv(MISTAKES, CLASSES))
    assert [(row["index"], row["true"], row["predicted"]) for row in found] == [
        ("1", "ship", "cat"),
        ("3", "dog", "cat"),
    ]
    assert list(found[0].values())[3:] == ["0.800000", "0.05", "2.995700"]


def test_tables_are_joined_by_index_and_gaps_are_empty() -> None:
    """Whatever the order of a table is, and however many mistakes it knows."""
    faults = {"fault": {3: "label", 1: None, 99: "model"}}
    more = {"note": {1: 'a "quoted", <b>name</b>'}}
    found = rows(mistakes_csv(MISTAKES, CLASSES, faults, more))
    assert list(found[0])[6:] == ["fault", "note"]
    assert [(row["fault"], row["note"]) for row in found] == [("", 'a "quoted", <b>name</b>'), ("label", "")]


def test_file_names_are_printable() -> None:
    images, names = np.zeros((2, 8, 8, 3), np.uint8), ("b/ü.png", "\x1b[31m.png")
    assert files_table(Split(images, [0, 2], CLASSES, files=names)) == {"file": {0: "b/ü.png", 1: r"\x1b[31m.png"}}
    assert files_table(Split(images, [0, 2], CLASSES)) == {}


def test_no_name_is_run_as_a_formula_and_numbers_stay_numbers() -> None:
    names = ("=1+1", "cat", "\uff20sum(a1)")
    more = {
        "file": {1: "+a.png", 3: "-1+cmd|'/c calc'!a0"},
        "margin": {1: "-0.0000", 3: -0.5},
        "note": {1: "a=b", 3: "'s"},
    }
    found = rows(mistakes_csv(MISTAKES, names, more))
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
    found = Neighbours(np.array([3, 9]), near, near, far, far, duplicates, "weights", "training", "images")  # fmt: skip
    assert neighbours_table(found) == {
        "neighbours_predicted": {3: "7 5", 9: ""},
        "distance_predicted": {3: "0.2500"},
        "neighbours_true": {3: "7 5", 9: ""},
        "distance_true": {3: "0.2500"},
        "duplicate_of": {3: 41},
    }
