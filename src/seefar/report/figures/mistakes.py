"""Figure of misclassified images: a grid of pictures with true and predicted class and their probabilities."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from seefar.data.images import Split
from seefar.evaluation.mistakes import Mistake
from seefar.report.figures.panels import PANEL, show_image
from seefar.report.style import NORMAL, QUIET, SMALL, canvas, new_figure, shorten, square, text, text_height, wrap

MARGIN, GAP = 0.35, 0.45  # inches
WORDS = 2 * text_height(1, NORMAL) + text_height(1, SMALL) + 0.06
BETWEEN_ROWS = 0.25
TWO_COLUMNS = 10  # at most so many pictures stand in two columns


def plot_mistakes(mistakes: Sequence[Mistake], split: Split) -> Figure:
    """The mistakes' images in a grid, each with its true and its predicted class and their probabilities.

    Up to ten stand in two columns (5x2), more in as many columns as rows, or nearly.

    Args:
        mistakes: which to show.
        split: the images that their indices count in.

    Returns:
        A figure 4.4 inches wide for up to ten pictures, and about 2 inches more for each further column.

    Example:
        >>> import seefar
        >>> test = seefar.load_data("shapes").test
        >>> mistake = seefar.Mistake(index=3, true=1, predicted=2, confidence=0.8, true_probability=0.1, loss=2.3)
        >>> figure = seefar.plot_mistakes([mistake], test)
        >>> [text.get_text() for text in figure.texts[1:]]
        ['triangle 10.0%', '→ square 80.0%', 'test image 3']
    """
    count = len(mistakes)
    columns = min(max(count, 1), 2) if count <= TWO_COLUMNS else round(count**0.5)
    rows = -(-count // columns)
    width = max(columns * (PANEL + GAP) - GAP, 2 * PANEL + GAP) + 2 * MARGIN
    head = wrap("true \N{RIGHTWARDS ARROW} predicted class, each with its probability", width - 2 * MARGIN)
    begin = MARGIN + text_height(len(head), NORMAL) + BETWEEN_ROWS
    figure = new_figure(width, begin + rows * (WORDS + PANEL + BETWEEN_ROWS) - BETWEEN_ROWS * bool(rows) + MARGIN)
    text(figure, MARGIN, MARGIN, "\n".join(head), color=QUIET)
    for number, mistake in enumerate(mistakes):
        row, column = divmod(number, columns)
        left, top = MARGIN + column * (PANEL + GAP), begin + row * (WORDS + PANEL + BETWEEN_ROWS)
        _words(figure, left, top, mistake, split)
        show_image(canvas(figure), split.images[mistake.index], square(left, top + WORDS, PANEL))
    return figure


def _words(figure: Figure, left: float, top: float, mistake: Mistake, split: Split) -> None:
    """Three lines above a picture, each cut where the next picture begins."""
    most, line = PANEL + GAP - 0.1, text_height(1, NORMAL)
    true, predicted = split.classes[mistake.true], f"\N{RIGHTWARDS ARROW} {split.classes[mistake.predicted]}"
    text(figure, left, top, shorten(true, most, end=f" {mistake.true_probability:.1%}"))
    named = shorten(predicted, most, bold=True, end=f" {mistake.confidence:.1%}")
    text(figure, left, top + line, named, weight="bold")
    text(figure, left, top + 2 * line, shorten(where(mistake, split), most, SMALL), SMALL, color=QUIET)


def where(mistake: Mistake, split: Split) -> str:
    """Which image of the data set a mistake is: the file it was read from, if it was, and its number."""
    number = f"test image {mistake.index}"
    return number if split.files is None else f"{split.files[mistake.index]}, {number}"
