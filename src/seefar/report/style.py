"""Style and files of all figures: one font, sizes in points, positions in inches, text in any script.

Everything is placed in inches from the upper left corner, so the layout of a hundred rows is as fast as that of ten.
Text is measured before it is drawn, so that none overlaps. `rcParams` change only while a figure is saved.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache, lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager, get_font
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

from seefar.errors import ChoiceError
from seefar.runs.files import check_place, written_beside

DPI = 120
LARGE, NORMAL, SMALL = 12.0, 9.0, 8.0  # points
LINE_HEIGHT, BASELINE = 1.3, 0.92  # in font sizes, from the top of a line
INK, QUIET, PALE = "#1c1f24", "#5c6470", "#d5d9de"
ACCENT, ORANGE, RED = "#0a6b66", "#d9730d", "#b2182b"
NEUTRAL = "#6f7b87"
FAULT_COLOURS = {"label": RED, "ambiguous": "#b35900", "hard": "#5e5a53", "model": ACCENT, "unknown": NEUTRAL}
"""One colour for each cause, the same as on the page. Red and blue of maps are for evidence only."""
BADGE_COLOURS = {"good": "#1a7f37", "fair": ORANGE, "poor": RED}
SIGNED_COLOURS = "RdBu_r"  # perceptual and diverging: red is positive, blue negative, white zero
FONT = "DejaVu Sans"  # part of matplotlib, so a figure looks the same on every machine
MISSING = "\N{WHITE SQUARE}"

Box = tuple[float, float, float, float]
"""Left, top, width and height of axes, in inches from the upper left corner of the figure."""
Extent = tuple[float, float, float, float]
"""Left, right, bottom and top of an image on the canvas, in inches."""
Paragraph = tuple[list[str], float, str, bool]
"""Lines, font size, colour, and whether they are bold."""
Block = list[Paragraph]
"""Paragraphs from top to bottom."""


class NotebookFigure(Figure):
    """A matplotlib Figure that a notebook shows without pyplot and without a magic command.

    Text is drawn without hinting, which takes a third of the time of a figure with many words.
    """

    def savefig(self, *arguments: Any, **options: Any) -> None:
        """As matplotlib's."""
        with matplotlib.rc_context({"text.hinting": "none"}):
            super().savefig(*arguments, **options)

    def _repr_png_(self) -> bytes:
        picture = BytesIO()
        self.savefig(picture, format="png", facecolor="white")
        return picture.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """An empty figure on opaque white, width x height in inches, to be filled by `place` and `text`."""
    return NotebookFigure(figsize=(width, height), dpi=DPI, facecolor="white")


def place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a position in the figure, in inches from its upper left corner."""
    all_width, all_height = figure.get_size_inches()
    below = 1 - (top + height) / all_height
    return figure.add_axes((left / all_width, below, width / all_width, height / all_height), facecolor="white")


def canvas(figure: Figure) -> Axes:
    """Axes over the full figure, in inches, shared by all images: creating axes takes longer than drawing an image."""
    for axes in figure.axes:
        if axes.get_label() == "canvas":
            return axes
    width, height = figure.get_size_inches()
    axes = figure.add_axes((0, 0, 1, 1), label="canvas", autoscale_on=False, xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return axes


def inside(left: float, top: float, side: float, shape: Sequence[int]) -> Extent:
    """The extent of an image of this height and width on the canvas, in the middle of a square."""
    height, width = (length / max(shape[:2]) * side for length in shape[:2])
    left, top = left + (side - width) / 2, top + (side - height) / 2
    return left, left + width, top + height, top


def text(figure: Figure, left: float, top: float, words: str, size: float = NORMAL, **style: Any) -> list[Text]:
    """Lines of text at a position in inches, each drawn by itself: baselines of neighbouring columns are level."""
    width, height = figure.get_size_inches()
    style = {"color": INK, "va": "baseline", **style}
    lines = words.split("\n")
    levels = [1 - (top + text_height(number, size) + BASELINE * size / 72) / height for number in range(len(lines))]
    return [
        figure.text(left / width, level, drawable(line), fontsize=size, **plain(line), **style)
        for line, level in zip(lines, levels, strict=True)
    ]


def plain(words: str) -> dict[str, Any]:
    """Arguments with which matplotlib draws `drawable(words)` literally: no mathematics, and fonts with all letters."""
    return {"parse_math": False, "fontfamily": list(_fonts(words)[0])}


def drawable(words: str) -> str:
    """The words with a box in place of each character that no installed font has, with one warning."""
    missing = _fonts(words)[1]
    return "".join(MISSING if character in missing else character for character in words)


def wrap(words: str, width: float, size: float = NORMAL, *, bold: bool = False, most: int | None = None) -> list[str]:
    """Lines no wider than `width` inches, broken between words, or within one that is too long.

    Of more than `most` lines the last one ends with an ellipsis.
    """
    lines: list[str] = []
    for word in words.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size, bold) <= width:
            lines[-1] = longer
            continue
        if text_width(word, size, bold) <= width:
            lines.append(word)
            continue
        lines.append("")
        for character in word:
            if lines[-1] and text_width(lines[-1] + character, size, bold) > width:
                lines.append("")
            lines[-1] += character
    if most is not None and len(lines) > most:
        return [*lines[: most - 1], shorten(" ".join(lines[most - 1 :]), width, size, bold=bold)]
    return lines


def shorten(words: str, width: float, size: float = NORMAL, *, bold: bool = False, end: str = "") -> str:
    """The words and `end` on one line of at most `width` inches; an ellipsis replaces the rest of the words."""
    words = " ".join(words.split())
    if text_width(words + end, size, bold) <= width:
        return words + end
    end = "\N{HORIZONTAL ELLIPSIS}" + end
    while words and text_width(words + end, size, bold) > width:
        words = words[:-1].rstrip()
    return words + end


def text_width(words: str, size: float = NORMAL, bold: bool = False) -> float:
    """How wide a line of text is, in inches."""
    points = sum(_advance(character, bold) for character in drawable(words)) * size
    return points / 72 * 1.02  # the renderer moves letters to integer pixels


@lru_cache(maxsize=4096)
def _advance(character: str, bold: bool) -> float:
    """Width of a letter in font sizes; adding these up is much faster than a layout of each line."""
    fonts, _ = _fonts(character)
    font = FontProperties(family=list(fonts), size=1.0, weight="bold" if bold else "normal")
    between, beside = (
        text_to_path.get_text_width_height_descent(words, font, False)[0] for words in (f"|{character}|", "||")
    )
    return float(between - beside)


def paragraph(
    words: str, width: float, size: float = NORMAL, colour: str = INK, *, bold: bool = False, most: int | None = None
) -> Paragraph:
    """Words as lines of at most `width` inches, see `wrap`."""
    return wrap(words, width, size, bold=bold, most=most), size, colour, bold


def block_height(block: Block) -> float:
    """How high paragraphs are, in inches."""
    return sum(text_height(len(lines), size) + 0.04 for lines, size, _, _ in block)


def write_block(figure: Figure, left: float, top: float, block: Block) -> None:
    """Draw paragraphs at a position in the figure, in inches from its upper left corner."""
    for lines, size, colour, bold in block:
        text(figure, left, top, "\n".join(lines), size, color=colour, weight="bold" if bold else "normal")
        top += text_height(len(lines), size) + 0.04


def text_height(lines: int, size: float = NORMAL) -> float:
    """How high some lines of text are, in inches."""
    return lines * size * LINE_HEIGHT / 72


def bare(axes: Axes) -> None:
    """Draw the axes without a frame, with labels and ticks in quiet colours and a pale grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PALE)
    axes.tick_params(colors=QUIET, labelsize=SMALL, length=3, color=PALE)
    axes.grid(color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)


@lru_cache(maxsize=4096)
def _fonts(words: str) -> tuple[tuple[str, ...], frozenset[str]]:
    """The usual font and installed fonts that have the other characters; and the characters that none has."""
    fonts, missing = [FONT], frozenset(words) - _characters(FONT)
    for family in sorted(_files()) if missing else ():
        if missing & _characters(family):
            fonts.append(family)
            missing -= _characters(family)
    if missing:  # a constant text, so that Python shows it once
        text = f"No installed font has all letters of the names: figures show {MISSING} for the others."
        warnings.warn(text, stacklevel=2)
    return tuple(fonts), missing


@lru_cache
def _files() -> dict[str, str]:
    """The file of the usual font and of those installed; other fonts of matplotlib have symbols instead of letters."""
    ours = Path(matplotlib.get_data_path())
    usual = {entry.name: entry.fname for entry in fontManager.ttflist if entry.style == "normal"}
    installed = {name: file for name, file in usual.items() if ours not in Path(file).parents and name[0] != "."}
    return {**installed, FONT: fontManager.findfont(FontProperties(family=[FONT]))}


@cache
def _characters(family: str) -> frozenset[str]:
    """The characters of a font; none for fonts of bitmaps, such as coloured emoji, which cannot be drawn."""
    try:
        font = get_font(_files()[family])
    except (OSError, RuntimeError):
        return frozenset()
    return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()


OPTIONS: dict[str, dict[str, Any]] = {
    # Level 3 instead of 6 takes two thirds of the time; the file is 7% larger.
    ".png": {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": 3}},
    ".pdf": {"metadata": {"CreationDate": None}},
    ".svg": {"metadata": {"Date": None}},
}
"""Suffixes of the files that a figure can be saved to, and the options of each format."""


def check_figure(path: Path) -> None:
    """Refuse, before any work, a path that no figure can be saved to."""
    if path.suffix.lower() not in OPTIONS:
        ending = f"the ending {path.suffix!r}" if path.suffix else "no ending"
        raise ChoiceError(f"{path} has {ending}: choose a file for the figure that ends with {' or '.join(OPTIONS)}.")
    if path.is_dir():
        raise ChoiceError(f"{path} is a folder: choose a file for the figure.")
    check_place(path.parent)


def save_figure(figure: Figure, path: Path) -> None:
    """Save a figure as PNG, PDF or SVG, atomically; the same figure gives the same bytes."""
    with written_beside(path) as beside, matplotlib.rc_context({"svg.hashsalt": "seefar"}):
        figure.savefig(beside, facecolor="white", **OPTIONS[path.suffix.lower()])
