from __future__ import annotations

import csv

import numpy as np
import yaml

from seefar.data import Split
from seefar.evaluation.metrics import measure
from seefar.evaluation.mistakes import Mistake
from seefar.explanation.leaks import Duplicate
from seefar.explanation.neighbours import Neighbours
from seefar.report.tables import files_table, mistakes_csv, model_card, neighbours_table
from seefar.training.recipe import recipe

CLASSES = ("cat", "dog", "ship")
MISTAKES = [
    Mistake(1, 2, 0, confidence=0.8, true_probability=0.05, loss=2.9957),
    Mistake(3, 1, 0, confidence=0.4, true_probability=0.35, loss=1.0498),
]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_tables_are_joined_by_index_and_gaps_are_empty() -> None:
    """Whatever the order of a table is, and however many mistakes it knows."""
    faults = {"fault": {3: "label", 1: None, 99: "model"}}
    more = {"note": {1: 'a "quoted", <b>name</b>'}}
    found = rows(mistakes_csv(MISTAKES, CLASSES, faults, more))
    assert list(found[0])[6:] == ["fault", "note"]
    assert list(found[0].values())[:6] == ["1", "ship", "cat", "0.800000", "0.05", "2.995700"]
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


def test_the_model_card_claims_the_measured_accuracy_only() -> None:
    classes, labels, predicted = ("cat", "<img src=x>|dog"), np.array([0, 1, 1]), np.array([0, 0, 1])
    text = model_card(recipe("fast"), classes, measure(labels, predicted, np.zeros(3), classes), ["model.onnx"])
    front = yaml.safe_load(text.split("---")[1])
    assert (front["license"], front["datasets"]) == ("mit", ["uoft-cs/cifar10"])
    assert front["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.6667
    assert "66.67% of 3 test images" in text
    assert "| cat | 1 | 100.0% |" in text
    assert "<img" not in text
    text = model_card(recipe("demo"), classes, None, [])
    assert "model-index" not in yaml.safe_load(text.split("---")[1])
    assert "%" not in text
