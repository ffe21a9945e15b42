"""What the app works on: a network, images to look at, the canvas that they are painted on, the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from seefar.data.images import Images, Split
from seefar.errors import DataError, RunError
from seefar.evaluation.mistakes import Mistake, find_mistakes
from seefar.evaluation.predictions import Predictions, predict
from seefar.explanation.explainer import normalise_map_settings
from seefar.explanation.pictures import measured_grid
from seefar.inputs import load_for
from seefar.maps.class_maps import class_maps
from seefar.maps.grid import Grid, grid_of
from seefar.model.inference import log_softmax
from seefar.model.resnet import ResNet18
from seefar.names import DeviceName
from seefar.progress import Progress, showing
from seefar.report.figures.mistakes import where
from seefar.report.figures.panels import PANEL, show_map, show_scale
from seefar.report.style import new_figure, place
from seefar.training.run import load_run

SIDE = 384  # pixels on a side of the canvas, or a little less: a whole number for each pixel of the image


@dataclass(frozen=True)
class Studio:
    """What the app works on.

    Attributes:
        model: the network.
        classes: names of its K classes.
        image_size: height and width in pixels.
        grid: where the cells of its maps lie; None: as the network's form says.
        test: images to look at; None: only files that are dropped.
        mistakes: which of them, in order.
    """

    model: ResNet18
    classes: tuple[str, ...]
    image_size: int
    grid: Grid | None = None
    test: Split | None = None
    mistakes: Sequence[Mistake] = ()

    @property
    def canvas(self) -> int:
        """Pixels on a side of the canvas."""
        return SIDE // self.image_size * self.image_size

    def enlarge(self, image: Images) -> Image.Image:
        """An image as it lies on the canvas, its pixels as squares."""
        return Image.fromarray(image).resize((self.canvas, self.canvas), Image.Resampling.NEAREST)

    def reduce(self, canvas: Image.Image) -> Images:
        """The canvas as the network is given it; of a canvas without paint exactly the image."""
        small = canvas.convert("RGB").resize((self.image_size, self.image_size), Image.Resampling.BOX)
        return np.asarray(small)

    def on_canvas(self, image: Images) -> dict[str, Any]:
        """An image as the browser's canvas has it, without paint."""
        picture = self.enlarge(image)
        return {"background": picture, "layers": [], "composite": picture}

    def painted(self, canvas: dict[str, Any] | None, current: Images) -> Images | None:
        """The image with what is painted on it; None of a canvas that is not of the current image, or is no more there.

        The browser tells of strokes, and sometimes of none, a moment later: by then another picture may be shown.

        Args:
            canvas: pictures `background` and `composite`, or None in their places.
            current: the image that is shown.
        """
        if not canvas or canvas["background"] is None or not (self.reduce(canvas["background"]) == current).all():
            return None
        return self.reduce(canvas["composite"] or canvas["background"])

    def answer(self, image: Images) -> tuple[dict[str, float], Image.Image, str]:
        """Probabilities by class, a picture of the contrast map, and what it shows."""
        found = class_maps(self.model, image[None])
        probabilities = np.exp(log_softmax(found.logits))[0]
        first, second = (int(index) for index in np.argsort(-found.logits[0], kind="stable")[:2])
        contrast = found.contrast(first, second)[0]
        rows, columns = contrast.shape
        grid = self.grid or grid_of(self.model, (rows, columns), self.image_size)
        scale = max(float(np.abs(contrast).max()), 1e-12)
        figure = new_figure(PANEL + 0.8, PANEL + 0.1)
        show_map(place(figure, 0.02, 0.05, PANEL, PANEL), image, contrast, scale, grid)
        show_scale(figure, PANEL + 0.1, 0.05, PANEL, scale)
        words = f"Why {self.classes[first]}, not {self.classes[second]}, in logits: red for, blue against"
        return dict(zip(self.classes, probabilities.tolist(), strict=True)), _picture(figure), words

    def mistake(self, number: int) -> tuple[Images, str]:
        """The image of a mistake, and what the network takes it for."""
        assert self.test is not None
        one = self.mistakes[number % len(self.mistakes)]
        label, named = self.classes[one.true], self.classes[one.predicted]
        about = f"Mistake {number % len(self.mistakes) + 1} of {len(self.mistakes)}, {where(one, self.test)}: "
        return self.test.images[one.index], f"{about}labelled {label}, taken for {named} at {one.confidence:.1%}"


def _picture(figure: Figure) -> Image.Image:
    stored = BytesIO()
    figure.savefig(stored, format="png", facecolor="white", dpi=200)
    return Image.open(stored)


def open_studio(
    name: str | Path,
    *,
    device: DeviceName = "auto",
    data: str | None = None,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> tuple[Studio, str]:
    """A finished run with its mistakes, or without them where its data is not to be had; and its name.

    Args:
        name: the run folder: a path, or a bare name under `runs/`.
        device: where to compute.
        data: where the data lies now, see `seefar.inputs.load_for`.
        data_dir: likewise.
        progress: see `seefar.progress`.

    Raises:
        RunError: there is no finished run there.
    """
    run = load_run(name, device)
    grid = measured_grid(run, normalise_map_settings(run.model, run.image_size))
    studio = Studio(run.model, run.classes, run.image_size, grid)
    with showing(progress) as shown:
        try:
            test = load_for(run.recipe, data_dir, data, progress=shown).test
        except DataError as error:
            shown.line(f"There are no mistakes to look through: {error}")
            return studio, run.folder.path.resolve().name
        try:
            predictions = Predictions.load(run.folder.predictions)
        except RunError:
            predictions = None
        if predictions is None or not predictions.are_of(run.model, test):
            predictions = predict(run.model, test, progress=shown)
    return replace(studio, test=test, mistakes=find_mistakes(predictions)), run.folder.path.resolve().name
