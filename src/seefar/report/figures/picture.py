"""Figure of one predicted picture: the image, three maps, the image with the evidence hidden, and words."""

from __future__ import annotations

from matplotlib.figure import Figure

from seefar.explanation.pictures import PicturePrediction
from seefar.output import printable
from seefar.report.figures.maps import LONGEST_NAME, MARGIN, how_made
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
    shorten,
    wrap,
    write_block,
)

BETWEEN = 0.15
WIDTH = 2 * MARGIN + PANELS_WIDTH
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
        >>> round(float(seefar.plot_picture(found).get_figwidth()))
        10
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
    words = panels + PANELS_HEIGHT + BETWEEN
    figure = new_figure(WIDTH, words + block_height(foot) + MARGIN)
    write_block(figure, MARGIN, MARGIN, head)
    _panels(prediction).draw(figure, MARGIN, panels)
    write_block(figure, MARGIN, words, foot)
    return figure


def _panels(prediction: PicturePrediction) -> Panels:
    """What stands between the words."""
    names, repair = prediction.classes, prediction.repair
    return Panels(
        image=prediction.picture.image,
        maps=(prediction.contrast, prediction.predicted_map, prediction.runner_up_map),
        grid=prediction.grid,
        method=prediction.method,
        hidden=prediction.hidden,
        hide=prediction.hide,
        share=repair.share,
        classes=(names[prediction.predicted], names[prediction.runner_up]),
        roles=("answer", "runner-up"),
        answer=names[repair.answer],
        probability=repair.answer_probability,
    )
