from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from report_content import make_content

from seefar import plot_comparison
from seefar.errors import ChoiceError
from seefar.evaluation.comparison import compare
from seefar.evaluation.metrics import measure_calibration
from seefar.evaluation.verdict import FAULT_NAMES
from seefar.report.charts import plot_confusion, plot_faults, plot_reliability
from seefar.report.embedded import reliability_chart
from seefar.report.page import page_charts
from seefar.training.state import HistoryRow


def words(figure: Figure) -> list[str]:
    """All texts of the figure, after it was drawn and none of them left it at a side."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    texts = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    for text in texts:
        box = text.get_window_extent()
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0, text
    return [text.get_text() for text in texts]


def test_faults_are_bars_from_zero_as_long_as_their_counts() -> None:
    figure = plot_faults({"label": 51, "ambiguous": 170, "hard": 92, "model": 94})
    (axes,) = figure.axes
    assert [(bar.get_x(), bar.get_width()) for bar in axes.patches] == [(0, 51), (0, 170), (0, 92), (0, 94)]
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"{name}" for name in FAULT_NAMES.values()][:4]
    assert axes.yaxis_inverted()  # the first is at the top
    found = words(figure)
    assert "Causes of the 407 mistakes" in found
    assert "170  (42%)" in found
    assert "Causes of the 0 mistakes" in words(plot_faults({}))


def test_the_reliability_diagram_shows_each_bin_and_counts_every_image() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 1, (1500, 4)), rng.integers(0, 4, 1500)
    calibration = measure_calibration(logits, labels)
    confidence = np.exp(logits).max(1) / np.exp(logits).sum(1)
    figure = plot_reliability(calibration, confidence, measure_calibration(logits, labels, 9.0))
    diagram, counts = figure.axes
    line = diagram.lines[1]  # the first is the diagonal
    np.testing.assert_allclose(line.get_xdata(), [one.confidence for one in calibration.bins])
    np.testing.assert_allclose(line.get_ydata(), [one.accuracy for one in calibration.bins])
    assert diagram.get_xlim()[0] <= min(one.interval[0] for one in calibration.bins)
    assert sum(bar.get_height() for bar in counts.patches) == 1500
    assert counts.get_xlim() == diagram.get_xlim()
    assert [text.get_text().split(":")[0] for text in diagram.get_legend().get_texts()] == [
        "temperature 1.00",
        "temperature 9.00",
    ]
    words(figure)


def test_a_matrix_of_other_classes_is_refused() -> None:
    with pytest.raises(ChoiceError, match=r"\(2, 2\)"):
        plot_confusion(np.eye(3, dtype=int), ("cat", "dog"))


def test_the_colours_of_the_confusion_matrix_are_of_the_mistakes_alone() -> None:
    figure = plot_confusion([[98, 2, 0], [1, 60, 39], [0, 0, 0]], ("cat", "$x$", "owl"))
    axes = figure.axes[0]
    shown = axes.images[0].get_array()
    assert shown.mask.tolist() == np.eye(3, dtype=bool).tolist()
    assert axes.images[0].get_clim() == (0, 39)
    assert [text.get_text() for text in axes.texts] == ["98%", "2", "1", "60%", "39", "-"]
    assert axes.get_yticklabels()[1].get_text() == "$x$"
    assert "Confusion matrix: 42 mistakes" in words(figure)


def test_a_figure_of_very_many_classes_names_some_of_them_and_has_no_room_for_numbers() -> None:
    classes = [f"class {number:03d}" for number in range(200)]
    axes = plot_confusion(np.eye(200, dtype=int), classes).axes[0]
    assert not axes.texts
    assert [label.get_text() for label in axes.get_yticklabels()] == classes[::5]
    assert axes.get_yticks().tolist() == list(range(0, 200, 5))


def test_a_comparison_shows_what_each_run_repairs_and_breaks_and_what_is_luck() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    a = np.array([0, 1, 1, 1, 1, 1, 1, 0, 0, 0])
    b = np.array([0, 0, 1, 1, 1, 1, 0, 0, 0, 1])
    figure = plot_comparison(compare({"runs/first": a, "runs/second": b}, labels, ("cat", "dog")))
    accuracies, luck, bars = figure.axes
    assert [line.get_xdata() for line in accuracies.lines if line.get_marker() == "o"] == [[40.0], [50.0]]
    assert [(bar.get_x(), bar.get_width()) for bar in luck.patches] == [(0, 4), (4, 2)]
    assert [bar.get_width() for bar in bars.patches] == [1, 1, 0, -1]  # repaired, then broken
    found = words(figure)
    assert "runs/second repairs 2 and breaks 1 (p = 1)" in found
    assert "settled: 4, both miss them (line: 3 by chance)" in found  # 4 * 3/4 * 2/4 + 6 * 3/6 * 3/6 = 3
    assert "luck: 2" in found


# The same curves on the page, as text


def curves(svg: str, colour: str) -> list[np.ndarray]:
    """The points of all lines of a colour that are longer than a tick, in units of the drawing."""
    lines = [one for one in ElementTree.fromstring(svg).iter("path") if one.get("stroke") == f"var(--{colour})"]
    points = [np.array(re.findall(r"[ML] (\S+) (\S+)", line.get("d")), float) for line in lines]
    return [one for one in points if len(one) > 1 and np.ptp(one, axis=0).max() > 20]


def test_curves_are_where_the_numbers_are() -> None:
    rows = [HistoryRow(5, 1, 1.0, 32, 0.1, 2.0, 0.5, 0.5, 0.6), HistoryRow(10, 2, 2.0, 32, 0.1, 1.0, 1.0, 1.0, 0.8)]
    loss, accuracy, _ = page_charts(make_content(12, history=rows))
    falling, level = curves(loss.svg, "accent")  # the loss, and the learning rate
    assert falling[1, 1] > falling[0, 1]  # downwards
    assert np.ptp(level[:, 1]) == 0
    training = curves(accuracy.svg, "accent")[-1]
    (held_out,) = curves(accuracy.svg, "second")
    np.testing.assert_allclose(held_out[:, 0], training[:, 0])  # at the ends of the same epochs
    rise = training[0, 1] - training[1, 1]  # of 50 points
    np.testing.assert_allclose(held_out[0, 1] - held_out[1, 1], rise * 20 / 50, atol=1e-3)
    assert "var(--test)" in accuracy.svg
    assert [kind for _, kind in accuracy.keys] == ["main", "second", "test"]


def test_a_temperature_has_a_curve_of_its_own() -> None:
    content = make_content(60)
    before, confidence = content.calibration, content.evaluation.predictions.confidence
    alone, both = (reliability_chart(before, confidence, one) for one in (None, replace(before, temperature=1.5)))
    assert not curves(alone.svg, "second")
    np.testing.assert_allclose(curves(both.svg, "second")[-1], curves(both.svg, "accent")[-1], atol=1e-6)
    assert "1.50" in both.summary


def test_charts_share_no_id_text_stays_text_and_every_colour_is_one_of_the_page() -> None:
    charts = page_charts(make_content(12))
    ids = [name for chart in charts for name in re.findall(r' id="([^"]+)"', chart.svg)]
    assert len(ids) == len(set(ids)) > 0
    for chart in charts:
        assert set(re.findall(r'(?:href="|url\()#(\w+)', chart.svg)) == set(re.findall(r' id="([^"]+)"', chart.svg))
        words = ["".join(one.itertext()) for one in ElementTree.fromstring(chart.svg).iter("text")]
        assert "epoch" in words or "images" in words
        assert "font-family" not in chart.svg
        assert set(re.findall(r'(?:fill|stroke)="(#\w+)"', chart.svg)) <= {"#8fa3b8"}  # seen on light and dark
