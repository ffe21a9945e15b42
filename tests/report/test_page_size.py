"""Very many mistakes or classes: the page shows as many as it has room for, says so, and counts them all."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from report_content import make_content

import seefar
from seefar.data.shapes import load_shapes
from seefar.evaluation.mistakes import Mistake
from seefar.report import content as content_of_page
from seefar.report.charts import plot_confusion
from seefar.report.content import on_page
from seefar.report.page import render_report


def mistakes_of(*indices: int) -> list[Mistake]:
    return [Mistake(index, 0, 1, 0.9, 0.1, 2.3) for index in indices]


def data_block(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="values">(.*?)</script>', page, re.S)[1])


def test_the_explained_come_first_and_the_order_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_of_page, "MOST_MISTAKES", 3)
    ranked = mistakes_of(7, 5, 9, 2, 4)
    explained = make_content(2).explanation
    assert explained is not None
    object.__setattr__(explained, "mistakes", mistakes_of(4, 9))
    assert [one.index for one in on_page(ranked, 10)] == [7, 5, 9]
    assert [one.index for one in on_page(ranked, 10, explained)] == [7, 9, 4]
    assert on_page(ranked[:3], 10) == ranked[:3]


def test_with_a_thousand_classes_there_is_room_for_fewer() -> None:
    ranked = mistakes_of(*range(6_000))
    assert len(on_page(ranked, 10)) == 5_000
    assert len(on_page(ranked, 1_000)) == 2_500  # 10 MB of probabilities


def test_a_page_without_room_for_all_says_so_and_counts_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    test = load_shapes(20, 60).test
    model = seefar.ResNet18(width=2).eval()
    evaluation = seefar.evaluate(model, test, progress=seefar.SILENT)
    explanation = seefar.explain(model, test, evaluation.predictions, evaluation.mistakes[:8], progress=seefar.SILENT)
    number = len(evaluation.mistakes)
    assert number > 8
    for most in (5, 10):
        monkeypatch.setattr(content_of_page, "MOST_MISTAKES", most)
        path = seefar.write_report(tmp_path / "a.html", test, evaluation, explanation, name="mine", data="shapes")
        page = path.read_text(encoding="utf-8")
        assert f"{most} of {number} mistakes</h2>" in page
        assert f"<b>{number} mistakes.</b>" in page
        assert "All are in mistakes.csv" in page
        values = data_block(page)
        assert [one["index"] for one in values["mistakes"]] == [one.index for one in evaluation.mistakes[:most]]
        shown = [one["map"] for one in values["mistakes"] if "map" in one]
        assert shown == list(range(min(8, most)))
        assert page.count("When its evidence is hidden") == 1
    monkeypatch.setattr(content_of_page, "MOST_MISTAKES", number)
    page = seefar.write_report(tmp_path / "a.html", test, evaluation, name="mine", data="shapes").read_text()
    assert f"All {number} mistakes</h2>" in page
    assert "has room for" not in page


def test_of_very_many_classes_the_matrix_shows_those_with_the_most_mistakes() -> None:
    classes = tuple(f"class {number:03d}" for number in range(120))
    content = make_content(200, classes)
    page = render_report(content)
    matrix = re.search(r'<table class="matrix">(.*?)</table>', page, re.S)[1]
    rows = re.findall(r'<th scope="row">(.*?)</th>', matrix)
    assert "These are the 50 of 120 classes with the most mistakes" in page
    assert re.findall(r'<th scope="col"><span>(.*?)</span></th>', matrix) == rows == sorted(rows)
    taken = np.zeros(120, int)
    for mistake in content.mistakes:
        taken[[mistake.true, mistake.predicted]] += 1
    left_out = [number for number, name in enumerate(classes) if name not in rows]
    assert len(rows) == 50
    assert taken[left_out].max() <= min(taken[classes.index(name)] for name in rows)
    (first, *_) = [one for one in content.mistakes if {classes[one.true], classes[one.predicted]} <= set(rows)]
    assert f"of {classes[first.true]} called {classes[first.predicted]}" in matrix


def test_a_figure_of_very_many_classes_names_some_of_them() -> None:
    classes = [f"class {number:03d}" for number in range(200)]
    axes = plot_confusion(np.eye(200, dtype=int), classes).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == classes[::5]
    assert axes.get_yticks().tolist() == list(range(0, 200, 5))
