"""The app: a trained network in the browser, with pictures to drop and to paint over."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from seefar.artifacts import PREDICTIONS, measured_grid, read_store
from seefar.choices import DeviceName, Fit
from seefar.data.images import Images, ImageSize, Split, both
from seefar.data.pictures import read_picture
from seefar.errors import DataError, missing_extra
from seefar.evaluation.mistakes import Mistake, find_mistakes
from seefar.evaluation.predictions import predict
from seefar.explanation.explain import normalise_map_settings
from seefar.maps.capture import grid_of
from seefar.maps.formulas import class_maps
from seefar.maps.grid import Grid
from seefar.model.inference import log_softmax
from seefar.model.resnet import ResNet18
from seefar.progress import Progress, showing
from seefar.report.figures import PANEL, show_map, show_scale, where
from seefar.report.style import new_figure, place
from seefar.training.run import load_for, load_run

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
        fit: how files of another shape are brought to the image size.
    """

    model: ResNet18
    classes: tuple[str, ...]
    image_size: ImageSize
    grid: Grid | None = None
    test: Split | None = None
    mistakes: Sequence[Mistake] = ()
    fit: Fit = "crop"

    @property
    def canvas(self) -> tuple[int, int]:
        """Width and height of the canvas in pixels."""
        height, width = both(self.image_size)
        factor = max(1, SIDE // max(height, width))
        return factor * width, factor * height

    def enlarge(self, image: Images) -> Image.Image:
        """An image as the canvas shows it, its pixels as squares."""
        return Image.fromarray(image).resize(self.canvas, Image.Resampling.NEAREST)

    def reduce(self, canvas: Image.Image) -> Images:
        """The canvas as the network is given it; of a canvas without paint exactly the image."""
        small = canvas.convert("RGB").resize(both(self.image_size)[::-1], Image.Resampling.BOX)
        return np.asarray(small)

    def on_canvas(self, image: Images) -> dict[str, Any]:
        """An image as the browser's canvas has it, without paint."""
        picture = self.enlarge(image)
        return {"background": picture, "layers": [], "composite": picture}

    def painted(self, canvas: dict[str, Any] | None, current: Images) -> Images | None:
        """The image with what is painted on it; None of a canvas that is not of the current image, or was removed.

        The browser tells of strokes, and sometimes of none, a moment later: by then another picture may be shown.
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

    Raises:
        RunError: the folder holds no finished run.
    """
    run = load_run(name, device)
    grid = measured_grid(run, normalise_map_settings(run.model, run.image_size))
    studio = Studio(run.model, run.classes, run.image_size, grid, fit=run.recipe.fit)
    with showing(progress) as shown:
        try:
            test = load_for(run.recipe, data_dir, data, progress=shown).test
        except DataError as error:
            shown.line(f"There are no mistakes to look through: {error}")
            return studio, run.folder.path.resolve().name
        saved = read_store(run, test).peek(PREDICTIONS)
        predictions = predict(run.model, test, progress=shown) if saved is None else saved.predictions
    return replace(studio, test=test, mistakes=find_mistakes(predictions)), run.folder.path.resolve().name


POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; worker-src 'self' blob:; base-uri 'self'; form-action 'self'"
)
"""The browser loads nothing from other hosts, whatever the page asks for."""
HEAD = "Paint over the picture, and the network answers again. Drop a file below it to open another one."


def load_gradio() -> Any:
    """The package gradio, with its telemetry off."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio
    except ImportError as error:
        raise missing_extra("app", "The app", error) from error
    return gradio


def make_app(studio: Studio, name: str) -> Any:
    """The app as a gradio `Blocks`, which `serve` runs.

    Raises:
        SeefarError: gradio is not installed.
    """
    gradio = load_gradio()
    blank = np.full((*both(studio.image_size), 3), 128, np.uint8)
    begin, about = studio.mistake(0) if studio.mistakes else (blank, "Drop a picture to begin.")

    def turn(number: int, step: int) -> tuple[Any, ...]:
        image, about = studio.mistake(number + step)
        return (number + step) % len(studio.mistakes), image, studio.on_canvas(image), about, *studio.answer(image)

    def opened(path: str | None) -> tuple[Any, ...]:
        if path is None:
            return (gradio.skip(),) * 6
        if not is_upload(path):
            raise gradio.Error("Only uploaded files can be opened.")
        try:
            picture = read_picture(path, studio.image_size, studio.fit)
        except DataError as error:
            raise gradio.Error(str(error).replace(path, os.path.basename(path))) from error
        about = f"{os.path.basename(path)}: {picture.describe()}"
        return picture.image, studio.on_canvas(picture.image), about, *studio.answer(picture.image)

    def painted(canvas: dict[str, Any] | None, current: Images) -> tuple[Any, ...]:
        image = studio.painted(canvas, current)
        return (gradio.skip(),) * 3 if image is None else studio.answer(image)

    with gradio.Blocks(title=f"seefar: {name}", analytics_enabled=False) as app:
        gradio.Markdown(f"# {name}\n{HEAD}")
        number, current = gradio.State(0), gradio.State(begin)
        with gradio.Row():
            with gradio.Column():
                told = gradio.Markdown(about, elem_id="about")
                canvas = make_canvas(studio, begin)
                with gradio.Row(visible=bool(studio.mistakes)):
                    previous, following = gradio.Button("Previous mistake"), gradio.Button("Next mistake")
                file = gradio.File(label="Another picture", height=120, elem_id="file")
            with gradio.Column():
                label = gradio.Label(num_top_classes=5, label="Answer", elem_id="answer")
                words = gradio.Markdown(elem_id="words")
                shown = gradio.Image(type="pil", label="Contrast map", show_label=False, buttons=[], elem_id="map")
        answers = [label, shown, words]
        quiet: dict[str, Any] = {
            "api_visibility": "private",
            "show_progress": "hidden",
            "concurrency_id": "answers",  # one at a time, or the answer to an older picture may come last
        }
        for button, step in ((previous, -1), (following, 1)):
            button.click(partial(turn, step=step), number, [number, current, canvas, told, *answers], **quiet)
        file.change(opened, file, [current, canvas, told, *answers], **quiet)
        canvas.input(painted, [canvas, current], answers, trigger_mode="always_last", **quiet)
        app.load(lambda: studio.answer(begin), None, answers, **quiet)
    return app


def make_canvas(studio: Studio, image: Images) -> Any:
    """The gradio component on which pictures are painted over, with an image on it."""
    gradio = load_gradio()
    return gradio.ImageEditor(
        studio.on_canvas(image),
        type="pil",
        image_mode="RGB",
        format="png",
        sources=(),
        transforms=(),
        layers=False,
        brush=gradio.Brush(default_size=24, colors=["#808080", "#000000", "#ffffff"]),
        canvas_size=studio.canvas,
        fixed_canvas=True,
        label="Picture",
        elem_id="canvas",
    )


def is_upload(path: str) -> bool:
    """Whether a path, which any visitor can send, is in the folder where gradio stores uploads."""
    uploads = os.environ.get("GRADIO_TEMP_DIR") or Path(tempfile.gettempdir()) / "gradio"
    return Path(path).resolve().is_relative_to(Path(uploads).resolve())


def make_site(app: Any, host: str) -> Any:
    """The ASGI application that serves the app.

    gradio accepts a path as input only if the file was uploaded, but it checks this only after `Blocks.launch`, which
    is not called here. Without the check, any visitor reads any file of this machine.

    Requests for other host names are refused, or a web page whose name resolves to this machine could use the app
    (DNS rebinding). Where `host` means all interfaces, any name may be right.
    """
    import gradio
    from fastapi import FastAPI, Request, Response
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    site = FastAPI(openapi_url=None)

    @site.middleware("http")  # type: ignore[untyped-decorator,unused-ignore]  # untyped where it is not installed
    async def with_policy(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    everywhere = host in ("0.0.0.0", "::")
    hosts = ["*"] if everywhere else ["localhost", "127.0.0.1", "[::1]", host, f"[{host}]"]
    site.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
    theme = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    app.has_launched = True
    gradio.mount_gradio_app(site, app, path="", theme=theme, footer_links=[], max_file_size="64mb")
    return site


def serve(app: Any, host: str = "127.0.0.1", port: int = 7860) -> None:
    """Run the app until it is interrupted; the page loads nothing from other hosts and sends nothing to any.

    At 127.0.0.1 only this machine can connect.
    """
    import uvicorn

    uvicorn.run(make_site(app, host), host=host, port=port, log_level="warning")
