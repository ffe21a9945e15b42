from __future__ import annotations

import warnings

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from seefar.report import style
from seefar.report.style import MISSING, new_figure, place, shorten, text, text_width, wrap


@pytest.mark.parametrize("name", ["\udcff", "\x07", "\U0010fffd"])
def test_letters_that_no_font_has_are_boxes_and_warned_of_once(name: str) -> None:
    style._fonts.cache_clear()
    figure = new_figure(4, 2)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("default")  # as for users; and matplotlib itself has nothing to warn of
        for other in ("a", "b", "\ue123"):
            assert text(figure, 0.5, 0.5, other + name)[0].get_text()[-1] == MISSING
        FigureCanvasAgg(figure).draw()
    assert [str(warning.message)[:21] for warning in warned] == ["No installed font has"]


@pytest.mark.parametrize("bold", [False, True])
@pytest.mark.parametrize("words", ["the quick brown fox jumps over the lazy dog " * 3, "w" * 100])
def test_wrapped_lines_fit_as_drawn(words: str, bold: bool) -> None:
    lines = wrap(words, 1.5, 9, bold=bold)
    assert "".join(lines).replace(" ", "") == words.replace(" ", "")
    figure = new_figure(4, 4)
    drawn = text(figure, 0.5, 0.5, "\n".join(lines), 9, weight="bold" if bold else "normal")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [line.get_window_extent() for line in drawn]
    assert max(box.width for box in boxes) <= 1.5 * figure.dpi
    assert (0.5 + style.text_height(len(lines), 9)) * figure.dpi >= 4 * figure.dpi - min(box.y0 for box in boxes)


def test_long_texts_end_with_an_ellipsis() -> None:
    assert shorten("dog", 1.0) == "dog"
    assert shorten("w" * 60, 1.0).endswith("w…")
    assert text_width(shorten("w" * 60, 1.0)) <= 1.0
    lines = wrap("one two three four five six seven eight nine ten", 0.8, most=2)
    assert len(lines) == 2
    assert lines[1].endswith("…")


def test_axes_are_placed_in_inches_from_the_upper_left() -> None:
    box = place(new_figure(4, 2), 0.5, 0.25, 1.0, 0.5).get_window_extent()
    assert [round(number / style.DPI, 6) for number in (box.x0, box.y0, box.x1, box.y1)] == [0.5, 1.25, 1.5, 1.75]
