"""Figures of a run: its mistakes, their maps, and one predicted picture.

A row of maps has five panels: the image, three maps on one scale, and the image with the evidence hidden.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from seefar.data.images import Images, Split
from seefar.errors import ChoiceError, counted, printable, require
from seefar.evaluation.mistakes import Mistake
from seefar.explanation.explain import Explanation, MapSettings
from seefar.explanation.occlusion import SHARES, Repair, hide
from seefar.maps.formulas import IN_LOGITS, METHOD_NAMES
from seefar.maps.grid import Grid, rank_pixels, to_pixels
from seefar.report.style import (
    BADGE_COLOURS,
    LARGE,
    NORMAL,
    PALE,
    QUIET,
    SIGNED_COLOURS,
    SMALL,
    Block,
    Extent,
    block_height,
    canvas,
    inside,
    new_figure,
    paragraph,
    shorten,
    text,
    text_height,
    wrap,
    write_block,
)

if TYPE_CHECKING:
    from seefar.explanation.pictures import PicturePrediction

GAP, PANEL = 0.14, 1.6  # inches; 1.6 are 192 dots: 6 for each pixel of CIFAR-10
BESIDE_MAPS, BAR, TICK, TICKS = 0.08, 0.1, 2 / 72, 0.62
MIDDLE = 0.56  # of a line of digits, in font sizes from its top
TITLES = text_height(2, SMALL) + 0.05
PANELS_WIDTH = 5 * PANEL + 3 * GAP + BESIDE_MAPS + BAR + TICKS
PANELS_HEIGHT = TITLES + PANEL
DARKEST = -110  # black pixels are drawn this much lighter, on the scale to 255
STRONGEST = 0.8  # opacity of the strongest cell
MARGIN = 0.35  # inches

GRID_GAP, GRID_BETWEEN = 0.45, 0.25  # inches
GRID_WORDS = 2 * text_height(1, NORMAL) + text_height(1, SMALL) + 0.06
TWO_COLUMNS = 10  # at most this many images are in two columns


def plot_mistakes(mistakes: Sequence[Mistake], split: Split) -> Figure:
    """The images of mistakes, with both classes and their probabilities, in a grid: up to ten in two columns (5x2).

    Examples:
        >>> import seefar.data.shapes
        >>> test = seefar.data.shapes.load_shapes(20, 20).test
        >>> mistake = seefar.Mistake(index=3, true=1, predicted=2, confidence=0.8, true_probability=0.1, loss=2.3)
        >>> figure = seefar.plot_mistakes([mistake], test)
        >>> [text.get_text() for text in figure.texts[1:]]
        ['triangle 10.0%', '→ square 80.0%', 'test image 3']
    """
    require(mistakes, Sequence, "mistakes", "a list of them, such as evaluation.mistakes")
    count = len(mistakes)
    columns = min(max(count, 1), 2) if count <= TWO_COLUMNS else round(count**0.5)
    rows = -(-count // columns)
    width = max(columns, 2) * (PANEL + GRID_GAP) - GRID_GAP + 2 * MARGIN
    begin = MARGIN + text_height(1, NORMAL) + GRID_BETWEEN
    figure = new_figure(width, begin + rows * (GRID_WORDS + PANEL + GRID_BETWEEN) - GRID_BETWEEN * bool(rows) + MARGIN)
    known = any(not math.isnan(mistake.confidence) for mistake in mistakes)
    shares = ", each with its probability" if known else ""
    text(figure, MARGIN, MARGIN, f"true \N{RIGHTWARDS ARROW} predicted class{shares}", color=QUIET)
    most, line = PANEL + GRID_GAP - 0.1, text_height(1, NORMAL)
    for number, mistake in enumerate(mistakes):
        row, column = divmod(number, columns)
        left, top = MARGIN + column * (PANEL + GRID_GAP), begin + row * (GRID_WORDS + PANEL + GRID_BETWEEN)
        ends = [f" {share:.1%}".replace(" nan%", "") for share in (mistake.true_probability, mistake.confidence)]
        true, predicted = (split.classes[number] for number in (mistake.true, mistake.predicted))
        named = shorten(f"\N{RIGHTWARDS ARROW} {predicted}", most, bold=True, end=ends[1])
        text(figure, left, top, shorten(true, most, end=ends[0]))
        text(figure, left, top + line, named, weight="bold")
        text(figure, left, top + 2 * line, shorten(where(mistake, split), most, SMALL), SMALL, color=QUIET)
        image = split.images[mistake.index]
        show_image(canvas(figure), image, inside(left, top + GRID_WORDS, PANEL, image.shape))
    return figure


MAPS_TEXT, MAPS_BETWEEN = 2.85, 0.3  # inches
MAPS_LEFT = MARGIN + MAPS_TEXT + 0.3
MAPS_WIDTH = MAPS_LEFT + PANELS_WIDTH + MARGIN


def plot_maps(explanation: Explanation, split: Split) -> Figure:
    """For each mistake: the image, the contrast map, the maps of both classes, the image with the evidence hidden.

    The cells are drawn unsmoothed over a grey copy of the image. The three maps of an image share a scale that is
    symmetric about zero, so a cell without colour has no evidence. `explanation.of(mistakes)` selects mistakes. The
    figure is 13 inches wide, and about 2.3 inches high for each mistake.

    Examples:
        >>> import seefar
        >>> from seefar.data.shapes import load_shapes
        >>> test, network = load_shapes(train=20, test=20).test, seefar.ResNet18(width=2).eval()
        >>> evaluation = seefar.evaluate(network, test, progress=seefar.SILENT)
        >>> two = evaluation.mistakes[:2]
        >>> explanation = seefar.explain(network, test, evaluation.predictions, two, progress=seefar.SILENT)
        >>> figure = plot_maps(explanation, test)
        >>> round(float(figure.get_figwidth()))
        13
    """
    head = _maps_head(explanation)
    blocks = [_maps_words(explanation, split, number) for number in range(len(explanation.mistakes))]
    heights = [max(PANELS_HEIGHT, block_height(block)) + MAPS_BETWEEN for block in blocks]
    top = MARGIN + block_height(head) + MAPS_BETWEEN
    figure = new_figure(MAPS_WIDTH, top + sum(heights) + MARGIN - MAPS_BETWEEN * bool(heights))
    write_block(figure, MARGIN, MARGIN, head)
    for number, (block, height) in enumerate(zip(blocks, heights, strict=True)):
        write_block(figure, MARGIN, top, block)
        mistake = explanation.mistakes[number]
        _draw_panels(
            figure,
            (MAPS_LEFT, top),
            explanation,
            image=split.images[mistake.index],
            maps=(explanation.contrast[number], explanation.predicted[number], explanation.true[number]),
            hidden=explanation.hidden[number],
            repair=explanation.repairs[number],
            pair=(mistake.predicted, mistake.true),
            roles=("predicted", "true"),
            classes=split.classes,
        )
        top += height
    return figure


def _maps_words(explanation: Explanation, split: Split, number: int) -> Block:
    """The text beside a row."""
    mistake, repair, health = explanation.mistakes[number], explanation.repairs[number], explanation.health[number]
    true, named = (split.classes[c] for c in (mistake.true, mistake.predicted))
    probabilities = f"{named} {mistake.confidence:.1%}, {true} {mistake.true_probability:.1%}"
    return [
        paragraph(f"{true} \N{RIGHTWARDS ARROW} {named}", MAPS_TEXT, LARGE, bold=True, most=4),
        paragraph(probabilities, MAPS_TEXT),
        paragraph(where(mistake, split), MAPS_TEXT, SMALL, QUIET, most=2),
        paragraph(repair.sentence(mistake.predicted, split.classes), MAPS_TEXT),
        paragraph(f"map: {health.badge}", MAPS_TEXT, colour=BADGE_COLOURS[health.badge], bold=True),
        *(paragraph(reason, MAPS_TEXT, SMALL, QUIET) for reason in health.reasons),
    ]


def _maps_head(explanation: Explanation) -> Block:
    """The text above all rows: a title and a legend of two lines."""
    title = f"{counted(len(explanation), 'mistake')}, true class \N{RIGHTWARDS ARROW} predicted class"
    legend = (
        "Red cells are evidence for the class, blue cells against it, on one scale for the three maps of a row. "
        f"{_how_made(explanation)}",
        f"Outlined: the strongest evidence, of which {', '.join(f'{share:.0%}' for share in SHARES)} of the image are "
        "hidden until the prediction is correct. Control mask: the same shape elsewhere.",
    )
    width = MAPS_WIDTH - 2 * MARGIN
    return [paragraph(title, width, LARGE, bold=True), *(paragraph(line, width, colour=QUIET) for line in legend)]


def _how_made(made: Explanation | MapSettings) -> str:
    """Method, layer, rows and columns of maps, in words."""
    layer, shape = made.layer or "last stage of the dense twin", made.grid.cells
    return f"{METHOD_NAMES[made.method]}, {layer}, {'x'.join(map(str, shape))} cells."


PICTURE_BETWEEN = 0.15
PICTURE_WIDTH = 2 * MARGIN + PANELS_WIDTH
PICTURE_READING = (
    "Red cells are evidence for the class, blue cells against it, and cells without colour are neither; the three maps "
    "share one scale. Outlined: the strongest evidence for the prediction rather than its runner-up; it is hidden "
    "in the last picture. Do not rely on a poor map, since it failed the checks. Maps: "
)


def plot_picture(prediction: PicturePrediction) -> Figure:
    """The image as the network sees it, the maps of the predicted class and its runner-up, and the evidence hidden.

    Examples:
        >>> import tempfile
        >>> import seefar
        >>> from PIL import Image
        >>> file = tempfile.mkdtemp() + "/red.png"
        >>> Image.new("RGB", (60, 40), "red").save(file)
        >>> network = seefar.ResNet18(num_classes=3, width=2).eval()
        >>> (found,) = seefar.predict_pictures(network, file, ("cat", "dog", "fox"), progress=seefar.SILENT)
        >>> round(float(seefar.plot_picture(found).get_figwidth()))
        10
    """
    width = PICTURE_WIDTH - 2 * MARGIN
    health = prediction.health
    reasons = f": {'; '.join(health.reasons)}" if health.reasons else ""
    head: Block = [
        paragraph(printable(prediction.file), width, LARGE, bold=True, most=1),
        paragraph(prediction.describe(), width, LARGE, most=2),
        paragraph(prediction.picture.describe(), width, SMALL, QUIET),
    ]
    foot: Block = [
        paragraph(prediction.sentence(), width),
        paragraph(f"map: {health.badge}{reasons}", width, colour=BADGE_COLOURS[health.badge], bold=True),
        paragraph(PICTURE_READING + _how_made(prediction.settings), width, SMALL, QUIET),
    ]
    panels = MARGIN + block_height(head) + PICTURE_BETWEEN
    words = panels + PANELS_HEIGHT + PICTURE_BETWEEN
    figure = new_figure(PICTURE_WIDTH, words + block_height(foot) + MARGIN)
    write_block(figure, MARGIN, MARGIN, head)
    _draw_panels(
        figure,
        (MARGIN, panels),
        prediction.settings,
        image=prediction.picture.image,
        maps=(prediction.contrast, prediction.predicted_map, prediction.runner_up_map),
        hidden=prediction.hidden,
        repair=prediction.repair,
        pair=(prediction.predicted, prediction.runner_up),
        roles=("predicted", "runner-up"),
        classes=prediction.classes,
    )
    write_block(figure, MARGIN, words, foot)
    return figure


# ---- Panels of one image ----


def _draw_panels(
    figure: Figure,
    corner: tuple[float, float],
    made: Explanation | MapSettings,
    *,
    image: Images,
    maps: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]],
    hidden: NDArray[np.bool_],
    repair: Repair,
    pair: tuple[int, int],
    roles: tuple[str, str],
    classes: Sequence[str],
) -> None:
    """Five panels with their titles and the scale of the maps, right of and below a corner in inches.

    The maps are of the first class of the pair minus the second, of the first, and of the second.
    """
    left, top = corner
    scale = max(float(np.abs(maps).max()), 1e-12)
    lefts = [left + (PANEL + GAP) * number for number in range(4)]
    bar = lefts[3] + PANEL + BESIDE_MAPS
    lefts.append(bar + BAR + TICKS)
    extents = [inside(each, top + TITLES, PANEL, image.shape) for each in lefts]
    axes = canvas(figure)
    show_image(axes, image, extents[0])
    for map_, extent in zip(maps, extents[1:4], strict=True):
        show_image(axes, over_image(image, map_, scale, made.grid), extent, "map")
    for extent in extents[:2]:
        draw_outline(axes, hidden, extent)
    show_image(axes, hide(image[None], hidden[None], made.hide)[0], extents[4])
    first, second = (classes[number] for number in pair)
    titles = (
        ("image", f"outlined: {repair.share:.0%} of it"),
        (shorten(f"why {first}", PANEL, SMALL), shorten(f"not {second}", PANEL, SMALL)),
        (shorten(f"for {first}", PANEL, SMALL), f"({roles[0]})"),
        (shorten(f"for {second}", PANEL, SMALL), f"({roles[1]})"),
        (
            f"{repair.share:.0%} hidden:",
            shorten(classes[repair.answer], PANEL, SMALL, end=f" {repair.answer_probability:.1%}"),
        ),
    )
    for each, lines in zip(lefts, titles, strict=True):
        text(figure, each, top, "\n".join(lines), SMALL)
    show_scale(figure, bar, top + TITLES, PANEL, scale)
    unit = "logits" if made.method in IN_LOGITS else "no unit"
    text(figure, bar, top + text_height(1, SMALL), unit, SMALL, color=QUIET)


def over_image(image: Images, map_: NDArray[np.float32], scale: float, grid: Grid | None = None) -> Images:
    """One map, (h, w) cells coloured from -scale to scale, over a grey copy of its image, uint8 (H, W, 3)."""
    values = to_pixels(map_[None], image.shape[:2], grid, smooth=False)[0]
    # Light grey, because dark parts of the image would look like strong evidence.
    return tint((image.mean(2) - DARKEST) / (255 - DARKEST), values, scale)


def tint(grey: NDArray[np.floating], values: NDArray[np.floating], scale: float) -> Images:
    """A grey image, 0 to 1, tinted by values from -scale to scale, (H, W) both; where these are 0 it stays grey."""
    # Mixing the colours here, to uint8 (H, W, 3), is faster than two overlaid images of matplotlib.
    cover = (STRONGEST * np.sqrt(np.abs(values) / scale))[..., None]
    colours = colormaps[SIGNED_COLOURS](0.5 + values / (2 * scale))[..., :3]
    mixed: Images = (255 * (cover * colours + (1 - cover) * grey[..., None])).round().astype(np.uint8)
    return mixed


def show_scale(figure: Figure, left: float, top: float, height: float, scale: float) -> None:
    """A colour bar from -scale to scale, in the colours of the maps, with numbers at its right; in inches."""
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


def show_image(axes: Axes, image: Images, extent: Extent, label: str | None = None) -> None:
    """Draw one image, uint8 (H, W, 3), without interpolation, into a part of the axes."""
    axes.imshow(image, interpolation="nearest", extent=extent, aspect="auto", label=label)


def where(mistake: Mistake, split: Split) -> str:
    """Which image of the data set a mistake is: its file, if there is one, and its index."""
    number = f"test image {mistake.index}"
    return number if split.files is None else f"{split.files[mistake.index]}, {number}"


def plot_map(picture: Images, map_: NDArray[np.floating], grid: Grid | None = None, title: str = "") -> Figure:
    """One map of any network over its picture: evidence for the class is red, evidence against it blue.

    The picture is uint8 (H, W, 3), the map (h, w), such as `seefar.gradcam(model, picture)[0]`; else a `ChoiceError`.
    Without a grid its cells share the picture evenly. The outline surrounds the fifth of the pixels with the most
    evidence, the title is a line above.

    Examples:
        >>> import seefar
        >>> picture, map_ = np.zeros((20, 30, 3), np.uint8), np.arange(24.0).reshape(4, 6)
        >>> figure = seefar.plot_map(picture, map_, title="cat")
        >>> len(figure.axes)
        1
    """
    picture, map_ = np.asarray(picture), np.asarray(map_, np.float32)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or map_.ndim != 2:
        raise ChoiceError(
            f"plot_map takes one picture, uint8 (H, W, 3), and one map, (h, w) (got {picture.dtype} {picture.shape} "
            f"and {map_.shape}): pass images[0] and maps[0]."
        )
    size = picture.shape[0], picture.shape[1]
    values = to_pixels(map_[None], size, grid)
    side = 3.0
    shape = side * size[0] / max(size), side * size[1] / max(size)  # inches
    top = MARGIN + (text_height(1, NORMAL) + 0.05 if title else 0.0)
    figure = new_figure(2 * MARGIN + 2 * shape[1] + GRID_GAP + 0.9, top + shape[0] + MARGIN)
    if title:
        text(figure, MARGIN, MARGIN, shorten(title, 2 * shape[1] + GRID_GAP, NORMAL), NORMAL, weight="bold")
    scale = max(float(np.abs(map_).max()), 1e-12)
    axes, left = canvas(figure), MARGIN + shape[1] + GRID_GAP
    show_image(axes, picture, (MARGIN, MARGIN + shape[1], top + shape[0], top))
    extent = left, left + shape[1], top + shape[0], top
    show_image(axes, over_image(picture, map_, scale, grid), extent, "map")
    draw_outline(axes, rank_pixels(values)[0] < values[0].size // 5, extent)
    show_scale(figure, left + shape[1] + 0.15, top, shape[0], scale)
    return figure


# ---- Grad-CAM as a coloured overlay, in the form that courses and papers use ----

OVERLAY_COLOURS = "inferno"  # perceptual, also in grey and for the colour-blind
OVERLAY_OPACITY = 0.65  # of the cell with the most evidence
OVERLAY, OVERLAY_GAP, OVERLAY_BETWEEN = 1.35, 0.08, 0.35  # inches


def plot_gradcam_grid(explanation: Explanation, split: Split) -> Figure:
    """Mistakes in two columns (ten: 5x2), each the image and its maps of the predicted and the true class in colour.

    The colour is the evidence for a class, the positive part of its map, smoothed. Both maps of an image share a scale.
    `explanation.of(mistakes)` chooses some mistakes of an explanation; `split` has their images.
    """
    column_width = 3 * OVERLAY + 2 * OVERLAY_GAP
    rows, shape = -(-len(explanation.mistakes) // 2), "x".join(map(str, explanation.contrast.shape[1:]))
    width = 2 * (MARGIN + column_width) + OVERLAY_BETWEEN
    head = wrap(
        f"{METHOD_NAMES[explanation.method]} with {shape} cells. Colour: evidence for the class above the map, on one "
        "scale for both maps of an image.",
        width - 2 * MARGIN - 2.2,
    )
    top = MARGIN + text_height(1, LARGE) + text_height(len(head), NORMAL) + 0.2
    figure = new_figure(width, top + rows * (OVERLAY + TITLES + 0.2) + MARGIN - 0.2)
    text(figure, MARGIN, MARGIN, f"{len(explanation.mistakes)} misclassified images", LARGE, weight="bold")
    text(figure, MARGIN, MARGIN + text_height(1, LARGE), "\n".join(head), NORMAL, color=QUIET)
    _show_bar(figure, width - MARGIN - 1.9, MARGIN + text_height(1, LARGE))
    for number in range(len(explanation.mistakes)):
        row, column = divmod(number, 2)
        left = MARGIN + column * (column_width + OVERLAY_BETWEEN)
        _show_mistake(figure, left, top + row * (OVERLAY + TITLES + 0.2), explanation, split, number)
    return figure


def overlay(image: Images, map_: NDArray[np.floating], most: float, grid: Grid) -> Images:
    """An image, uint8 (H, W, 3), under the positive part of its map, (h, w), coloured from 0 to `most`."""
    evidence = np.clip(to_pixels(np.asarray(map_, np.float32)[None], image.shape[:2], grid)[0] / most, 0, 1)[..., None]
    colour = colormaps[OVERLAY_COLOURS](evidence[..., 0])[..., :3]
    cover = OVERLAY_OPACITY * np.sqrt(evidence)  # as in the other figures: weak evidence stays visible
    mixed: Images = (255 * (cover * colour + (1 - cover) * image / 255)).round().astype(np.uint8)
    return mixed


def _show_mistake(figure: Figure, left: float, top: float, explanation: Explanation, split: Split, number: int) -> None:
    mistake, image = explanation.mistakes[number], split.images[explanation.mistakes[number].index]
    maps = explanation.predicted[number], explanation.true[number]
    most = max(float(np.max(maps)), 1e-12)
    panels = [image, *(overlay(image, map_, most, explanation.grid) for map_ in maps)]
    true, predicted = split.classes[mistake.true], split.classes[mistake.predicted]
    words = (
        ("image", shorten(where(mistake, split), OVERLAY, SMALL)),
        (shorten(f"for {predicted}", OVERLAY, SMALL, bold=True), f"predicted, {mistake.confidence:.0%}"),
        (shorten(f"for {true}", OVERLAY, SMALL), f"label, {mistake.true_probability:.0%}"),
    )
    for panel, (first, second) in enumerate(words):
        at = left + panel * (OVERLAY + OVERLAY_GAP)
        show_image(canvas(figure), panels[panel], inside(at, top + TITLES, OVERLAY, panels[panel].shape))
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
