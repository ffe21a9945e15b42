"""Figure of one predicted picture: the image, three maps, the image with the evidence hidden, and words."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from seefar.data.pictures import printable
from seefar.explanation.picture_prediction import PicturePrediction
from seefar.maps.removal import hide
from seefar.report.figures.maps import (
    BADGE_COLOURS,
    BAR,
    GAP,
    IN_LOGITS,
    LONGEST_NAME,
    MARGIN,
    PANEL,
    TICKS,
    TITLES,
    Block,
    block_height,
    draw_outline,
    how_made,
    show_map,
    show_scale,
    write_block,
)
from seefar.report.figures.mistakes import show_image
from seefar.report.style import INK, LARGE, NORMAL, QUIET, SMALL, new_figure, place, shorten, text, text_height, wrap

BETWEEN = 0.15
BESIDE_MAPS = 0.08 + BAR + TICKS  # the scale
WIDTH = 2 * MARGIN + 5 * PANEL + 3 * GAP + BESIDE_MAPS
READING = (
    "Red cells speak for the class, blue cells against it, and no colour is no evidence; the three maps share one "
    "scale. Outlined are the pixels that speak most for the answer rather than its runner-up, and the last picture is "
    "what the network answers without them. A poor map failed the checks: take it for no map. Maps: "
)


def plot_picture(prediction: PicturePrediction) -> Figure:
    """The image as the network is given it, why the answer and not its runner-up, and the evidence hidden.

    Args:
        prediction: of one picture, see `seefar.predict_pictures`.

    Returns:
        A figure 10 inches wide, and about 4 inches high.

    Example:
        >>> import tempfile
        >>> import seefar
        >>> from PIL import Image
        >>> file = tempfile.mkdtemp() + "/red.png"
        >>> Image.new("RGB", (60, 40), "red").save(file)
        >>> net = seefar.ResNet18(num_classes=3, width=2).eval()
        >>> (found,) = seefar.predict_pictures(net, file, ("cat", "dog", "fox"), progress=seefar.SILENT)
        >>> len(seefar.plot_picture(found).axes)  # five pictures and the scale of the maps
        6
    """
    width = WIDTH - 2 * MARGIN
    health = prediction.health
    short = [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in prediction.classes]
    reasons = f": {'; '.join(health.reasons)}" if health.reasons else ""
    head: Block = [
        ([shorten(printable(prediction.file), width, LARGE, bold=True)], LARGE, INK, True),
        (wrap(prediction.describe(), width, LARGE, most=2), LARGE, INK, False),
        (wrap(prediction.picture.describe(), width, SMALL), SMALL, QUIET, False),
    ]
    made = how_made(prediction.method, prediction.layer, prediction.contrast.shape)
    foot: Block = [
        (wrap(prediction.sentence(short), width, NORMAL), NORMAL, INK, False),
        (wrap(f"map: {health.badge}{reasons}", width, NORMAL, bold=True), NORMAL, BADGE_COLOURS[health.badge], True),
        (wrap(READING + made, width, SMALL), SMALL, QUIET, False),
    ]
    panels = MARGIN + block_height(head) + BETWEEN
    words = panels + TITLES + PANEL + BETWEEN
    figure = new_figure(WIDTH, words + block_height(foot) + MARGIN)
    write_block(figure, MARGIN, MARGIN, head)
    _panels(figure, panels, prediction)
    write_block(figure, MARGIN, words, foot)
    return figure


def _panels(figure: Figure, top: float, prediction: PicturePrediction) -> None:
    """The five pictures and the scale of the maps."""
    image, hidden, share = prediction.picture.image, prediction.hidden, prediction.share
    names, answer = prediction.classes, prediction.hidden_answer
    first, second = names[prediction.predicted], names[prediction.runner_up]
    maps = prediction.contrast, prediction.predicted_map, prediction.runner_up_map
    scale = max(float(np.abs(maps).max()), 1e-12)
    lefts = [MARGIN + (PANEL + GAP) * number for number in range(4)]
    lefts.append(lefts[3] + PANEL + BESIDE_MAPS)
    axes = [place(figure, left, top + TITLES, PANEL, PANEL) for left in lefts]
    show_image(axes[0], image)
    draw_outline(axes[0], hidden)
    for one, map_ in zip(axes[1:4], maps, strict=True):
        show_map(one, image, map_, scale, prediction.grid)
    show_image(axes[4], hide(image[None], hidden[None], prediction.hide)[0])
    titles = (
        ("image", f"outlined: {share:.0%} of it"),
        (shorten(f"why {first}", PANEL, SMALL), shorten(f"not {second}", PANEL, SMALL)),
        (shorten(f"for {first}", PANEL, SMALL), "(answer)"),
        (shorten(f"for {second}", PANEL, SMALL), "(runner-up)"),
        (
            f"{share:.0%} hidden:",
            shorten(names[answer], PANEL, SMALL, end=f" {prediction.hidden_probabilities[answer]:.1%}"),
        ),
    )
    for left, lines in zip(lefts, titles, strict=True):
        text(figure, left, top, "\n".join(lines), SMALL)
    bar = lefts[3] + PANEL + 0.08
    show_scale(place(figure, bar, top + TITLES, BAR, PANEL), scale)
    unit = "logits" if prediction.method in IN_LOGITS else "no unit"
    text(figure, bar, top + text_height(1, SMALL), unit, SMALL, color=QUIET)
