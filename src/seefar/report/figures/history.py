"""Figure of the training: loss, accuracy, learning rate and image size over the epochs."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from seefar.errors import RunError
from seefar.report.style import (
    BLUE,
    ORANGE,
    QUIET,
    RED,
    SMALL,
    bare,
    new_figure,
    place,
    plain,
    text,
    text_width,
)
from seefar.training.history import HistoryRow

LEFT, RIGHT, WIDTH, GAP = 0.65, 0.9, 4.0, 0.9  # inches
TOP, HIGH, BETWEEN, LOW, BOTTOM = 0.6, 2.7, 0.6, 0.75, 0.6
FEW = 30  # up to so many points are marked one by one


def plot_history(history: Sequence[HistoryRow], test_accuracy: float | None = None) -> Figure:
    """Loss and accuracy over the epochs, from every logged step; below them learning rate and image size.

    Args:
        history: the rows of the whole run.
        test_accuracy: share of 1, measured once after the last step; drawn as one point.

    Raises:
        RunError: there is no row.

    Example:
        >>> import seefar
        >>> from seefar.training.history import HistoryRow
        >>> row = HistoryRow(step=50, epoch=1, seconds=3.0, image_size=32, learning_rate=0.1, loss=2.1, accuracy=0.3)
        >>> len(seefar.plot_history([row], test_accuracy=0.35).axes)  # loss, accuracy, learning rate, image size
        4
    """
    if not history:
        raise RunError("A history without a row cannot be drawn: it has one when the first step is logged.")
    figure = new_figure(LEFT + 2 * WIDTH + GAP + RIGHT, TOP + HIGH + BETWEEN + LOW + BOTTOM)
    second, below = LEFT + WIDTH + GAP, TOP + HIGH + BETWEEN
    whole = [row for row in history if row.epoch_accuracy is not None] or history  # rows that end an epoch
    steps_per_epoch = whole[-1].step / whole[-1].epoch
    epochs = [row.step / steps_per_epoch for row in history]
    held_out = [(row.epoch, 100 * row.held_out_accuracy) for row in history if row.held_out_accuracy is not None]
    panels = (
        (LEFT, TOP, HIGH, "Training loss (nats)", [row.loss for row in history]),
        (second, TOP, HIGH, "Accuracy (%)", [100 * row.accuracy for row in history]),
        (LEFT, below, LOW, "Learning rate", [row.learning_rate for row in history]),
        (second, below, LOW, "Image size (pixels)", [row.image_size for row in history]),
    )
    for left, top, height, title, values in panels:
        axes = place(figure, left, top, WIDTH, height)
        bare(axes)
        marker = "o" if len(history) <= FEW else ""
        steps = "steps" if "pixels" in title else "default"  # a row's size is that of the steps up to it
        axes.plot(
            epochs, values, color=BLUE, linewidth=1.3, markersize=4, drawstyle=steps, clip_on=False, marker=marker
        )
        axes.set_xlim(0, max(epochs[-1], history[-1].epoch))
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        text(figure, left, top - 0.24, title, weight="bold")
        if height == LOW:
            axes.yaxis.set_major_locator(MaxNLocator(2))
            axes.set_xlabel("epoch", fontsize=SMALL, color=QUIET)
        if "pixels" in title:
            axes.set_yticks(_some(sorted(set(values))))
        if "%" in title:
            if held_out:
                axes.plot(*zip(*held_out, strict=True), "o-", color=ORANGE, linewidth=1, markersize=3, clip_on=False)
            _name_curves(figure, second + WIDTH, bool(held_out))
            if test_accuracy is not None:
                axes.plot(epochs[-1], 100 * test_accuracy, "D", color=RED, markersize=6, clip_on=False, zorder=3)
                at = epochs[-1], 100 * test_accuracy
                style = {"va": "center", "fontsize": SMALL, "color": RED, **plain("test")}
                axes.annotate(f"test\n{at[1]:.2f} %", at, (8, 0), textcoords="offset points", **style)
    return figure


def _name_curves(figure: Figure, right: float, held_out: bool) -> None:
    """The legend of the accuracies: their names in their colours above the axes, off the data."""
    names = [("training, as augmented", BLUE), *([("held out", ORANGE)] if held_out else [])]
    for name, colour in reversed(names):
        words = f"\N{EM DASH} {name}"
        right -= text_width(words, SMALL)
        text(figure, right, TOP - 0.23, words, SMALL, color=colour)
        right -= 0.15


def _some(values: Sequence[float]) -> list[float]:
    """At most four of the values, the first and the last among them."""
    places = {round(k * (len(values) - 1) / 3) for k in range(4)}
    return [values[place] for place in sorted(places)]
