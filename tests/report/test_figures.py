from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seefar import plot_history, plot_maps, plot_mistakes
from seefar.data import Data
from seefar.evaluation.evaluate import evaluate
from seefar.evaluation.mistakes import Mistake
from seefar.explanation.explain import Explanation, explain
from seefar.explanation.health import Health
from seefar.explanation.repair import Rate, Repair, RepairRates
from seefar.maps.grid import Grid
from seefar.report.draw import draw_figures
from seefar.training.history import HistoryRow
from seefar.training.run import Run


def drawn(figure: Figure) -> np.ndarray:
    """The figure as pixels, (H, W, 3), as it is saved."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def mistakes(count: int) -> list[Mistake]:
    return [Mistake(index, 1, 2, 0.876, 0.1, 2.3) for index in range(count)]


def with_images(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.images]


def test_the_loss_graph_shows_every_logged_step() -> None:
    """A known mistake: a curve of the last part only."""
    history = [HistoryRow(step, 1 + (step - 1) // 10, step, 32, 0.1, 2.5 / step, step / 50) for step in range(1, 41)]
    figure = plot_history(history, test_accuracy=0.75)
    loss, accuracy = figure.axes
    x, y = loss.lines[0].get_data()
    np.testing.assert_allclose(x, np.arange(1, 41) / 10)  # epochs, fractional
    np.testing.assert_allclose(y, 2.5 / np.arange(1, 41))
    np.testing.assert_allclose(accuracy.lines[0].get_ydata(), np.arange(1, 41) * 2)
    assert np.asarray(accuracy.lines[-1].get_data()).ravel().tolist() == [4.0, 75.0]


def test_ten_mistakes_fill_five_rows_of_two_with_both_classes(shapes: Data) -> None:
    figure = plot_mistakes(mistakes(10), shapes.test)
    axes = figure.axes
    assert axes[0].get_gridspec() is not None
    assert axes[0].get_gridspec().get_geometry() == (5, 2)
    titles = [f"{shapes.classes[1]} → {shapes.classes[2]}, 87.6%\ntest image {index}" for index in range(10)]
    assert [a.get_title() for a in axes] == titles
    for index, one in enumerate(axes):
        np.testing.assert_array_equal(one.images[0].get_array(), shapes.test.images[index])


def explanation(contrast: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> Explanation:
    """Of as many mistakes as there are maps; all made up."""
    count = len(contrast)
    repair = Repair("other", 0.1, (4, 8, 12, 20), 0.5, 3, 0.625, 0.876, 0.2, 0.1, 0.15, None)
    none = Rate(0, None, None)
    hidden = np.zeros((count, 32, 32), bool)
    hidden[:, 4:12, 8:20] = True
    return Explanation(
        mistakes=mistakes(count),
        contrast=contrast.astype(np.float32),
        predicted=predicted.astype(np.float32),
        true=true.astype(np.float32),
        hidden=hidden,
        repairs=[repair] * count,
        health=[Health("fair", ("something",))] * count,
        rates=RepairRates(none, none, none, 1.0, 1.0, none, none),
        method="gradcam",
        layer=None,
        hide="grey",
        grid=Grid((8, 8), 4.0, 1.5),
    )


def test_a_row_shows_the_image_three_maps_on_one_scale_and_the_image_without_its_evidence(shapes: Data) -> None:
    predicted, true = np.zeros((2, 8, 8)), np.zeros((2, 8, 8))
    predicted[0, 2, 5], true[0, 6, 1], true[1, 0, 0] = 4.0, -7.0, 1.5
    figure = plot_maps(explanation(predicted - true, predicted, true), shapes.test)
    panels = with_images(figure)
    assert len(panels) == 2 * 5
    maps = [axes.images[1] for axes in panels if len(axes.images) == 2]
    assert [image.get_clim() for image in maps] == [(-7.0, 7.0)] * 3 + [(-1.5, 1.5)] * 3
    # As it is, signed; cell 5 lies on the pixels 20 to 23.
    drawn_map = maps[1].get_array()
    assert (drawn_map != 0).sum() == 16
    assert (drawn_map[8:12, 20:24] == 4.0).all()
    assert [axes.get_title() for axes in panels[:5]] == [
        "image",
        f"why {shapes.classes[2]}, not {shapes.classes[1]}",
        f"for {shapes.classes[2]} (predicted)",
        f"for {shapes.classes[1]} (true)",
        f"hidden: {shapes.classes[3]}, 62.5%",
    ]
    covered = panels[4].images[0].get_array()
    assert (covered[4:12, 8:20] == 128).all()
    np.testing.assert_array_equal(covered[12:], shapes.test.images[0, 12:])


def test_evidence_for_is_red_and_evidence_against_is_blue(shapes: Data) -> None:
    maps = np.ones((1, 8, 8))
    maps[:, :, 4:] = -1.0
    figure = plot_maps(explanation(maps, maps, maps), shapes.test)
    pixels = drawn(figure).astype(int)
    axes = next(a for a in with_images(figure) if len(a.images) == 2)
    box = axes.get_window_extent()
    rows = slice(round(len(pixels) - box.y1), round(len(pixels) - box.y0))
    quarter = (box.x1 - box.x0) / 4
    left = pixels[rows, round(box.x0 + quarter)].mean(0)
    right = pixels[rows, round(box.x0 + 3 * quarter)].mean(0)
    assert left[0] > left[2] + 30
    assert right[2] > right[0] + 30


def test_flat_maps_and_no_mistakes_are_drawn_too(shapes: Data) -> None:
    flat, none = np.zeros((1, 8, 8)), np.zeros((0, 8, 8))
    drawn(plot_maps(explanation(flat, flat, flat), shapes.test))
    drawn(plot_maps(explanation(none, none, none), shapes.test))
    drawn(plot_mistakes([], shapes.test))
    drawn(plot_mistakes(mistakes(3), shapes.test))


def test_the_ground_is_opaque_white(run: Run, shapes: Data) -> None:
    evaluation = evaluate(run.model, shapes.test)
    paths = draw_figures(
        run, shapes.test, evaluation, explain(run, shapes.test, evaluation).of(evaluation.mistakes[:10])
    )
    assert [path.name for path in paths] == ["history.png", "mistakes.png", "maps.png"]
    from PIL import Image

    for path in paths:
        with Image.open(path) as picture:
            assert picture.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)
            assert min(picture.size) >= 400
