"""Grad-CAM as a coloured overlay, in the form that courses and papers use: image, heat map of each class over it."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from seefar.data.images import Images, Split
from seefar.evaluation.mistakes import Mistake
from seefar.explanation.explanation import Explanation
from seefar.maps.grid import Grid, to_pixels
from seefar.report.style import (
    LARGE,
    NORMAL,
    QUIET,
    SMALL,
    Extent,
    canvas,
    inside,
    new_figure,
    shorten,
    text,
    text_height,
    wrap,
)

COLOURS = "inferno"  # perceptual, also in grey and for the colour-blind
OPACITY = 0.65  # of the cell with the most evidence
SIDE, GAP, BETWEEN, MARGIN = 1.35, 0.08, 0.35, 0.35  # inches
WORDS = text_height(2, SMALL) + 0.05


def plot_gradcam_grid(explanation: Explanation, split: Split) -> Figure:
    """Mistakes in two columns (ten: 5x2), each the image and its maps of the predicted and the true class in colour.

    The colour is the evidence for a class, the positive part of its map, smoothed. Both maps of an image share a scale.

    Args:
        explanation: of the mistakes to show; `explanation.of(mistakes)` chooses some.
        split: the images of their indices.

    Examples:
        >>> import seefar
        >>> from seefar.data.shapes import load_shapes
        >>> test, network = load_shapes(train=20, test=20).test, seefar.ResNet18(width=2).eval()
        >>> evaluation = seefar.evaluate(network, test, progress=seefar.SILENT)
        >>> ten = evaluation.mistakes[:10]
        >>> explanation = seefar.explain(network, test, evaluation.predictions, ten, progress=seefar.SILENT)
        >>> figure = plot_gradcam_grid(explanation, test)
        >>> len(figure.axes[0].images)  # three for each of ten mistakes, and the colour bar
        31
    """
    column_width = 3 * SIDE + 2 * GAP
    rows, shape = -(-len(explanation.mistakes) // 2), "x".join(map(str, explanation.contrast.shape[1:]))
    width = 2 * (MARGIN + column_width) + BETWEEN
    head = wrap(
        f"{explanation.method} with {shape} cells. Colour: evidence for the class above the map, on one scale for both "
        "maps of an image.",
        width - 2 * MARGIN - 2.2,
    )
    top = MARGIN + text_height(1, LARGE) + text_height(len(head), NORMAL) + 0.2
    figure = new_figure(width, top + rows * (SIDE + WORDS + 0.2) + MARGIN - 0.2)
    text(figure, MARGIN, MARGIN, f"{len(explanation.mistakes)} misclassified images", LARGE, weight="bold")
    text(figure, MARGIN, MARGIN + text_height(1, LARGE), "\n".join(head), NORMAL, color=QUIET)
    _show_bar(figure, width - MARGIN - 1.9, MARGIN + text_height(1, LARGE))
    for number in range(len(explanation.mistakes)):
        row, column = divmod(number, 2)
        left = MARGIN + column * (column_width + BETWEEN)
        _show_mistake(figure, left, top + row * (SIDE + WORDS + 0.2), explanation, split, number)
    return figure


def overlay(image: Images, map_: NDArray[np.floating], most: float, grid: Grid) -> Images:
    """An image, uint8 (H, W, 3), under the positive part of its map, (h, w), coloured from 0 to `most`."""
    evidence = np.clip(to_pixels(np.asarray(map_, np.float32)[None], image.shape[:2], grid)[0] / most, 0, 1)[..., None]
    colour = colormaps[COLOURS](evidence[..., 0])[..., :3]
    cover = OPACITY * np.sqrt(evidence)  # as in the other figures: weak evidence stays visible
    mixed: Images = (255 * (cover * colour + (1 - cover) * image / 255)).round().astype(np.uint8)
    return mixed


def show_image(axes: Axes, image: Images, extent: Extent) -> None:
    """Draw one image, uint8 (H, W, 3), without interpolation, into a part of the axes."""
    axes.imshow(image, interpolation="nearest", extent=extent, aspect="auto")


def where(mistake: Mistake, split: Split) -> str:
    """Which image of the data set a mistake is: its file, if there is one, and its index."""
    number = f"test image {mistake.index}"
    return number if split.files is None else f"{split.files[mistake.index]}, {number}"


def _show_mistake(figure: Figure, left: float, top: float, explanation: Explanation, split: Split, number: int) -> None:
    mistake, image = explanation.mistakes[number], split.images[explanation.mistakes[number].index]
    maps = explanation.predicted[number], explanation.true[number]
    most = max(float(np.max(maps)), 1e-12)
    panels = [image, *(overlay(image, map_, most, explanation.grid) for map_ in maps)]
    true, predicted = split.classes[mistake.true], split.classes[mistake.predicted]
    words = (
        ("image", shorten(where(mistake, split), SIDE, SMALL)),
        (shorten(f"for {predicted}", SIDE, SMALL, bold=True), f"predicted, {mistake.confidence:.0%}"),
        (shorten(f"for {true}", SIDE, SMALL), f"label, {mistake.true_probability:.0%}"),
    )
    for panel, (first, second) in enumerate(words):
        at = left + panel * (SIDE + GAP)
        show_image(canvas(figure), panels[panel], inside(at, top + WORDS, SIDE, panels[panel].shape))
        text(figure, at, top, first, SMALL, weight="bold" if panel == 1 else "normal")
        text(figure, at, top + text_height(1, SMALL), second, SMALL, color=QUIET)


def _show_bar(figure: Figure, left: float, top: float) -> None:
    """The colour bar over a grey image, 1.9 inches wide."""
    values = np.linspace(0, 1, 256, dtype=np.float32)[None]
    grey = np.full((1, 256, 3), 160, np.uint8)
    bar = overlay(grey, values, 1.0, Grid((1, 256), 1.0, 0.0))
    canvas(figure).imshow(bar, extent=(left, left + 1.9, top + 0.14, top), aspect="auto")
    text(figure, left, top + 0.17, "no evidence", SMALL, color=QUIET)
    text(figure, left + 1.9, top + 0.17, "most", SMALL, color=QUIET, ha="right")
