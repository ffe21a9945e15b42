"""Curves, reliability diagram and accuracy scale of the report, as places in per cent for the template's SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from seefar.evaluation.calibration import Calibration
from seefar.evaluation.metrics import Metrics
from seefar.training.history import HistoryRow

MOST_POINTS = 400
"""A longer curve is thinned to about so many points, each the mean of its neighbours: a plot has no more pixels."""
REFERENCES = {"cifar10": (("recipe seed, as published", 0.86), ("people", 0.952))}
"""Accuracies to compare with: that published for the recipe `seed`, and the mean of people (Peterson et al. 2019)."""


@dataclass(frozen=True)
class Tick:
    """A label on an axis, at a place in per cent of its length."""

    place: float
    text: str


@dataclass(frozen=True)
class Line:
    """A curve: points in thousandths of the plot, for an SVG polyline; `kind` is its CSS class."""

    kind: str
    points: str


@dataclass(frozen=True)
class Key:
    """What a curve or point of a kind is."""

    name: str
    kind: str


@dataclass(frozen=True)
class Dot:
    """A marked point in per cent of the plot; `low` and `high` are the ends of its interval."""

    x: float
    y: float
    kind: str
    text: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Chart:
    """One plot: its title, what it shows in words, axes, curves and points."""

    title: str
    summary: str
    x_label: str
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]
    lines: tuple[Line, ...]
    dots: tuple[Dot, ...] = ()
    keys: tuple[Key, ...] = ()
    diagonal: bool = False


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that enclose low to high, at most `most` steps of them."""
    span = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]


def history_charts(history: Sequence[HistoryRow], test_accuracy: float) -> list[Chart]:
    """Loss and accuracy over the epochs; nothing for an empty history."""
    if not history:
        return []
    steps_per_epoch = history[-1].step / history[-1].epoch
    rows = _thinned(history)
    epochs = [sum(row.step for row in part) / len(part) / steps_per_epoch for part in rows]
    losses = [sum(row.loss for row in part) / len(part) for part in rows]
    accuracies = [sum(row.accuracy for row in part) / len(part) for part in rows]
    end = history[-1].epoch
    x_ticks = [tick for tick in nice_ticks(0, end, 5) if tick <= end and float(tick).is_integer()]
    x = tuple(Tick(100 * tick / end, f"{tick:g}") for tick in x_ticks)
    loss_y = nice_ticks(0, max(losses), 5)
    loss = Chart(
        "Loss",
        f"Training loss fell from {history[0].loss:.2f} to {history[-1].loss:.2f} nats in {end} epochs.",
        "epoch",
        x,
        _vertical(loss_y, ""),
        (Line("main", _points(epochs, losses, end, loss_y[0], loss_y[-1])),),
    )
    held_out = [(row.epoch, row.held_out_accuracy) for row in history if row.held_out_accuracy is not None]
    everything = [*accuracies, test_accuracy, *(share for _, share in held_out)]
    y = nice_ticks(100 * min(everything), 100 * max(everything), 5)
    bottom, top = y[0] / 100, min(y[-1], 100) / 100
    keys = [Key("training, augmented", "main"), Key(f"test {100 * test_accuracy:.2f}%", "test")]
    lines = [Line("main", _points(epochs, accuracies, end, bottom, top))]
    if held_out:
        keys.insert(1, Key("held out", "second"))
        lines.append(Line("second", _points(*_unzipped(held_out), end, bottom, top)))
    test = Dot(100, 100 * (top - test_accuracy) / (top - bottom), "test", f"test {100 * test_accuracy:.2f}%")
    accuracy = Chart(
        "Accuracy",
        f"Training accuracy on augmented images ended at {history[-1].accuracy:.1%}; on the test set, read once, it is "
        f"{test_accuracy:.2%}.",
        "epoch",
        x,
        _vertical([tick for tick in y if tick <= 100], "%"),
        tuple(lines),
        (test,),
        tuple(keys),
    )
    return [loss, accuracy]


def reliability_chart(calibration: Calibration, after: Calibration | None = None) -> Chart:
    """Accuracy over confidence; on the diagonal a network is as often right as it is sure.

    Args:
        calibration: of the network as it is.
        after: of the network with a temperature, drawn as a curve.
    """
    bins, bins_after = calibration.bins, () if after is None else after.bins
    low = min(min(one.confidence, one.interval[0]) for one in bins)
    low = min([low, *(min(one.confidence, one.accuracy) for one in bins_after)])
    ticks = nice_ticks(100 * low, 100, 5)
    bottom = ticks[0] / 100

    def place(share: float) -> float:
        return 100 * (share - bottom) / (1 - bottom)

    dots = tuple(
        Dot(
            place(one.confidence),
            100 - place(one.accuracy),
            "bin",
            f"{one.confidence:.1%} sure, {one.accuracy:.1%} right",
            100 - place(one.interval[0]),
            100 - place(one.interval[1]),
        )
        for one in bins
    )
    surer = "too sure" if calibration.confidence > calibration.accuracy else "less sure than it is right"
    summary = (
        f"On the line the network is as sure as it is right; here it is {surer}. "
        f"Expected calibration error {calibration.ece.value:.1%}."
    )
    x = tuple(Tick(place(tick / 100), f"{tick:g}%") for tick in ticks)
    lines: tuple[Line, ...] = ()
    keys: tuple[Key, ...] = ()
    if after is not None:
        summary += f" With a temperature of {after.temperature:.2f}, fitted on held-out images, {after.ece.value:.1%}."
        sure = [one.confidence - bottom for one in bins_after]
        points = _points(sure, [one.accuracy for one in bins_after], 1 - bottom, bottom, 1)
        lines, keys = (Line("second", points),), (Key(f"with temperature {after.temperature:.2f}", "second"),)
    return Chart("Reliability", summary, "how sure", x, _vertical(ticks, "%"), lines, dots, keys, diagonal=True)


@dataclass(frozen=True)
class Scale:
    """The accuracy on a line, in per cent of its length: the network, its interval, and what to compare with."""

    value: float
    low: float
    high: float
    marks: tuple[Tick, ...]
    ticks: tuple[Tick, ...]


def accuracy_scale(metrics: Metrics, data: str) -> Scale:
    """The line from a round number below every mark to 100 %."""
    marks = REFERENCES.get(data, ())
    chance = 1 / len(metrics.classes)
    shares = [metrics.interval[0], *(share for _, share in marks)]
    ticks = nice_ticks(100 * min(shares) - 2, 100, 4)
    bottom = max(0.0, ticks[0]) / 100
    if bottom <= chance:
        marks = (*marks, ("chance", chance))

    def place(share: float) -> float:
        return 100 * (share - bottom) / (1 - bottom)

    return Scale(
        place(metrics.accuracy),
        place(metrics.interval[0]),
        place(metrics.interval[1]),
        tuple(Tick(place(share), f"{name} {100 * share:.1f}%".replace(".0%", "%")) for name, share in marks),
        tuple(Tick(place(tick / 100), f"{tick:g}") for tick in ticks if 0 <= tick <= 100),
    )


def _thinned(history: Sequence[HistoryRow]) -> list[Sequence[HistoryRow]]:
    size = -(-len(history) // MOST_POINTS)
    return [history[start : start + size] for start in range(0, len(history), size)]


def _points(x: Sequence[float], y: Sequence[float], end: float, low: float, high: float) -> str:
    places = ((1000 * a / end, 1000 * (high - b) / (high - low)) for a, b in zip(x, y, strict=True))
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in places)


def _vertical(ticks: Sequence[float], unit: str) -> tuple[Tick, ...]:
    low, high = ticks[0], ticks[-1]
    return tuple(Tick(100 * (high - tick) / (high - low), f"{tick:g}{unit}") for tick in ticks)


def _unzipped(pairs: Sequence[tuple[int, float]]) -> tuple[list[float], list[float]]:
    return [float(a) for a, _ in pairs], [b for _, b in pairs]
