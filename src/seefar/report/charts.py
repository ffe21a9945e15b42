"""Charts: training curves, causes of the mistakes, reliability diagram, confusion matrix, comparison of runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Literal
from xml.etree import ElementTree

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from seefar.errors import ChoiceError, RunError, counted
from seefar.evaluation.comparison import Comparison, RunPair
from seefar.evaluation.metrics import Calibration
from seefar.evaluation.verdict import HUMAN, Rule, fault_names
from seefar.report.style import (
    ACCENT,
    FAULT_COLOURS,
    INK,
    LARGE,
    NEUTRAL,
    NORMAL,
    ORANGE,
    PALE,
    QUIET,
    RED,
    SMALL,
    Box,
    bare,
    drawable,
    new_figure,
    place,
    plain,
    shorten,
    text,
    text_width,
)
from seefar.training.state import HistoryRow

MOST_NUMBERS = 20
"""A confusion matrix of at most this many classes has room for numbers in its cells."""


def plot_faults(faults: Mapping[str, int], rule: Rule = HUMAN) -> Figure:
    """Causes of the mistakes as horizontal bars; `faults` has the count of each, `rule` assigned them."""
    counts = {fault: faults.get(fault, 0) for fault in rule.meaning}
    total, row = sum(counts.values()), 0.62
    figure = new_figure(8.0, 0.75 + row * len(counts))
    text(figure, 0.25, 0.2, f"Causes of the {counted(total, 'mistake')}", LARGE, weight="bold")
    names = list(fault_names(rule).values())
    left = 0.45 + max(text_width(name) for name in names)
    axes = place(figure, left, 0.6, 7.75 - left, row * len(counts))
    most = max([*counts.values(), 1])
    for number, (fault, count) in enumerate(counts.items()):
        axes.barh(number, count, height=0.42, color=FAULT_COLOURS[fault])
        _note(axes, rule.meaning[fault], (0, number - 0.24), 4, SMALL, colour=QUIET, va="bottom")
        share = f"{count:,}  ({count / total:.0%})" if total else "0"
        _note(axes, share, (count, number), 6)
    axes.set(xlim=(0, most * 1.22), ylim=(len(counts) - 0.5, -0.6), xticks=[])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(PALE)
    _name_rows(axes, names)
    return figure


def _note(
    axes: Axes,
    words: str,
    at: tuple[float, float],
    right: float,
    size: float = NORMAL,
    *,
    colour: str = INK,
    va: Literal["center", "bottom"] = "center",
    ha: Literal["left", "right"] = "left",
) -> None:
    """Write words beside a point of the axes, so many points to the right of it."""
    axes.annotate(words, at, (right, 0), textcoords="offset points", fontsize=size, color=colour, va=va, ha=ha)


def plot_reliability(
    calibration: Calibration, confidence: NDArray[np.float64], after: Calibration | None = None
) -> Figure:
    """Reliability diagram: accuracy over confidence with 95% intervals, above the number of images by confidence.

    `confidence` is the probability of the predicted class of each image, (N,); `after` is with a fitted temperature.
    """
    figure = new_figure(5.6, 7.5)
    text(figure, 0.25, 0.2, "Calibration: confidence and accuracy", LARGE, weight="bold")
    axes = draw_reliability(figure, (0.75, 0.95, 4.6, 5.95), calibration, confidence, after)
    axes.legend(loc="lower right", fontsize=SMALL, frameon=False)
    size = min(group.n for group in calibration.bins)
    words = f"{calibration.n:,} images, about {size:,} a point, with 95% intervals; dashed: perfect calibration"
    text(figure, 0.25, 0.5, words, SMALL, color=QUIET)
    return figure


def draw_reliability(
    figure: Figure,
    box: Box,
    calibration: Calibration,
    confidence: NDArray[np.float64],
    after: Calibration | None = None,
) -> Axes:
    """Draw the diagram and the counts below it into a box of a figure; returns the axes of the diagram."""
    left, top, width, height = box
    axes = place(figure, left, top, width, height - 1.35)
    below = place(figure, left, top + height - 1.1, width, 1.1)
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    drawn = [(calibration, ACCENT, "o")] + ([(after, ORANGE, "s")] if after else [])
    lowest = min(_draw_bins(axes, *bins, named=after is not None) for bins in drawn)
    start = max(0.0, np.floor(lowest * 10 - 0.1) / 10)
    for at, side, ha in (((0.03, 0.95), "underconfident", "left"), ((0.97, 0.3), "overconfident", "right")):
        axes.text(*at, side, transform=axes.transAxes, fontsize=SMALL, color=QUIET, ha=ha)
    axes.set(xlim=(start, 1.01), ylim=(start, 1.01))
    axes.set_ylabel("share of correct predictions", fontsize=NORMAL, color=INK)
    axes.set_xticklabels([])
    counts, edges = np.histogram(confidence, np.linspace(start, 1.0, 21))
    below.bar(edges[:-1], counts, np.diff(edges), align="edge", color=NEUTRAL, edgecolor="white", linewidth=0.6)
    below.set(xlim=(start, 1.01))
    below.set_xlabel("probability of the predicted class", fontsize=NORMAL, color=INK)
    below.set_ylabel("images", fontsize=NORMAL, color=INK)
    bare(axes)
    bare(below)
    below.yaxis.set_major_formatter("{x:,.0f}")
    return axes


def _draw_bins(axes: Axes, calibration: Calibration, colour: str, marker: str, *, named: bool) -> float:
    """Draw the bins with their intervals, labelled with the temperature if `named`; returns the lowest value."""
    x = np.array([group.confidence for group in calibration.bins])
    y = np.array([group.accuracy for group in calibration.bins])
    low, high = np.array([group.interval for group in calibration.bins]).T
    error = calibration.ece
    label = f"ECE {error.value:.1%} ({error.interval[0]:.1%} to {error.interval[1]:.1%})"
    axes.errorbar(
        x,
        y,
        (np.maximum(y - low, 0), np.maximum(high - y, 0)),
        color=colour,
        marker=marker,
        markersize=5,
        linewidth=1,
        elinewidth=1,
        capsize=0,
        label=f"temperature {calibration.temperature:.2f}: {label}" if named else label,
    )
    return min(1.0, float(x.min()), float(low.min()))


def plot_confusion(confusion: Sequence[Sequence[int]] | NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """Confusion matrix as a heat map: mistakes by colour and number, recall of each class on the grey diagonal.

    `confusion` is (K, K): row the true class, column the predicted one; else a `ChoiceError`.
    """
    matrix, k = np.asarray(confusion), len(classes)
    if matrix.shape != (k, k):
        raise ChoiceError(f"confusion must be ({k}, {k}) (got the shape {matrix.shape}): pass metrics.confusion.")
    cell = 0.52 if k <= MOST_NUMBERS else 10.4 / k
    named = range(0, k, 1 if k <= MOST_NUMBERS else -(-k // 40))
    names = [shorten(classes[number], 1.3, NORMAL) for number in named]
    margin = max(text_width(name, NORMAL) for name in names)
    left, top, side = 0.75 + margin, 1.0 + 0.75 * margin, cell * k
    figure = new_figure(max(left + side + 0.6, 5.4), top + side + 0.95)
    wrong = int(matrix.sum() - matrix.trace())
    text(figure, 0.25, 0.2, f"Confusion matrix: {counted(wrong, 'mistake')}", LARGE, weight="bold")
    axes = place(figure, left, top, side, side)
    mistakes = np.ma.masked_array(matrix, np.eye(k, dtype=bool))
    most = max(int(mistakes.max()) if k > 1 else 0, 1)
    shades = LinearSegmentedColormap.from_list("accent", ["#ffffff", ACCENT])
    # The root spreads small counts, as on the page.
    image = axes.imshow(mistakes, cmap=shades, norm=PowerNorm(0.5, 0, most), interpolation="nearest")
    for c in range(k):
        axes.add_patch(Rectangle((c - 0.5, c - 0.5), 1, 1, facecolor="#e8eaed", edgecolor="none"))
    for row, column in np.ndindex(k, k) if k <= MOST_NUMBERS else ():
        count, of_class = int(matrix[row, column]), int(matrix[row].sum())
        if row == column:
            words, colour = (f"{count / of_class:.0%}" if of_class else "-"), QUIET
        else:
            words, colour = (str(count) if count else ""), ("white" if count > 0.3 * most else INK)
        if words:
            axes.text(column, row, words, ha="center", va="center", fontsize=SMALL, color=colour)
    axes.xaxis.tick_top()
    style = plain("".join(names))
    axes.set_xticks(named, map(drawable, names), rotation=40, ha="left", rotation_mode="anchor", **style)
    axes.set_yticks(named, map(drawable, names), **style)
    axes.tick_params(length=0, labelsize=NORMAL, labelcolor=INK)
    if k <= 100:  # lines would cover smaller cells
        axes.set_xticks(np.arange(1, k) - 0.5, minor=True)
        axes.set_yticks(np.arange(1, k) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1 if k <= MOST_NUMBERS else 0.2)
        axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("true class", fontsize=NORMAL, color=QUIET)
    text(figure, left, 0.62, "predicted class", NORMAL, color=QUIET)
    bar = figure.colorbar(
        image, cax=place(figure, left, top + side + 0.2, min(side, 2.4), 0.1), orientation="horizontal"
    )
    if most < 5:  # else matplotlib adds fractions of an image
        bar.set_ticks(list(range(most + 1)))
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=SMALL, colors=QUIET, length=0)
    words = "images; grey: recall of the class"
    text(figure, left, top + side + 0.55, words, SMALL, color=QUIET)
    return figure


MOST_OTHERS = 3
"""A comparison has room for this many runs beside the first; accuracies and luck are of all runs."""


def plot_comparison(comparison: Comparison) -> Figure:
    """Comparison of runs: accuracies, luck among the first run's mistakes, images that each other repairs or breaks.

    Examples:
        >>> import numpy as np
        >>> from seefar.evaluation.comparison import compare
        >>> runs = {"a": np.array([1, 1, 0]), "b": np.array([0, 1, 1])}
        >>> figure = plot_comparison(compare(runs, np.array([0, 1, 0]), ("cat", "dog")))
    """
    first, *others = comparison.runs
    pairs = comparison.pairs[: min(len(others), MOST_OTHERS)]  # those of the first run come first
    names = {run.name: shorten(run.name, 1.6, NORMAL) for run in comparison.runs}
    margin = 0.4 + max(text_width(shorten(name, 1.6), NORMAL) for name in (*names, *comparison.classes))
    heights = 0.3 * len(comparison.runs), 0.26 * len(comparison.classes)
    width = max(3.4, 6.4 / len(pairs))
    figure = new_figure(margin + (width + 0.2) * len(pairs) + 0.2, 3.35 + sum(heights))
    text(figure, 0.25, 0.2, f"{len(comparison.runs)} runs on the same {comparison.n:,} images", LARGE, weight="bold")
    text(figure, 0.25, 0.55, "accuracy with its 95% interval", NORMAL, color=QUIET)
    wide = (width + 0.2) * len(pairs) - 0.2
    _draw_accuracies(place(figure, margin, 0.85, wide, heights[0]), comparison, list(names.values()))
    top = 1.35 + heights[0]
    words = f"the {counted(first.mistakes, 'mistake')} of {names[first.name]}"
    text(figure, 0.25, top, words, NORMAL, color=QUIET)
    _draw_luck(place(figure, margin, top + 0.3, wide, 0.36), comparison)
    top += 1.25
    most = max([1, *(count for pair in pairs for count in (*pair.repaired_by_class, *pair.broken_by_class))])
    for number, pair in enumerate(pairs):
        probability = f"p = {pair.p:.2g}" if pair.p >= 0.001 else "p < 0.001"
        left = margin + number * (width + 0.2)
        words = f"{names[pair.second]} repairs {len(pair.repaired)} and breaks {len(pair.broken)} ({probability})"
        text(figure, left if number else 0.25, top, shorten(words, width + (0 if number else margin)), color=QUIET)
        axes = place(figure, left, top + 0.3, width, heights[1])
        _draw_repaired_and_broken(axes, pair, most, () if number else comparison.classes)
    return figure


def _draw_accuracies(axes: Axes, comparison: Comparison, names: Sequence[str]) -> None:
    for number, run in enumerate(comparison.runs):
        axes.plot([100 * end for end in run.interval], [number, number], color=ACCENT, linewidth=2, alpha=0.45)
        axes.plot(100 * run.accuracy, number, "o", color=ACCENT, markersize=6)
        _note(axes, f"{run.accuracy:.2%}", (100 * run.interval[1], number), 6)
    low, high = (f(100 * run.interval[end] for run in comparison.runs) for end, f in ((0, min), (1, max)))
    axes.set(xlim=(low - 0.05 * (high - low), high + 0.25 * (high - low)), ylim=(len(names) - 0.5, -0.5))
    bare(axes)
    axes.grid(visible=False)
    axes.xaxis.set_major_formatter("{x:g}%")
    _name_rows(axes, names)


def _draw_luck(axes: Axes, comparison: Comparison) -> None:
    luck, settled = len(comparison.luck), len(comparison.settled)
    axes.barh(0, settled, color=NEUTRAL, height=0.9)
    axes.barh(0, luck, left=settled, color=ACCENT, height=0.9)
    axes.plot([comparison.shared_by_chance] * 2, [-0.7, 0.7], color=INK, linewidth=1.5)
    everyone = "both" if len(comparison.runs) == 2 else "all"
    missed = f"settled: {settled:,}, {everyone} miss them (line: {comparison.shared_by_chance:.0f} by chance)"
    _name_below(axes, (0, -0.25), missed, INK, "left")
    _name_below(axes, (1, -0.25), f"luck: {luck:,}", ACCENT, "right")
    axes.set(xlim=(0, max(luck + settled, 1)), ylim=(-0.7, 0.7))
    axes.set_axis_off()


def _draw_repaired_and_broken(axes: Axes, pair: RunPair, most: int, classes: Sequence[str]) -> None:
    rows = range(len(pair.repaired_by_class))
    for sign, counts, colour in ((1, pair.repaired_by_class, ACCENT), (-1, pair.broken_by_class, ORANGE)):
        axes.barh(rows, [sign * count for count in counts], color=colour, height=0.7)
        for row, count in zip(rows, counts, strict=True):
            side: Literal["left", "right"] = "left" if sign > 0 else "right"
            _note(axes, str(count), (sign * count, row), 3 * sign, SMALL, colour=QUIET, ha=side)
    axes.axvline(0, color=PALE, linewidth=1)
    axes.set(xlim=(-1.25 * most, 1.25 * most), ylim=(len(rows) - 0.5, -0.5), xticks=[])
    axes.spines[:].set_visible(False)
    _name_below(axes, (0.49, -0.02), "broken", ORANGE, "right")
    _name_below(axes, (0.51, -0.02), "repaired", ACCENT, "left")
    _name_rows(axes, classes)


def _name_below(axes: Axes, at: tuple[float, float], words: str, colour: str, ha: Literal["left", "right"]) -> None:
    """Write words below the axes, in shares of their width and height."""
    axes.text(*at, words, transform=axes.transAxes, fontsize=SMALL, color=colour, ha=ha, va="top")


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Label the rows 0, 1, ... of the axes; `$` is a plain character."""
    names = [shorten(name, 1.6) for name in names]
    axes.set_yticks(range(len(names)), map(drawable, names), fontsize=NORMAL, color=INK, **plain("".join(names)))
    axes.tick_params(axis="y", length=0)


FEW_POINTS = 30  # curves of at most this many points have a marker at each


def plot_history(history: Sequence[HistoryRow], test_accuracy: float | None = None) -> Figure:
    """Loss and accuracy over the epochs, from every logged step; below them learning rate and image size.

    The test accuracy, a share of 1, was measured once after the last step. A `RunError` without rows.

    Examples:
        >>> import seefar
        >>> from seefar.training.state import HistoryRow
        >>> row = HistoryRow(step=50, epoch=1, seconds=3.0, image_size=32, learning_rate=0.1, loss=2.1, accuracy=0.3)
        >>> len(seefar.plot_history([row], test_accuracy=0.35).axes)  # loss above its rate, and accuracy
        3
    """
    if not history:
        raise RunError("A history without a row cannot be drawn: it has one when the first step is logged.")
    left, top, width, height, gap = 0.65, 0.6, 4.0, 4.05, 0.9  # inches
    figure = new_figure(left + 2 * width + 2 * gap, 5.25)
    draw_loss(figure, (left, top, width, height), history)
    second = (left + width + gap, top, width, height)
    axes = draw_accuracy(figure, second, history, test_accuracy)
    names = {"training, as augmented": ACCENT}
    if any(row.held_out_accuracy is not None for row in history):
        names["held out"] = ORANGE
    right = second[0] + width
    for name, colour in reversed(names.items()):  # the legend is above the axes, where no data are
        words = f"\N{EM DASH} {name}"
        right -= text_width(words, SMALL)
        text(figure, right, top - 0.23, words, SMALL, color=colour)
        right -= 0.15
    if test_accuracy is not None:
        at = _epochs(history)[-1], 100 * test_accuracy
        _note(axes, f"test\n{at[1]:.2f}%", at, 8, SMALL, colour=RED)
    return figure


def draw_loss(figure: Figure, box: Box, history: Sequence[HistoryRow]) -> None:
    """Draw the training loss, and below it the learning rate, into a box of a figure."""
    upper, lower = _upper_and_lower(box)
    _draw_curve(figure, upper, "Training loss (nats)", history, [row.loss for row in history])
    rates = [row.learning_rate for row in history]
    below = _draw_curve(figure, lower, "Learning rate", history, rates)
    below.set_xlabel("epoch", fontsize=SMALL, color=QUIET)
    below.set(yticks=(0, max(rates)), ylim=(0, 1.08 * max(rates)))
    below.yaxis.set_major_formatter("{x:.3g}")


def draw_accuracy(figure: Figure, box: Box, history: Sequence[HistoryRow], test_accuracy: float | None) -> Axes:
    """Draw the accuracies into a box of a figure, above the image size if it changes; returns the upper axes."""
    sizes = [row.image_size for row in history]
    changes = len(set(sizes)) > 1
    upper, lower = _upper_and_lower(box) if changes else (box, box)
    if changes:
        # A row has the size of the steps up to it, so the line steps before the point.
        below = _draw_curve(figure, lower, "Image size (pixels)", history, sizes, drawstyle="steps")
        ticks = sorted(set(sizes))
        below.set_yticks(sorted({ticks[round(k * (len(ticks) - 1) / 3)] for k in range(4)}))  # at most four of them
    axes = _draw_curve(figure, upper, "Accuracy (%)", history, [100 * row.accuracy for row in history])
    (below if changes else axes).set_xlabel("epoch", fontsize=SMALL, color=QUIET)
    held_out = [(row.epoch, 100 * row.held_out_accuracy) for row in history if row.held_out_accuracy is not None]
    if held_out:
        axes.plot(*zip(*held_out, strict=True), "o-", color=ORANGE, linewidth=1, markersize=3, clip_on=False)
    if test_accuracy is not None:
        axes.plot(_epochs(history)[-1], 100 * test_accuracy, "D", color=RED, markersize=6, clip_on=False, zorder=3)
    return axes


def _upper_and_lower(box: Box) -> tuple[Box, Box]:
    """The boxes of the upper axes and of the lower ones, which are 0.75 inches high."""
    left, top, width, height = box
    low, between = 0.75, 0.6
    high = round(height - low - between, 6)  # without the rounding error, which would move the lower curve
    return (left, top, width, high), (left, top + high + between, width, low)


def _epochs(history: Sequence[HistoryRow]) -> list[float]:
    """The epochs that are complete at each row, fractional; the last row may be in the middle of an epoch."""
    complete = [row for row in history if row.epoch_accuracy is not None] or history  # rows that end an epoch
    steps_per_epoch = complete[-1].step / complete[-1].epoch
    return [row.step / steps_per_epoch for row in history]


def _draw_curve(
    figure: Figure,
    box: Box,
    title: str,
    history: Sequence[HistoryRow],
    values: Sequence[float],
    *,
    drawstyle: Literal["default", "steps"] = "default",
) -> Axes:
    """Axes with one value for each row of a history, under their title."""
    axes, epochs = place(figure, *box), _epochs(history)
    bare(axes)
    marker = "o" if len(history) <= FEW_POINTS else ""
    axes.plot(
        epochs, values, color=ACCENT, linewidth=1.3, markersize=4, drawstyle=drawstyle, clip_on=False, marker=marker
    )
    axes.set_xlim(0, max(epochs[-1], history[-1].epoch))
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    text(figure, box[0], box[1] - 0.24, title, weight="bold")
    return axes


# ---- Charts of the page: the same curves on smaller canvases, as SVG in the colours and the type of the page ----

WIDTH, HEIGHT = 3.9, 4.4  # inches: at most a third of the page, and the width of a phone, so that no letter shrinks
BOX: Box = (0.62, 0.35, 3.15, 3.55)
COLOURS = {
    INK: "var(--ink)",
    QUIET: "var(--soft)",
    PALE: "var(--line)",
    ACCENT: "var(--accent)",
    ORANGE: "var(--second)",
    NEUTRAL: "var(--neutral)",
    RED: "var(--test)",
    "#ffffff": "var(--paper)",
}
"""Colours of the figures, and the variables of the page's style that replace them: these differ in dark mode."""


@dataclass(frozen=True)
class Chart:
    """One chart of the page; `keys` are the names of its curves, each with the class of its sign in the style."""

    title: str
    svg: Markup
    summary: str
    keys: tuple[tuple[str, str], ...] = ()


def history_charts(history: Sequence[HistoryRow], accuracy: float) -> list[Chart]:
    """Loss and accuracy of a training, with the accuracy on the test set."""
    loss_figure, accuracy_figure = new_figure(WIDTH, HEIGHT), new_figure(WIDTH, HEIGHT)
    draw_loss(loss_figure, BOX, history)
    draw_accuracy(accuracy_figure, BOX, history, accuracy)
    first, last = history[0], history[-1]
    loss = f"The training loss went from {first.loss:.2f} to {last.loss:.2f} nats in {counted(last.epoch, 'epoch')}."
    shares = (
        f"The training accuracy on augmented images ended at {last.accuracy:.1%}; on the test set, evaluated once, it "
        f"is {accuracy:.2%}."
    )
    held_out = [("held out", "second")] if any(row.held_out_accuracy is not None for row in history) else []
    keys = (("training, as augmented", "main"), *held_out, (f"test {accuracy:.2%}", "test"))
    return [
        Chart("Loss", inline_svg(loss_figure, "loss", loss), loss),
        Chart("Accuracy", inline_svg(accuracy_figure, "accuracy", shares), shares, keys),
    ]


def reliability_chart(calibration: Calibration, confidence: NDArray[np.float64], after: Calibration | None) -> Chart:
    """Accuracy over confidence, and how many images have which confidence; see `plot_reliability`."""
    figure = new_figure(WIDTH, HEIGHT)
    draw_reliability(figure, BOX, calibration, confidence, after)
    side = "overconfident" if calibration.confidence > calibration.accuracy else "underconfident"
    summary = (
        f"On the dashed line the confidence equals the accuracy; this network is {side}. Its expected calibration "
        f"error is {calibration.ece.value:.1%} (95% interval {calibration.ece.interval[0]:.1%} to "
        f"{calibration.ece.interval[1]:.1%}; {calibration.ece_by_chance:.1%} if it were calibrated exactly), its Brier "
        f"score {calibration.brier.value:.3f}, its loss {calibration.loss:.3f} nats."
    )
    keys: tuple[tuple[str, str], ...] = ()
    if after is not None:
        summary += f" With a temperature of {after.temperature:.2f}, fitted on held-out images, {after.ece.value:.1%}."
        keys = (("as trained", "main"), (f"with temperature {after.temperature:.2f}", "second"))
    return Chart("Reliability", inline_svg(figure, "reliability", summary), summary, keys)


def inline_svg(figure: Figure, name: str, summary: str) -> Markup:
    """A figure as an `<svg>` element of a page; the same figure gives the same text.

    Its style attributes become attributes of their own, because the security policy of the page refuses inline
    styles. Text stays text, in the type of the page. The name makes the ids of the figure unique on the page.
    """
    file = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(file.getvalue())
    referenced = set(re.findall(rb"#(\w+)", file.getvalue()))
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        _plain_attributes(element)
        if element.get("id", "").encode() not in referenced:
            element.attrib.pop("id", None)
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    # The style element set joins and ends of all lines.
    root.attrib.update({"class": "plot", "role": "img", "aria-label": summary, "stroke-linejoin": "round"})
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # escaped by ElementTree


def _plain_attributes(element: ElementTree.Element) -> None:
    """Names without namespaces, one attribute for each property of the style, colours as variables of the page."""
    element.tag = element.tag.rpartition("}")[2]
    properties = dict(part.split(": ", 1) for part in element.attrib.pop("style", "").split("; ") if part)
    shorthand = properties.pop("font", "")  # of matplotlib before 3.9, such as 700 9px 'DejaVu Sans'
    if size := re.search(r"[\d.]+px", shorthand):
        weight = re.match(r"\d+ ", shorthand)
        properties |= {"font-size": size[0], "font-weight": weight[0].strip() if weight else "400"}
    properties.pop("font-family", None)
    attributes = {key.rpartition("}")[2]: value for key, value in element.attrib.items()} | properties
    element.attrib.clear()
    for key, value in attributes.items():
        element.set(key, COLOURS.get(value, " ".join(value.split())))
    if element.tag != "text":
        element.text = None
    element.tail = None
