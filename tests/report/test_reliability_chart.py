"""The reliability diagram of the page, and its curve with a temperature."""

from __future__ import annotations

from seefar.evaluation.calibration import Calibration, Estimate, ReliabilityBin
from seefar.report.curves import reliability_chart


def calibration(temperature: float, *bins: tuple[float, float]) -> Calibration:
    parts = tuple(ReliabilityBin(10, sure, right, (right - 0.1, right + 0.1)) for sure, right in bins)
    return Calibration(temperature, 20, 0.7, 0.6, parts, Estimate(0.1, (0, 0.2)), 0.01, Estimate(0.5, (0, 1)), 1.0)


def test_the_curve_with_a_temperature_lies_where_its_bins_do() -> None:
    one = calibration(1.0, (0.5, 0.4), (0.9, 0.8))
    chart = reliability_chart(one, calibration(1.5, (0.4, 0.5), (1.0, 0.75)))
    assert [tick.text for tick in chart.x] == ["20%", "40%", "60%", "80%", "100%"]
    (line,) = chart.lines
    assert line.kind == "second"
    assert line.points == "250.0,625.0 1000.0,312.5"  # of 20 to 100 %: 40 is a quarter along, 50 is 5/8 from the top
    assert [key.name for key in chart.keys] == ["with temperature 1.50"]
    assert chart.summary.endswith("With a temperature of 1.50, fitted on held-out images, 10.0%.")
    assert reliability_chart(one).lines == ()
