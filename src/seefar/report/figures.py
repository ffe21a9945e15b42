"""Figures, each from plain values, each a matplotlib Figure; no pyplot, so nothing global changes.

All stand on an opaque white ground, so that they read the same in light and dark pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from seefar.data.images import Images, Split
from seefar.evaluation.mistakes import Mistake
from seefar.training.history import HistoryRow

DPI = 120
MAP_COLOURS = "RdBu_r"  # diverging: red speaks for the class, blue against it, white is zero
COLUMNS = 2
CAPTION = "true class \N{RIGHTWARDS ARROW} predicted class, probability of the predicted class"


class NotebookFigure(Figure):
    """A matplotlib Figure that a notebook shows without pyplot and without a magic command."""

    def _repr_png_(self) -> bytes:
        picture = BytesIO()
        self.savefig(picture, format="png")
        return picture.getvalue()


def plot_history(history: Sequence[HistoryRow], test_accuracy: float | None = None) -> Figure:
    """Loss and accuracy over the epochs, from every logged step of the training.

    Args:
        history: the rows of the whole run.
        test_accuracy: share of 1, measured once after the last step; drawn as one point.
    """
    figure = NotebookFigure(figsize=(10, 4), dpi=DPI, layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    steps_per_epoch = history[-1].step / history[-1].epoch
    epochs = [row.step / steps_per_epoch for row in history]
    loss.plot(epochs, [row.loss for row in history], color="tab:blue", linewidth=1)
    loss.set(xlabel="epoch", ylabel="training loss (nats)", title="Loss")
    accuracy.plot(epochs, [100 * row.accuracy for row in history], color="tab:blue", linewidth=1, label="training")
    held_out = [(row.epoch, 100 * row.held_out_accuracy) for row in history if row.held_out_accuracy is not None]
    if held_out:
        accuracy.plot(*zip(*held_out, strict=True), "o-", color="tab:orange", markersize=3, label="held out")
    if test_accuracy is not None:
        label = f"test, {100 * test_accuracy:.2f} %"
        accuracy.plot(epochs[-1], 100 * test_accuracy, "D", color="tab:red", label=label, clip_on=False, zorder=3)
    accuracy.set(xlabel="epoch", ylabel="accuracy (%)", title="Accuracy (training: augmented images)")
    accuracy.legend(loc="lower right")
    for axes in (loss, accuracy):
        axes.grid(alpha=0.3)
        axes.set_xlim(left=0)
    return figure


def plot_mistakes(mistakes: Sequence[Mistake], split: Split) -> Figure:
    """The mistakes' images in a grid of two columns (ten mistakes: 5x2), each with "true -> predicted, confidence".

    Args:
        mistakes: which to show.
        split: the images that their indices count in.
    """
    rows = max(1, -(-len(mistakes) // COLUMNS))
    figure = NotebookFigure(figsize=(5.2, 2.4 * rows + 0.4), dpi=DPI, layout="constrained")
    figure.suptitle(CAPTION, fontsize=9)
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, mistake in zip(grid.flat, mistakes, strict=False):
        title = f"{describe(mistake, split.classes)}\ntest image {mistake.index}"
        _show_image(axes, split.images[mistake.index], title)
    return figure


def plot_maps(
    mistakes: Sequence[Mistake], split: Split, predicted: NDArray[np.float32], true: NDArray[np.float32]
) -> Figure:
    """For each mistake: the image, the map for the predicted and for the true class, one colour scale for both.

    The cells are drawn as they are, unsmoothed, over a pale grey copy of the image. The scale is symmetric about
    zero, so an untinted cell is no evidence; its end differs from mistake to mistake and stands at the colour bar.

    Args:
        mistakes: M mistakes.
        split: the images that their indices count in.
        predicted: float (M, h, w), logit units.
        true: float (M, h, w), likewise.
    """
    rows = max(1, -(-len(mistakes) // COLUMNS))
    figure = NotebookFigure(figsize=(6.6 * COLUMNS, 2.5 * rows + 0.5), dpi=DPI, layout="constrained")
    figure.suptitle(f"{CAPTION}; red cells speak for the class, blue cells against it", fontsize=11)
    panels = np.atleast_1d(figure.subfigures(rows, COLUMNS, squeeze=False)).ravel()
    for panel, mistake, *maps in zip(panels, mistakes, predicted, true, strict=False):
        image = split.images[mistake.index]
        image_axes, *map_axes = panel.subplots(1, 3)
        panel.suptitle(f"{describe(mistake, split.classes)} (test image {mistake.index})", fontsize=10)
        _show_image(image_axes, image, "image")
        scale = max(float(np.abs(maps).max()), 1e-12)
        names = (f"for {split.classes[mistake.predicted]} (predicted)", f"for {split.classes[mistake.true]} (true)")
        for axes, map_, name in zip(map_axes, maps, names, strict=True):
            show_map(axes, image, map_, scale, name)
        bar = panel.colorbar(
            ScalarMappable(Normalize(-scale, scale), MAP_COLOURS), ax=map_axes, fraction=0.05, pad=0.02
        )
        bar.set_label("logits", fontsize=7)
        bar.ax.tick_params(labelsize=7)
    return figure


def show_map(axes: Axes, image: Images, map_: NDArray[np.float32], scale: float, title: str) -> None:
    """Draw one map, (h, w) cells coloured from -scale to scale, over a pale copy of its image, uint8 (H, W, 3)."""
    height, width = image.shape[:2]
    # Pale, so that dark parts of the image are not taken for strong evidence.
    axes.imshow(image.mean(2), cmap="gray", vmin=-200, vmax=255, interpolation="nearest")
    axes.imshow(
        map_,
        cmap=MAP_COLOURS,
        vmin=-scale,
        vmax=scale,
        alpha=0.7,
        interpolation="nearest",
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
    )
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()


def describe(mistake: Mistake, classes: tuple[str, ...]) -> str:
    """`true -> predicted, confidence`."""
    return f"{classes[mistake.true]} \N{RIGHTWARDS ARROW} {classes[mistake.predicted]}, {mistake.confidence:.1%}"


def _show_image(axes: Axes, image: Images, title: str) -> None:
    axes.imshow(image, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
