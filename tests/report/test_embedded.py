"""The charts of the page: the curves of the figures, as text that a page can contain."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
from report_content import make_content

from seefar.report.page import page_charts
from seefar.training.history import HistoryRow


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
    alone = page_charts(content)[-1]
    both = page_charts(replace(content, calibration_after=replace(content.calibration, temperature=1.5)))[-1]
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
