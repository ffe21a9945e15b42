from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.transforms import Bbox
from PIL import Image
from report_content import make_content

from seefar import plot_history, plot_map, plot_maps, plot_mistakes
from seefar.data import Data
from seefar.errors import ChoiceError, RunError
from seefar.evaluation.mistakes import Mistake
from seefar.explanation.explain import Explanation
from seefar.maps.grid import Grid
from seefar.report.figures import OVERLAY_COLOURS, OVERLAY_OPACITY, overlay, plot_gradcam_grid
from seefar.report.style import save_figure
from seefar.training.state import HistoryRow


def mistakes(count: int) -> list[Mistake]:
    return [Mistake(index, 1, 2, 0.876, 0.1, 2.3) for index in range(count)]


def explained(predicted: np.ndarray, true: np.ndarray) -> Explanation:
    """The first mistakes of a made-up report, with these maps; hidden are rows 8 to 19, columns 4 to 15."""
    made = make_content(3).explanation
    some = made.of(made.mistakes[: len(predicted)])
    maps = {"predicted": predicted, "true": true, "contrast": predicted - true}
    return replace(some, mistakes=mistakes(len(predicted)), hide="grey", **maps)


def on_canvas(figure: Figure, *labels: str) -> list[AxesImage]:
    """What is drawn on the canvas, or what of it has one of these labels."""
    drawn = [image for axes in figure.axes if axes.get_label() == "canvas" for image in axes.images]
    return [image for image in drawn if not labels or image.get_label() in labels]


def pictures(figure: Figure) -> list[AxesImage]:
    """All that is drawn on the canvas but the colour bars."""
    return [image for image in on_canvas(figure) if image.get_label() != "scale"]


def places(figure: Figure) -> list[tuple[float, ...]]:
    """Where pictures are: left, right, bottom and top in inches from the upper left corner."""
    return [tuple(image.get_extent()) for image in pictures(figure)]


def painted(image: np.ndarray, share: float) -> np.ndarray:
    """The colours of pixels whose evidence is this share of the scale: RdBu_r over light grey, 0 to 255."""
    grey = (image.mean(-1, keepdims=True) + 110) / 365
    cover = 0.8 * abs(share) ** 0.5
    return 255 * (cover * np.array(colormaps["RdBu_r"]((1 + share) / 2)[:3]) + (1 - cover) * grey)


def words_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def assert_nothing_overlaps(figure: Figure) -> None:
    """No text lies on another, on an image, or outside of the figure."""
    FigureCanvasAgg(figure).draw()
    boxes = [text.get_window_extent() for text in figure.texts if text.get_text().strip()]
    images = [box_of(figure, tuple(image.get_extent())) for image in on_canvas(figure)]
    for one, other in [*combinations(boxes, 2), *((box, image) for box in boxes for image in images)]:
        wide = min(one.x1, other.x1) - max(one.x0, other.x0)
        high = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert wide <= 0.5 or high <= 0.5, (one, other)
    for box in [*boxes, *images]:
        assert min(box.x0, box.y0, figure.bbox.x1 - box.x1, figure.bbox.y1 - box.y1) >= 0


def box_of(figure: Figure, place: tuple[float, ...]) -> Bbox:
    """A place in pixels from the lower left corner."""
    left, right, bottom, top = (figure.dpi * edge for edge in place)
    return Bbox.from_extents(left, figure.bbox.y1 - bottom, right, figure.bbox.y1 - top)


def history(rows: int) -> list[HistoryRow]:
    return [HistoryRow(step, 1 + (step - 1) // 10, step, 32, 0.1, 2.5 / step, step / 50) for step in range(1, rows + 1)]


def test_the_loss_graph_shows_every_logged_step() -> None:
    """A known mistake: a curve of the last part only."""
    rows = [replace(row, image_size=24 if row.step < 20 else 32) for row in history(40)]
    rows[19], rows[39] = (replace(rows[at], held_out_accuracy=share) for at, share in ((19, 0.5), (39, 0.7)))
    figure = plot_history(rows, test_accuracy=0.75)
    loss, rate, size, accuracy = figure.axes
    x, y = loss.lines[0].get_data()
    np.testing.assert_allclose(x, np.arange(1, 41) / 10)  # epochs, fractional
    np.testing.assert_allclose(y, 2.5 / np.arange(1, 41))
    training, held_out, test = (np.asarray(line.get_data()).T.tolist() for line in accuracy.lines)
    assert training[-1] == pytest.approx([4.0, 80.0])
    assert held_out == [[2, 50], [4, 70]]
    assert test == [[4.0, 75.0]]
    assert [text.get_text() for text in accuracy.texts] == ["test\n75.00%"]
    assert set(rate.lines[0].get_ydata()) == {0.1}
    assert list(size.lines[0].get_ydata()) == 19 * [24] + 21 * [32]
    assert len(plot_history(history(40)).axes) == 3  # no panel of a size that does not change
    assert_nothing_overlaps(figure)


def test_epochs_are_counted_by_the_rows_that_end_one() -> None:
    rows = [replace(row, epoch_accuracy=0.5 if row.step == 10 else None) for row in history(15)]
    assert np.asarray(plot_history(rows).axes[0].lines[0].get_xdata()).max() == 1.5
    (one,) = history(1)
    assert plot_history([one]).axes[0].lines[0].get_marker() == "o"  # a line of one point would show nothing
    with pytest.raises(RunError, match="without a row"):
        plot_history([])


@pytest.mark.parametrize(("count", "columns", "rows"), [(0, 0, 0), (1, 1, 1), (10, 2, 5), (20, 4, 5)])
def test_ten_mistakes_form_a_grid_of_5x2(shapes: Data, count: int, columns: int, rows: int) -> None:
    figure = plot_mistakes(mistakes(count), shapes.test)
    assert_nothing_overlaps(figure)
    assert len({round(left, 6) for left, *_ in places(figure)}) == columns
    assert len({round(top, 6) for *_, top in places(figure)}) == rows
    for index, picture in enumerate(pictures(figure)):
        np.testing.assert_array_equal(picture.get_array(), shapes.test.images[index])


def test_a_row_shows_the_image_three_maps_on_one_scale_and_the_image_without_its_evidence(shapes: Data) -> None:
    predicted, true = np.zeros((2, 8, 8)), np.zeros((2, 8, 8))
    predicted[0, 2, 5], true[0, 6, 1], true[1, 0, 0] = 4.0, -7.0, 1.5
    figure = plot_maps(explained(predicted, true), shapes.test)
    assert len(places(figure)) == 2 * 5
    # As it is, signed, on a scale to 7; cell 5 lies on the pixels 20 to 23.
    maps = [np.asarray(image.get_array(), float) for image in on_canvas(figure, "map")]
    assert len(maps) == 2 * 3
    for_predicted, for_true = maps[1:3]
    wanted = np.broadcast_to(painted(shapes.test.images[0], 0.0), (32, 32, 3)).copy()
    wanted[8:12, 20:24] = painted(shapes.test.images[0, 8:12, 20:24], 4 / 7)
    np.testing.assert_allclose(for_predicted, wanted, atol=0.51)
    np.testing.assert_allclose(for_true[24:28, 4:8], painted(shapes.test.images[0, 24:28, 4:8], -1.0), atol=0.51)
    ends = [word for word in words_of(figure) if word[0] in "+\N{MINUS SIGN}"]
    assert ends == ["+7", "\N{MINUS SIGN}7", "+1.5", "\N{MINUS SIGN}1.5"]
    named = [word for word in words_of(figure) if word.startswith(("why", "not", "for"))]
    assert named[:4] == ["why square", "not triangle", "for square", "for triangle"]
    covered = pictures(figure)[4].get_array()
    assert (covered[8:20, 4:16] == 128).all()
    np.testing.assert_array_equal(covered[20:], shapes.test.images[0, 20:])


def test_the_border_of_the_hidden_pixels_is_drawn_on_the_image(shapes: Data) -> None:
    flat = np.zeros((1, 8, 8))
    figure = plot_maps(explained(flat, flat), shapes.test)
    under, over = figure.axes[0].collections[:2]
    left, right, _, top = places(figure)[0]
    pixels = 32 * (np.array(over.get_segments()) - (left, top)) / (right - left)  # (lines, ends, column and row)
    assert len(pixels) == len(under.get_segments()) == 2 * (12 + 12)  # rows 8 to 19, columns 4 to 15
    assert np.unique(pixels[..., 0].round(6)).tolist() == list(range(4, 17))
    assert np.unique(pixels[..., 1].round(6)).tolist() == list(range(8, 21))


LONG = "bernese mountain dog of the northern valleys, long-haired, grey"
NAMES = ["$a_b$", r"$\x$", "<b>", "Dachshündin", LONG, "w" * 60, "two\nlines", "a_{$", "%s {0}", "german shepherd"]


@pytest.mark.parametrize("first", [0, 4, 6])
def test_any_class_name_and_a_flat_map_are_drawn_and_nothing_overlaps(shapes: Data, first: int) -> None:
    files = tuple(f"test/cat/{number:04}.jpg" for number in range(150))
    test = replace(shapes.test, classes=tuple(NAMES[first:] + NAMES[:first]), files=files)
    flat = explained(np.zeros((1, 8, 8)), np.zeros((1, 8, 8)))
    for plot in (plot_maps, plot_gradcam_grid):
        assert_nothing_overlaps(plot(flat, test))
        assert_nothing_overlaps(plot(flat.of([]), test))
    figure = plot_mistakes(mistakes(2), test)
    assert_nothing_overlaps(figure)
    assert words_of(figure)[-1] == "test/cat/0001.jpg, test image 1"


def test_a_saved_figure_is_opaque(shapes: Data, tmp_path: Path) -> None:
    save_figure(plot_mistakes([], shapes.test), tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as picture:
        assert picture.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)


def test_only_evidence_for_the_class_is_coloured() -> None:
    image = np.full((2, 4, 3), 100, np.uint8)
    grid = Grid((1, 2), spacing=2.0, origin=0.5)
    painted = overlay(image, np.array([[4.0, -4.0]]), 4.0, grid)
    top = np.array(colormaps[OVERLAY_COLOURS](1.0)[:3])
    expected = (255 * (OVERLAY_OPACITY * top + (1 - OVERLAY_OPACITY) * 100 / 255)).round()
    assert (painted[:, 0] == expected).all()  # the cell with the most evidence
    assert (painted[:, 3] == 100).all()  # evidence against the class: the image itself


@pytest.mark.parametrize("shape", [(40, 60), (60, 40)])
def test_the_outline_and_the_colours_are_where_the_evidence_is(shape: tuple[int, int]) -> None:
    picture = np.full((*shape, 3), 200, np.uint8)
    map_ = np.zeros((shape[0] // 4, shape[1] // 4), np.float32)
    map_[1:4, 1:3], map_[-3:, -3:] = 1.0, -1.0
    figure = plot_map(picture, map_, title="cat")
    (shown,) = on_canvas(figure, "map")
    pixels = np.asarray(shown.get_array(), dtype=np.int64)
    assert pixels.shape == (*shape, 3)
    assert pixels[8, 8, 0] > pixels[8, 8, 2] + 50  # red
    assert pixels[-4, -4, 2] > pixels[-4, -4, 0] + 50  # blue
    left, right, bottom, top = shown.get_extent()
    assert (right - left) / (bottom - top) == pytest.approx(shape[1] / shape[0])
    assert_nothing_overlaps(figure)


@pytest.mark.parametrize(("picture", "map_"), [((1, 32, 32, 3), (8, 8)), ((32, 32, 3), (1, 8, 8))])
def test_only_one_picture_and_one_map_are_accepted(picture: tuple[int, ...], map_: tuple[int, ...]) -> None:
    with pytest.raises(ChoiceError):
        plot_map(np.zeros(picture, np.uint8), np.zeros(map_))
