"""Figures, each from plain values, each a matplotlib Figure; no pyplot, so nothing global changes.

All stand on an opaque white ground, so that they read the same in light and dark pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from seefar.data.images import Images, Split
from seefar.evaluation.mistakes import Mistake
from seefar.explanation.explain import Explanation
from seefar.maps.grid import Grid, to_pixels
from seefar.maps.removal import hide
from seefar.training.history import HistoryRow

DPI = 120
MAP_COLOURS = "RdBu_r"  # diverging: red speaks for the class, blue against it, white is zero
BADGE_COLOURS = {"good": "tab:green", "fair": "tab:orange", "poor": "tab:red"}
IN_LOGITS = ("gradcam", "hirescam", "layercam")  # the other methods' values have no unit
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


def plot_maps(explanation: Explanation, split: Split) -> Figure:
    """For each mistake: the image, the contrast map, the maps of both classes, the image with the evidence hidden.

    The cells are drawn as they are, unsmoothed, over a pale grey copy of the image. The three maps of an image share a
    scale that is symmetric about zero, so an untinted cell is no evidence; its end differs from mistake to mistake
    and stands at the colour bar. Above each row stand the classes and the badge of the map, below it what hiding did.

    Args:
        explanation: of the mistakes to show; `explanation.of(mistakes)` chooses some.
        split: the images that their indices count in.
    """
    rows = len(explanation.mistakes)
    figure = NotebookFigure(figsize=(11.5, 2.95 * rows + 1.0), dpi=DPI, layout="constrained")
    unit = "in logits" if explanation.method in IN_LOGITS else "without a unit"
    figure.suptitle(f"{CAPTION}\nred cells speak for the class, blue cells against it; scale {unit}", fontsize=11)
    figure.supxlabel(_caption(explanation), fontsize=9)
    panels = figure.subfigures(max(rows, 1), 1, squeeze=False).flat
    for number, (panel, mistake) in enumerate(zip(panels, explanation.mistakes, strict=False)):
        image, repair, health = split.images[mistake.index], explanation.repairs[number], explanation.health[number]
        named, true, answer = (split.classes[c] for c in (mistake.predicted, mistake.true, repair.answer))
        panel.suptitle(f"{describe(mistake, split.classes)} (test image {mistake.index})", fontsize=10)
        panel.text(
            0.99, 0.99, f"map: {health.badge}", color=BADGE_COLOURS[health.badge], fontsize=9, ha="right", va="top"
        )
        panel.supxlabel(fill(repair.sentence(mistake, split.classes), 150), fontsize=8)
        image_axes, *map_axes, hidden_axes = panel.subplots(1, 5)
        _show_image(image_axes, image, "image")
        maps = explanation.contrast[number], explanation.predicted[number], explanation.true[number]
        scale = max(float(np.abs(maps).max()), 1e-12)
        names = (f"why {named}, not {true}", f"for {named} (predicted)", f"for {true} (true)")
        for axes, map_, name in zip(map_axes, maps, names, strict=True):
            show_map(axes, image, map_, scale, name, explanation.grid)
        covered = hide(image[None], explanation.hidden[number : number + 1], explanation.hide)[0]
        _show_image(hidden_axes, covered, f"hidden: {answer}, {repair.answer_probability:.1%}")
        bar = panel.colorbar(
            ScalarMappable(Normalize(-scale, scale), MAP_COLOURS), ax=map_axes, fraction=0.03, pad=0.01
        )
        bar.ax.tick_params(labelsize=7)
    return figure


def _caption(explanation: Explanation) -> str:
    """What of the maps is exact, for under the figure."""
    height, width = explanation.contrast.shape[1:]
    if explanation.layer is not None:
        return f"{explanation.method}, {explanation.layer}, {height}x{width} cells"
    return (
        f"{explanation.method}, last stage of the dense twin, {height}x{width} cells. In each direction one cell in "
        f"{explanation.cell_stride}, from the first, enters the logits;\n"
        "those between are the same network's on a shifted grid."
    )


def show_map(
    axes: Axes, image: Images, map_: NDArray[np.float32], scale: float, title: str, grid: Grid | None = None
) -> None:
    """Draw one map, (h, w) cells coloured from -scale to scale, over a pale copy of its image, uint8 (H, H, 3)."""
    # Pale, so that dark parts of the image are not taken for strong evidence.
    axes.imshow(image.mean(2), cmap="gray", vmin=-200, vmax=255, interpolation="nearest")
    pixels = to_pixels(map_[None], len(image), grid, smooth=False)[0]
    axes.imshow(pixels, cmap=MAP_COLOURS, vmin=-scale, vmax=scale, alpha=0.7, interpolation="nearest")
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()


def describe(mistake: Mistake, classes: tuple[str, ...]) -> str:
    """`true -> predicted, confidence`."""
    return f"{classes[mistake.true]} \N{RIGHTWARDS ARROW} {classes[mistake.predicted]}, {mistake.confidence:.1%}"


def _show_image(axes: Axes, image: Images, title: str) -> None:
    axes.imshow(image, interpolation="nearest")
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()
