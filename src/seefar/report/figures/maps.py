"""Figure of class activation maps: for each mistake the image, three maps, the image with the evidence hidden."""

from __future__ import annotations

from matplotlib.figure import Figure

from seefar.data.images import Split
from seefar.explanation.explain import Explanation
from seefar.explanation.occlusion import SHARES
from seefar.report.figures.mistakes import where
from seefar.report.figures.panels import PANELS_HEIGHT, PANELS_WIDTH, Panels
from seefar.report.style import (
    BADGE_COLOURS,
    INK,
    LARGE,
    NORMAL,
    QUIET,
    SMALL,
    Block,
    block_height,
    new_figure,
    wrap,
    write_block,
)

MARGIN, TEXT = 0.35, 2.85  # inches
BETWEEN_ROWS = 0.3
LEFT = MARGIN + TEXT + 0.3
WIDTH = LEFT + PANELS_WIDTH + MARGIN
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
    heights = [max(PANELS_HEIGHT, block_height(block)) + BETWEEN_ROWS for block in blocks]
    top = MARGIN + max(map(block_height, head)) + BETWEEN_ROWS
    figure = new_figure(WIDTH, top + sum(heights) + MARGIN - BETWEEN_ROWS * bool(heights))
    for column, block in enumerate(head):
        write_block(figure, MARGIN + column * (WIDTH - MARGIN) / 2, MARGIN, block)
    for number, (block, height) in enumerate(zip(blocks, heights, strict=True)):
        write_block(figure, MARGIN, top, block)
        _panels(explanation, split, number).draw(figure, LEFT, top)
        top += height
    return figure


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


def _panels(explanation: Explanation, split: Split, number: int) -> Panels:
    """What stands in a row."""
    mistake, repair = explanation.mistakes[number], explanation.repairs[number]
    return Panels(
        image=split.images[mistake.index],
        maps=(explanation.contrast[number], explanation.predicted[number], explanation.true[number]),
        grid=explanation.grid,
        method=explanation.method,
        hidden=explanation.hidden[number],
        hide=explanation.hide,
        share=repair.share,
        classes=(split.classes[mistake.predicted], split.classes[mistake.true]),
        roles=("predicted", "true"),
        answer=split.classes[repair.answer],
        probability=repair.answer_probability,
    )
