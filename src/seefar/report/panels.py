"""Five panels of one image: itself, three maps on one scale, and itself with the evidence hidden."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from seefar.choices import HideName, MethodName
from seefar.data.images import Images
from seefar.explanation.occlusion import hide
from seefar.maps.grid import Grid, to_pixels
from seefar.report.style import PALE, QUIET, SIGNED_COLOURS, SMALL, Extent, canvas, shorten, square, text, text_height

IN_LOGITS = ("gradcam", "hirescam", "layercam")  # the values of the other methods have no unit
GAP, PANEL = 0.14, 1.6  # inches; 1.6 are 192 dots: 6 for each pixel of CIFAR-10
BESIDE_MAPS, BAR, TICK, TICKS = 0.08, 0.1, 2 / 72, 0.62
MIDDLE = 0.56  # of a line of digits, in font sizes from its top
TITLES = text_height(2, SMALL) + 0.05
PANELS_WIDTH = 5 * PANEL + 3 * GAP + BESIDE_MAPS + BAR + TICKS
PANELS_HEIGHT = TITLES + PANEL
DARKEST = -110  # black pixels are drawn this much lighter, on the scale to 255
STRONGEST = 0.8  # opacity of the strongest cell


@dataclass(frozen=True, eq=False)
class Panels:
    """The content of five panels about one image.

    Attributes:
        image: uint8 (H, W, 3).
        maps: of the first class minus the second, of the first, and of the second, (h, w) each.
        grid: the positions of their cells.
        method: of the maps.
        hidden: bool (H, W), the pixels that the last panel hides.
        hide: the replacement of these pixels.
        share: of the image that is hidden.
        classes: names of the first and the second class.
        roles: of these classes, such as predicted and true.
        answer: the class that is predicted with the pixels hidden.
        probability: of that class then.
    """

    image: Images
    maps: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
    grid: Grid
    method: MethodName
    hidden: NDArray[np.bool_]
    hide: HideName
    share: float
    classes: tuple[str, str]
    roles: tuple[str, str]
    answer: str
    probability: float

    def draw(self, figure: Figure, left: float, top: float) -> None:
        """Draw them with their titles and the scale of the maps; `left` and `top` are in inches."""
        scale = max(float(np.abs(self.maps).max()), 1e-12)
        lefts = [left + (PANEL + GAP) * number for number in range(4)]
        bar = lefts[3] + PANEL + BESIDE_MAPS
        lefts.append(bar + BAR + TICKS)
        extents = [square(each, top + TITLES, PANEL) for each in lefts]
        axes = canvas(figure)
        show_image(axes, self.image, extents[0])
        draw_outline(axes, self.hidden, extents[0])
        for map_, extent in zip(self.maps, extents[1:4], strict=True):
            show_map(axes, self.image, map_, scale, self.grid, extent)
        show_image(axes, hide(self.image[None], self.hidden[None], self.hide)[0], extents[4])
        for each, lines in zip(lefts, self._titles(), strict=True):
            text(figure, each, top, "\n".join(lines), SMALL)
        show_scale(figure, bar, top + TITLES, PANEL, scale)
        unit = "logits" if self.method in IN_LOGITS else "no unit"
        text(figure, bar, top + text_height(1, SMALL), unit, SMALL, color=QUIET)

    def _titles(self) -> tuple[tuple[str, str], ...]:
        """Two lines above each panel."""
        (first, second), (its, other) = self.classes, self.roles
        answer = shorten(self.answer, PANEL, SMALL, end=f" {self.probability:.1%}")
        return (
            ("image", f"outlined: {self.share:.0%} of it"),
            (shorten(f"why {first}", PANEL, SMALL), shorten(f"not {second}", PANEL, SMALL)),
            (shorten(f"for {first}", PANEL, SMALL), f"({its})"),
            (shorten(f"for {second}", PANEL, SMALL), f"({other})"),
            (f"{self.share:.0%} hidden:", answer),
        )


def show_image(axes: Axes, image: Images, extent: Extent) -> None:
    """Draw one image, uint8 (H, W, 3), without interpolation, into a part of the axes."""
    axes.imshow(image, interpolation="nearest", extent=extent, aspect="auto")


def show_map(
    axes: Axes,
    image: Images,
    map_: NDArray[np.float32],
    scale: float,
    grid: Grid | None = None,
    extent: Extent | None = None,
) -> None:
    """Draw one map, (h, w) cells coloured from -scale to scale, over a grey copy of its image, uint8 (H, W, 3).

    Args:
        axes: to draw on.
        image: of the map.
        map_: signed.
        scale: the absolute value of the strongest colours.
        grid: the positions of the cells.
        extent: left, right, bottom and top, if the axes show more than the map.
    """
    values = to_pixels(map_[None], image.shape[:2], grid, smooth=False)[0]
    # Light grey, because dark parts of the image would look like strong evidence.
    grey = (image.mean(2) - DARKEST) / (255 - DARKEST)
    axes.imshow(tint(grey, values, scale), interpolation="nearest", extent=extent, label="map")
    axes.set_aspect("equal" if extent is None else "auto")
    axes.set_axis_off()


def tint(grey: NDArray[np.floating], values: NDArray[np.floating], scale: float) -> Images:
    """A grey image tinted by signed values; where these are 0 it stays grey.

    Args:
        grey: 0, black, to 1, white, (H, W).
        values: (H, W).
        scale: the absolute value of the strongest colours.

    Returns:
        uint8 (H, W, 3). Mixing the colours here is faster than two overlaid images of matplotlib.
    """
    cover = (STRONGEST * np.sqrt(np.abs(values) / scale))[..., None]
    colours = colormaps[SIGNED_COLOURS](0.5 + values / (2 * scale))[..., :3]
    mixed: Images = (255 * (cover * colours + (1 - cover) * grey[..., None])).round().astype(np.uint8)
    return mixed


def show_scale(figure: Figure, left: float, top: float, height: float, scale: float) -> None:
    """A colour bar from -scale to scale, in the colours of `show_map` over white, with numbers at its right.

    Args:
        figure: to draw on.
        left: of its upper left corner, in inches.
        top: likewise.
        height: in inches.
        scale: the absolute value of the strongest colours.
    """
    axes, right = canvas(figure), left + BAR
    values = np.linspace(scale, -scale, 256)[:, None]
    extent = left, right, top + height, top
    axes.imshow(tint(np.ones_like(values), values, scale), extent=extent, aspect="auto", label="scale")
    levels = top, top + height / 2, top + height
    ticks = [[(right, level), (right + TICK, level)] for level in levels]
    frame = [[(left, levels[0]), (right, levels[0]), (right, levels[2]), (left, levels[2]), (left, levels[0])]]
    axes.add_collection(LineCollection([*frame, *ticks], colors=PALE, linewidths=0.8), autolim=False)
    end = f"{scale:.0f}" if 100 <= scale < 10000 else f"{scale:.2g}"  # not 1.1e+02
    for level, words in zip(levels, (f"+{end}", "0", f"\N{MINUS SIGN}{end}"), strict=True):
        text(figure, right + 2.5 * TICK, level - MIDDLE * SMALL / 72, words, SMALL, color=QUIET)


def draw_outline(axes: Axes, hidden: NDArray[np.bool_], extent: Extent) -> None:
    """Draw the border of hidden pixels, bool (H, W), over their image: white on black, visible on any image."""
    padded = np.pad(hidden, 1)
    row, column = np.argwhere(np.diff(padded, axis=1)).T  # pixels whose right neighbour differs
    upright = np.array([[column, row - 1], [column, row]])
    row, column = np.argwhere(np.diff(padded, axis=0)).T  # pixels whose lower neighbour differs
    level = np.array([[column - 1, row], [column, row]])
    corners = np.concatenate([upright, level], axis=2).transpose(2, 0, 1)  # (lines, ends, column and row)
    left, right, bottom, top = extent
    pixel = np.array([(right - left) / hidden.shape[1], (bottom - top) / hidden.shape[0]])
    segments = list((left, top) + corners * pixel)
    for colour, width in (("black", 3.0), ("white", 1.3)):
        lines = LineCollection(segments, colors=colour, linewidths=width, capstyle="projecting", clip_on=False)
        axes.add_collection(lines, autolim=False)
