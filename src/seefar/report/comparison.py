"""Comparison of runs as a figure: accuracies, luck, and what each repairs and breaks in each class."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seefar.evaluation.comparison import Comparison, RunPair
from seefar.report.style import (
    BLUE,
    INK,
    LARGE,
    NORMAL,
    ORANGE,
    PALE,
    QUIET,
    SMALL,
    bare,
    drawable,
    new_figure,
    place,
    plain,
    shorten,
    text,
    text_width,
)

MOST_OTHERS = 3
"""Runs that a comparison has room for beside the first; the accuracies and the luck are of all."""


def plot_comparison(comparison: Comparison) -> Figure:
    """Runs side by side: their accuracies, which mistakes of the first are luck, what each other repairs and breaks.

    Args:
        comparison: of the runs.

    Example:
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
    text(figure, 0.25, 0.55, "accuracy with its 95 % interval", NORMAL, color=QUIET)
    wide = (width + 0.2) * len(pairs) - 0.2
    _accuracies(place(figure, margin, 0.85, wide, heights[0]), comparison, list(names.values()))
    top = 1.35 + heights[0]
    words = f"the {first.mistakes:,} mistakes of {names[first.name]}"
    text(figure, 0.25, top, words, NORMAL, color=QUIET)
    _luck(place(figure, margin, top + 0.3, wide, 0.36), comparison)
    top += 1.25
    most = max([1, *(count for pair in pairs for count in (*pair.repaired_by_class, *pair.broken_by_class))])
    for number, pair in enumerate(pairs):
        probability = f"p = {pair.p:.2g}" if pair.p >= 0.001 else "p < 0.001"
        left = margin + number * (width + 0.2)
        words = f"{names[pair.second]} repairs {len(pair.repaired)} and breaks {len(pair.broken)} ({probability})"
        text(figure, left if number else 0.25, top, shorten(words, width + (0 if number else margin)), color=QUIET)
        axes = place(figure, left, top + 0.3, width, heights[1])
        _repaired_and_broken(axes, pair, most, () if number else comparison.classes)
    return figure


def _accuracies(axes: Axes, comparison: Comparison, names: Sequence[str]) -> None:
    for number, run in enumerate(comparison.runs):
        axes.plot([100 * end for end in run.interval], [number, number], color=BLUE, linewidth=2, alpha=0.45)
        axes.plot(100 * run.accuracy, number, "o", color=BLUE, markersize=6)
        axes.annotate(
            f"{run.accuracy:.2%}",
            (100 * run.interval[1], number),
            (6, 0),
            textcoords="offset points",
            va="center",
            fontsize=NORMAL,
            color=INK,
        )
    low, high = (f(100 * run.interval[end] for run in comparison.runs) for end, f in ((0, min), (1, max)))
    axes.set(xlim=(low - 0.05 * (high - low), high + 0.25 * (high - low)), ylim=(len(names) - 0.5, -0.5))
    bare(axes)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter("{x:g} %")
    _name_rows(axes, names)


def _luck(axes: Axes, comparison: Comparison) -> None:
    luck, settled = len(comparison.luck), len(comparison.settled)
    axes.barh(0, settled, color="#8fa3b8", height=0.9)
    axes.barh(0, luck, left=settled, color=BLUE, height=0.9)
    axes.plot([comparison.shared_by_chance] * 2, [-0.7, 0.7], color=INK, linewidth=1.5)
    everyone = "both" if len(comparison.runs) == 2 else "all"
    rows = (
        (
            0,
            "left",
            INK,
            f"settled: {settled:,}, {everyone} miss them (line: {comparison.shared_by_chance:.0f} by chance)",
        ),
        (1, "right", BLUE, f"luck: {luck:,}"),
    )
    for across, side, colour, words in rows:
        axes.text(across, -0.25, words, transform=axes.transAxes, fontsize=SMALL, color=colour, ha=side, va="top")
    axes.set(xlim=(0, max(luck + settled, 1)), ylim=(-0.7, 0.7))
    axes.set_axis_off()


def _repaired_and_broken(axes: Axes, pair: RunPair, most: int, classes: Sequence[str]) -> None:
    rows = range(len(pair.repaired_by_class))
    for sign, counts, colour in ((1, pair.repaired_by_class, BLUE), (-1, pair.broken_by_class, ORANGE)):
        axes.barh(rows, [sign * count for count in counts], color=colour, height=0.7)
        for row, count in zip(rows, counts, strict=True):
            side = "left" if sign > 0 else "right"
            axes.annotate(
                str(count),
                (sign * count, row),
                (3 * sign, 0),
                textcoords="offset points",
                va="center",
                ha=side,
                fontsize=SMALL,
                color=QUIET,
            )
    axes.axvline(0, color=PALE, linewidth=1)
    axes.set(xlim=(-1.25 * most, 1.25 * most), ylim=(len(rows) - 0.5, -0.5), xticks=[])
    axes.spines[:].set_visible(False)
    for across, words, colour, side in ((0.49, "broken", ORANGE, "right"), (0.51, "repaired", BLUE, "left")):
        axes.text(across, -0.02, words, transform=axes.transAxes, fontsize=SMALL, color=colour, ha=side, va="top")
    _name_rows(axes, classes)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names at the rows 0, 1, ... of the axes, as they are: `$` is no mathematics."""
    names = [shorten(name, 1.6) for name in names]
    axes.set_yticks(range(len(names)), map(drawable, names), fontsize=NORMAL, color=INK)
    axes.tick_params(axis="y", length=0)
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set(**plain(name))
