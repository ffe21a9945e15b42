"""Figure of class activation maps: for each mistake the image, three maps, the image with the evidence hidden."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from seefar.data.images import Images, Split
from seefar.explanation.explain import Explanation
from seefar.explanation.occlusion import SHARES
from seefar.maps.grid import Grid, to_pixels
from seefar.maps.removal import hide
from seefar.report.figures.mistakes import show_image, where
from seefar.report.style import (
    INK,
    LARGE,
    NORMAL,
    ORANGE,
    PALE,
    QUIET,
    RED,
    SIGNED_COLOURS,
    SMALL,
    new_figure,
    place,
    shorten,
    text,
    text_height,
    wrap,
)

BADGE_COLOURS = {"good": "#1a7f37", "fair": ORANGE, "poor": RED}
IN_LOGITS = ("gradcam", "hirescam", "layercam")  # the other methods' values have no unit
MARGIN, TEXT, GAP, PANEL = 0.35, 2.85, 0.14, 1.6  # inches; 1.6 are 192 dots: 6 for each pixel of CIFAR-10
BAR, TICKS = 0.1, 0.62
TITLES = text_height(2, SMALL) + 0.05
BETWEEN_ROWS = 0.3
LEFT = MARGIN + TEXT + 0.3
WIDTH = LEFT + 5 * PANEL + 3 * GAP + 0.08 + BAR + TICKS + MARGIN
DARKEST = -110  # black pixels are drawn this much lighter, on the scale to 255
STRONGEST = 0.8  # cover of the strongest cell
LONGEST_NAME = 24  # letters of a class name in a sentence


def plot_maps(explanation: Explanation, split: Split) -> Figure:
    """For each mistake: the image, the contrast map, the maps of both classes, the image with the evidence hidden.

    The cells are drawn as they are, unsmoothed, over a grey copy of the image; the pixels that the occlusion test hid
    are outlined on the image. The three maps of an image share a scale that is symmetric about zero, so an untinted
    cell is no evidence; its end differs from mistake to mistake and stands at the colour bar. Beside each row stand
    the classes, what hiding did, and the badge of the map; above all rows, what these words mean.

    Args:
        explanation: of the mistakes to show; `explanation.of(mistakes)` chooses some.
        split: the images that their indices count in.

    Returns:
        A figure 13 inches wide, and about 2.3 inches high for each mistake.

    Example:
        >>> import seefar
        >>> from seefar.data.shapes import load_shapes
        >>> test, net = load_shapes(train=20, test=20).test, seefar.ResNet18(width=2).eval()
        >>> evaluation = seefar.evaluate(net, test, progress=seefar.SILENT)
        >>> two = evaluation.mistakes[:2]
        >>> explanation = seefar.explain(net, test, evaluation.predictions, two, progress=seefar.SILENT)
        >>> figure = plot_maps(explanation, test)
        >>> round(float(figure.get_figwidth()))
        13
    """
    head = _head(explanation)
    blocks = [_words(explanation, split, number) for number in range(len(explanation.mistakes))]
    heights = [max(TITLES + PANEL, block_height(block)) + BETWEEN_ROWS for block in blocks]
    top = MARGIN + max(map(block_height, head)) + BETWEEN_ROWS
    figure = new_figure(WIDTH, top + sum(heights) + MARGIN - BETWEEN_ROWS * bool(heights))
    for column, block in enumerate(head):
        write_block(figure, MARGIN + column * (WIDTH - MARGIN) / 2, MARGIN, block)
    for number, (block, height) in enumerate(zip(blocks, heights, strict=True)):
        write_block(figure, MARGIN, top, block)
        _panels(figure, top, explanation, split, number)
        top += height
    return figure


Block = list[tuple[list[str], float, str, bool]]
"""Paragraphs from top to bottom: their lines, size of the type, colour, and whether they are bold."""


def block_height(block: Block) -> float:
    """How high paragraphs are, in inches."""
    return sum(text_height(len(lines), size) + 0.04 for lines, size, _, _ in block)


def write_block(figure: Figure, left: float, top: float, block: Block) -> None:
    """Paragraphs at a place of the figure, in inches from its upper left corner."""
    for lines, size, colour, bold in block:
        text(figure, left, top, "\n".join(lines), size, color=colour, weight="bold" if bold else "normal")
        top += text_height(len(lines), size) + 0.04


def _words(explanation: Explanation, split: Split, number: int) -> Block:
    """What stands beside a row."""
    mistake, repair, health = explanation.mistakes[number], explanation.repairs[number], explanation.health[number]
    true, named = (split.classes[c] for c in (mistake.true, mistake.predicted))
    short = tuple(name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in split.classes)
    return [
        (wrap(f"{true} \N{RIGHTWARDS ARROW} {named}", TEXT, LARGE, bold=True, most=4), LARGE, INK, True),
        (wrap(f"{named} {mistake.confidence:.1%}, {true} {mistake.true_probability:.1%}", TEXT), NORMAL, INK, False),
        (wrap(where(mistake, split), TEXT, SMALL, most=2), SMALL, QUIET, False),
        (wrap(repair.sentence(mistake, short), TEXT, NORMAL), NORMAL, INK, False),
        ([f"map: {health.badge}"], NORMAL, BADGE_COLOURS[health.badge], True),
        *((wrap(reason, TEXT, SMALL), SMALL, QUIET, False) for reason in health.reasons),
    ]


def _head(explanation: Explanation) -> tuple[Block, Block]:
    """What stands above all rows, in two columns."""
    width = WIDTH / 2 - 1.5 * MARGIN
    shares = ", ".join(f"{share:.0%}" for share in SHARES)
    columns = (
        (
            "Red cells speak for the class, blue cells against it; grey ones do neither. The first map is the second "
            "minus the third; the scale of all three stands at their right.",
            "Outlined: the pixels that speak most for the predicted rather than the true class. As many are hidden "
            f"({shares} of the image) as repair the answer, if any do.",
            _made_with(explanation),
        ),
        (
            "The same mask elsewhere: as many pixels of the same shape are hidden in another place. Where that "
            "changes the answer as soon, the outlined place is nothing special.",
            "map: good if it passes every check, fair if all but one, poor otherwise. The checks: hiding its pixels "
            "changes the answer, and sooner than the same mask elsewhere; a network with random weights gives "
            "another map; the mirrored image gives the mirrored map; its highest cell is among the pixels that decide, "
            "where the data set names them.",
        ),
    )
    first, second = ([(wrap(words, width, NORMAL), NORMAL, QUIET, False) for words in column] for column in columns)
    count = len(explanation.mistakes)
    number = f"{count} mistake{'' if count == 1 else 's'}"
    title = f"Why the network is wrong: {number}, true class \N{RIGHTWARDS ARROW} predicted class"
    return [([title], LARGE, INK, True), *first], [([" "], LARGE, INK, True), *second]


def how_made(method: str, layer: str | None, shape: tuple[int, ...]) -> str:
    """Method, layer, rows and columns of maps, in words."""
    return f"{method}, {layer or 'last stage of the dense twin'}, {'x'.join(map(str, shape))} cells."


def _made_with(explanation: Explanation) -> str:
    """What of the maps is exact."""
    made = how_made(explanation.method, explanation.layer, explanation.contrast.shape[1:])
    if explanation.layer is not None:
        return made
    return (
        f"{made} In each direction one cell in {explanation.cell_stride} enters the logits; those between are the "
        "same network's on a shifted grid."
    )


def _panels(figure: Figure, top: float, explanation: Explanation, split: Split, number: int) -> None:
    """The five pictures of a row and its colour bar."""
    mistake, repair = explanation.mistakes[number], explanation.repairs[number]
    image, hidden = split.images[mistake.index], explanation.hidden[number]
    true, named, answer = (split.classes[c] for c in (mistake.true, mistake.predicted, repair.answer))
    maps = explanation.contrast[number], explanation.predicted[number], explanation.true[number]
    scale = max(float(np.abs(maps).max()), 1e-12)
    lefts = [LEFT + (PANEL + GAP) * place for place in range(4)]
    lefts.append(lefts[3] + PANEL + 0.08 + BAR + TICKS)
    axes = [place(figure, left, top + TITLES, PANEL, PANEL) for left in lefts]
    show_image(axes[0], image)
    draw_outline(axes[0], hidden)
    for one, map_ in zip(axes[1:4], maps, strict=True):
        show_map(one, image, map_, scale, explanation.grid)
    show_image(axes[4], hide(image[None], hidden[None], explanation.hide)[0])
    titles = (
        ("image", f"outlined: {repair.share:.0%} of it"),
        (shorten(f"why {named}", PANEL, SMALL), shorten(f"not {true}", PANEL, SMALL)),
        (shorten(f"for {named}", PANEL, SMALL), "(predicted)"),
        (shorten(f"for {true}", PANEL, SMALL), "(true)"),
        (f"{repair.share:.0%} hidden:", shorten(answer, PANEL, SMALL, end=f" {repair.answer_probability:.1%}")),
    )
    for left, lines in zip(lefts, titles, strict=True):
        text(figure, left, top, "\n".join(lines), SMALL)
    bar = lefts[3] + PANEL + 0.08
    show_scale(place(figure, bar, top + TITLES, BAR, PANEL), scale)
    unit = "logits" if explanation.method in IN_LOGITS else "no unit"
    text(figure, bar, top + text_height(1, SMALL), unit, SMALL, color=QUIET)


def show_map(axes: Axes, image: Images, map_: NDArray[np.float32], scale: float, grid: Grid | None = None) -> None:
    """Draw one map, (h, w) cells coloured from -scale to scale, over a grey copy of its image, uint8 (H, W, 3)."""
    # Light grey, so that dark parts of the image are not taken for strong evidence.
    axes.imshow(image.mean(2), cmap="gray", vmin=DARKEST, vmax=255, interpolation="nearest")
    values = to_pixels(map_[None], image.shape[:2], grid, smooth=False)[0]
    axes.imshow(
        values, cmap=SIGNED_COLOURS, vmin=-scale, vmax=scale, alpha=_cover(values, scale), interpolation="nearest"
    )
    axes.set_axis_off()


def _cover(values: NDArray[np.floating], scale: float) -> NDArray[np.float64]:
    """How much of the image a cell covers: where there is no evidence the image is seen as it is."""
    return np.asarray(STRONGEST * np.sqrt(np.abs(values) / scale), dtype=np.float64)


def show_scale(axes: Axes, scale: float) -> None:
    """A colour bar from -scale to scale, in the colours of `show_map` over white."""
    values = np.linspace(-scale, scale, 256)[:, None]
    axes.imshow(values, cmap=SIGNED_COLOURS, alpha=_cover(values, scale), aspect="auto", origin="lower")
    axes.set_xticks([])
    axes.yaxis.tick_right()
    end = f"{scale:.0f}" if 100 <= scale < 10000 else f"{scale:.2g}"  # not 1.1e+02
    axes.set_yticks([0, 127.5, 255], [f"\N{MINUS SIGN}{end}", "0", f"+{end}"])
    axes.tick_params(labelsize=SMALL, colors=QUIET, length=2, color=PALE)
    axes.spines[:].set_color(PALE)


def draw_outline(axes: Axes, hidden: NDArray[np.bool_]) -> None:
    """The border of some pixels, bool (H, W), on the axes that show the image: white on black, seen on any ground."""
    padded = np.pad(hidden, 1)
    row, column = np.argwhere(np.diff(padded, axis=1)).T  # pixels whose right neighbour differs
    upright = np.array([[column - 0.5, row - 1.5], [column - 0.5, row - 0.5]])
    row, column = np.argwhere(np.diff(padded, axis=0)).T  # pixels whose lower neighbour differs
    level = np.array([[column - 1.5, row - 0.5], [column - 0.5, row - 0.5]])
    segments = list(np.concatenate([upright, level], axis=2).transpose(2, 0, 1))  # (lines, ends, x and y)
    for colour, width in (("black", 3.0), ("white", 1.3)):
        axes.add_collection(
            LineCollection(segments, colors=colour, linewidths=width, capstyle="projecting", clip_on=False)
        )
