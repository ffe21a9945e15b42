"""seefar predict: a trained network's answers for pictures of one's own, with maps and what hiding evidence does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from seefar.choices import MapChoices
from seefar.cli.options import JsonOutput, RunName
from seefar.names import DeviceName

if TYPE_CHECKING:
    from seefar.explanation.pictures import PicturePrediction


@dataclass(frozen=True)
class Predict:
    """Predict pictures of any size and mode: class, runner-up, why the one and not the other, evidence hidden."""

    run: RunName
    """Run folder: a path, or a bare name under runs/."""
    pictures: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PICTURE [PICTURE ...]")]
    """Picture files, and folders of them."""
    out: Path | None = None
    """Folder for a figure of each picture. Default: predictions/ and the run's name."""
    device: DeviceName = "auto"
    """Where to compute."""
    maps: MapChoices = field(default_factory=MapChoices)
    output: JsonOutput = field(default_factory=JsonOutput)

    def __call__(self, words: Sequence[str]) -> None:
        """Predict what can be read, draw and print it; then name all files that cannot be read."""
        from seefar.artifacts import measured_grid
        from seefar.data.pictures import read_pictures, unreadable
        from seefar.explanation.explainer import Explainer, normalise_map_settings
        from seefar.explanation.pictures import explain_pictures
        from seefar.progress import SILENT, showing
        from seefar.report.figures import plot_picture
        from seefar.report.style import save_figure
        from seefar.runs.files import check_place
        from seefar.training.run import load_run

        run = load_run(self.run, self.device)
        folder = self.out or Path("predictions") / run.folder.path.resolve().name
        check_place(folder)
        settings = normalise_map_settings(run.model, run.image_size, self.maps)
        explainer = Explainer(run.model, settings, measured_grid(run, settings))
        with showing(SILENT if self.output.quiet else None) as shown:
            read = read_pictures(self.pictures, run.image_size, shown)
            found = explain_pictures(explainer, read.names, read.pictures, run.classes, shown)
            figures = _figure_paths(folder, read.names)
            for number, (one, figure) in enumerate(zip(found, figures, strict=True)):
                save_figure(figure, plot_picture(one))
                shown.update("drawing pictures", number + 1, len(found))
        if self.output.json:
            rows = [{**one.summary(), "figure": str(figure)} for one, figure in zip(found, figures, strict=True)]
            print(json.dumps({"pictures": rows, "unreadable": read.bad}, indent=2))
        else:
            for one, figure in zip(found, figures, strict=True):
                _print(one, figure)
        if read.bad:
            raise unreadable(read.bad, len(read.bad) + len(read.names))


def _print(prediction: PicturePrediction, figure: Path) -> None:
    from seefar.output import printable

    print(f"{printable(prediction.file)}: {prediction.describe()}")
    print(f"  {prediction.picture.describe()}")
    print(f"  {prediction.sentence()}")
    print(f"  map: {'; '.join((prediction.health.badge, *prediction.health.reasons))}")
    print(f"  {printable(str(figure))}")


def _figure_paths(folder: Path, names: Sequence[str]) -> list[Path]:
    """A figure for each picture, named after its file; of pictures of the same name, each after the first numbered."""
    taken: set[str] = set()
    paths = []
    for name in names:
        stem, number = Path(name).stem, 1
        while (own := stem if number == 1 else f"{stem}-{number}").lower() in taken:
            number += 1
        taken.add(own.lower())
        paths.append(folder / f"{own}.png")
    return paths
