from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from report_content import make_content

from seefar import plot_comparison
from seefar.evaluation.comparison import compare
from seefar.evaluation.metrics import measure_calibration
from seefar.evaluation.verdict import FAULT_NAMES
from seefar.report.charts import plot_confusion, plot_faults, plot_reliability
from seefar.report.page import page_charts


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
    assert [label.get_text() for label in axes.get_yticklabels()] == list(FAULT_NAMES.values())[:4]
    assert axes.yaxis_inverted()  # the first is at the top
    assert "170  (42%)" in words(figure)


def test_the_reliability_diagram_shows_each_bin_and_counts_every_image() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 1, (1500, 4)), rng.integers(0, 4, 1500)
    calibration, after = (measure_calibration(logits, labels, temperature) for temperature in (1.0, 9.0))
    confidence = np.exp(logits).max(1) / np.exp(logits).sum(1)
    figure = plot_reliability(calibration, confidence, after)
    diagram, counts = figure.axes
    for line, shown in zip(diagram.lines[1:3], (calibration, after), strict=True):  # the first is the diagonal
        np.testing.assert_allclose(line.get_xdata(), [one.confidence for one in shown.bins])
        np.testing.assert_allclose(line.get_ydata(), [one.accuracy for one in shown.bins])
    assert diagram.get_xlim()[0] <= min(one.interval[0] for one in calibration.bins)
    assert sum(bar.get_height() for bar in counts.patches) == 1500
    assert counts.get_xlim() == diagram.get_xlim()
    words(figure)


def test_the_colours_of_the_confusion_matrix_are_of_the_mistakes_alone() -> None:
    figure = plot_confusion([[98, 2, 0], [1, 60, 39], [0, 0, 0]], ("cat", "$x$", "owl"))
    axes = figure.axes[0]
    shown = axes.images[0].get_array()
    assert shown.mask.tolist() == np.eye(3, dtype=bool).tolist()
    assert axes.images[0].get_clim() == (0, 39)
    assert [text.get_text() for text in axes.texts] == ["98%", "2", "1", "60%", "39", "-"]
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
    assert "runs/second repairs 2 and breaks 1 (p = 1)" in words(figure)


def test_charts_of_the_page_share_no_id_text_stays_text_and_every_colour_is_one_of_the_page() -> None:
    charts = page_charts(make_content(12))
    ids = [name for chart in charts for name in re.findall(r' id="([^"]+)"', chart.svg)]
    assert len(ids) == len(set(ids)) > 0
    for chart in charts:
        assert set(re.findall(r'(?:href="|url\()#(\w+)', chart.svg)) == set(re.findall(r' id="([^"]+)"', chart.svg))
        words = ["".join(one.itertext()) for one in ElementTree.fromstring(chart.svg).iter("text")]
        assert "epoch" in words or "images" in words
        assert "font-family" not in chart.svg
        assert set(re.findall(r'(?:fill|stroke)="(#\w+)"', chart.svg)) <= {"#8fa3b8"}  # seen on light and dark
