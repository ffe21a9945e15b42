"""Commands for a trained network, or predictions, outside of the main job: predict, app, compare, triage, export."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

import seefar
from seefar.choices import Choices, MapChoices
from seefar.cli.commands import DataDir, Device, FitName, JsonOutput, OfRun, Output, RunName, Switch, begin
from seefar.cli.printing import print_comparison, print_prediction, print_result, print_triage
from seefar.errors import ChoiceError, Interrupted, RunError, counted, load_extra

TEST_IMAGES = 10_000  # of CIFAR-10


@dataclass(frozen=True)
class Predict:
    """Predict pictures of any size and mode: class, runner-up, contrast map of the two, occlusion test."""

    run: RunName
    pictures: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PICTURE [PICTURE ...]")]
    """Picture files, and folders of them."""
    out: Path | None = None
    """Folder for a figure of each picture. Default: predictions/ and the run's name."""
    device: Device = "auto"
    maps: MapChoices = field(default_factory=MapChoices)
    output: JsonOutput = field(default_factory=JsonOutput)

    def __call__(self, words: Sequence[str]) -> None:
        from seefar.artifacts import MAPS, read_store
        from seefar.data.pictures import read_pictures, unreadable
        from seefar.explanation.explain import Explainer, normalise_map_settings
        from seefar.explanation.pictures import explain_pictures
        from seefar.progress import showing
        from seefar.report.style import save_figure
        from seefar.runs.files import check_place

        run = seefar.load_run(self.run, self.device)
        folder = self.out or Path("predictions") / run.folder.path.resolve().name
        check_place(folder)
        settings = normalise_map_settings(run.model, run.image_size, self.maps)
        maps, grid = read_store(run).peek(MAPS), settings.grid
        if maps is not None and (maps.layer, maps.cells) == (settings.layer, settings.cells):
            grid = maps.grid  # as measured on the mistakes
        explainer = Explainer(seefar.adapt(run.model), replace(settings, grid=grid))
        with showing(begin(self.output)) as shown:
            read = read_pictures(self.pictures, run.image_size, run.recipe.fit, progress=shown)
            explained = explain_pictures(explainer, read.names, read.pictures, run.classes, shown)
            pairs = list(zip(explained, _figure_paths(folder, read.names), strict=True))
            for number, (picture, figure) in enumerate(pairs, start=1):
                save_figure(seefar.plot_picture(picture), figure)
                shown.update("drawing pictures", number, len(pairs))
        if self.output.json:
            rows = [{**picture.summary(), "figure": str(figure)} for picture, figure in pairs]
            print(json.dumps({"pictures": rows, "unreadable": read.bad}, indent=2))
        else:
            for picture, figure in pairs:
                print_prediction(picture, figure)
        if read.bad:
            raise unreadable(read.bad, len(read.bad) + len(read.names))


def _figure_paths(folder: Path, names: Sequence[str]) -> list[Path]:
    """A figure for each picture, named after its file; repeated names are numbered."""
    taken: set[str] = set()
    paths = []
    for name in names:
        plain = "".join(c if c.isprintable() else "_" for c in Path(name).stem)
        stem, number = plain.encode()[:180].decode(errors="ignore"), 1  # file systems allow 255 bytes in all
        while (own := stem if number == 1 else f"{stem}-{number}").lower() in taken:
            number += 1
        taken.add(own.lower())
        paths.append(folder / f"{own}.png")
    return paths


@dataclass(frozen=True)
class Audit:
    """Audit a classifier that was trained elsewhere, or only its predictions: page and tables in a run folder."""

    pictures: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PICTURES")]
    """Folder by class, CSV file of paths and labels, cifar10 or shapes. If test/ exists, only it is evaluated."""
    predictions: Path | None = None
    """File of predictions: .csv with file name and predicted class, or a column for each class; .json, .npy or .npz."""
    model: str | None = None
    """FILE.py:FUNCTION: a function without arguments that returns the model. The file is executed."""
    name: str | None = None
    """Run folder: a path, or a bare name under runs/. Default: audit, numbered if that is taken."""
    classes: tuple[str, ...] = ()
    """Names of the classes in the order of the model. Default: those of the pictures, in alphabetical order."""
    image_size: int | tuple[int, int] | None = None
    """Height and width in pixels of resized pictures, or one number. Default: the model's; without a model, 128."""
    fit: FitName = "crop"
    data_dir: DataDir = None
    device: Device = "auto"
    choices: Choices = field(default_factory=Choices)
    output: JsonOutput = field(default_factory=JsonOutput)

    def __call__(self, words: Sequence[str]) -> None:
        from seefar.training.device import choose_compute

        model = None
        if self.model is not None:
            model = seefar.adapt(load_model(self.model))
            model.network.to(choose_compute(self.device).device)
        result = seefar.audit(
            self.pictures,
            self.predictions,
            model,
            name=self.name,
            classes=self.classes or None,
            image_size=self.image_size,
            fit=self.fit,
            model_name=self.model or "",
            data_dir=self.data_dir,
            progress=begin(self.output),
            evaluated=self.output.evaluated,
            command=["seefar", *words],
            **asdict(self.choices),
        )
        print_result(result, self.output.json)


def load_model(source: str) -> Any:
    """The model that a function of a Python file returns, `FILE.py:FUNCTION`; the file is executed as a module."""
    path, _, function = source.rpartition(":")
    file = Path(path).expanduser()
    spec = importlib.util.spec_from_file_location(file.stem, file) if file.suffix == ".py" and file.is_file() else None
    if spec is None or spec.loader is None:
        raise ChoiceError(f"--model must be FILE.py:FUNCTION of a file that exists (got {source}).")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.parent.resolve()))  # for modules in the same folder
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    if not callable(factory := getattr(module, function, None)):
        raise ChoiceError(f"{file} has no function {function!r}, which would return the model.")
    return factory if hasattr(factory, "state_dict") else factory()


@dataclass(frozen=True)
class App(OfRun):
    """Serve the report of a run as a live page: paint over an image, or drop a picture, and see the new prediction."""

    host: str = "127.0.0.1"
    """Address to listen on. 0.0.0.0 allows other machines to connect; there is no password."""
    port: int = 7860
    """Port to listen on; 0 chooses a free port."""

    def __call__(self, words: Sequence[str]) -> None:
        from seefar.app import listen, make_live, make_server
        from seefar.pipeline import report_content

        load_extra("app", "starlette", "uvicorn")  # before any work
        with listen(self.host, self.port) as listening:
            run, data, options = self.load(words)
            if run.model is None:
                raise RunError(f"{self.run} has no network to predict with, since an audit keeps none: choose a run.")
            live = make_live(run.model, report_content(run, data, **options))
            address = f"[{self.host}]" if ":" in self.host else self.host
            print(f"http://{address}:{listening.getsockname()[1]} shows {run.folder}; Ctrl-C stops it", flush=True)
            with suppress(KeyboardInterrupt):  # not where a shell has started this with the signal ignored
                make_server(live, self.host).run(sockets=[listening])
            raise Interrupted("The app has stopped.")


@dataclass(frozen=True)
class Compare:
    """Compare two or more runs: accuracy, repaired and broken images, shared mistakes, and which were bad luck."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN RUN [RUN ...]")]
    """Run folders: paths, or bare names under runs/. The others are compared with the first."""
    data: str | None = None
    """Name or folder of the data set. Default: the one that the first run was trained on."""
    data_dir: DataDir = None
    figure: Path | None = None
    """Also draw a figure into this file: .png, .pdf or .svg."""
    fail_if: str | None = None
    """Exit with code 1 if this holds for the first run and another one, such as "lost > 0.02 and p < 0.01": comparisons
    of broken, repaired, p, shared, kappa, error_kappa, n, old, new (accuracies), lost (accuracy), old_mistakes and
    new_mistakes."""
    output: JsonOutput = field(default_factory=JsonOutput)

    def __call__(self, words: Sequence[str]) -> int:
        from seefar.evaluation.comparison import holds, parse_condition
        from seefar.report.style import check_figure, save_figure

        if self.fail_if is not None:
            parse_condition(self.fail_if)
        if self.figure is not None:
            check_figure(self.figure)
        comparison = seefar.compare_runs(self.runs, data=self.data, data_dir=self.data_dir, progress=begin(self.output))
        if self.figure is not None:
            save_figure(seefar.plot_comparison(comparison), self.figure)
        if self.output.json:
            print(comparison.to_json(), end="")
        else:
            print_comparison(comparison)
        if self.fail_if is None or not holds(self.fail_if, comparison):
            return 0
        print(f"{self.fail_if}: the condition holds, so the exit code is 1", file=sys.stderr)
        return 1


@dataclass(frozen=True)
class Triage:
    """Find the cause of each mistake: label error, ambiguous image, hard image or model error. No run is needed."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """Predictions for the 10,000 test images in their official order, or with their indices, as .csv, .json, .npy or
    .npz: for each a class name, an integer from 0 to 9, or ten logits."""
    name: str | None = None
    """Also save page, table and figures in this run folder: a path, or a bare name under runs/."""
    notes: Path | None = None
    """Notes exported from the report as CSV: adds the accuracy with the corrected labels."""
    data_dir: Path | None = None
    """Folder of CIFAR-10 and the reference data. Default: the variable SEEFAR_DATA, else the user's cache folder."""
    output: JsonOutput = field(default_factory=JsonOutput)

    def __call__(self, words: Sequence[str]) -> None:
        from seefar.data.images import correct_labels
        from seefar.data.reference import CLASSES
        from seefar.evaluation.predictions import read_predictions
        from seefar.evaluation.verdict import accuracy_views

        progress = begin(self.output)
        logits, _ = read_predictions(self.file, CLASSES, TEST_IMAGES)  # before 170 MB are downloaded
        predicted = logits.argmax(1)
        data = seefar.load_data("cifar10", self.data_dir, progress=progress)
        test = data.test
        for line in seefar.Evaluation.of(seefar.Predictions.of(logits, test)).metrics.cautions:
            warnings.warn(line, stacklevel=2)
        reference = seefar.load_reference(self.data_dir, progress=progress)
        verdicts = seefar.triage(test.labels, predicted, reference)
        views = accuracy_views(test.labels, predicted, reference)
        if self.notes is not None:
            corrected = correct_labels(test, self.notes).labels
            meaning = f"with {counted(int((corrected != test.labels).sum()), 'label')} corrected by {self.notes.name}"
            views.append(replace(accuracy_views(corrected, predicted)[0], name="corrected labels", meaning=meaning))
        is_same = reference.same_predictions(predicted)
        same = [name for name, equal in zip(reference.nets, is_same, strict=True) if equal]
        print_triage(self.file, verdicts, views, same, self.output.json)
        if self.name is not None:
            common: dict[str, Any] = {"data_dir": self.data_dir, "progress": progress, "command": ["seefar", *words]}
            result = seefar.audit(data, self.file, name=self.name, neighbours=False, **common)
            print(result.run.folder.report, file=sys.stderr if self.output.json else sys.stdout)


@dataclass(frozen=True)
class Export:
    """Export a trained network: weights and a model card, ready for a model hub, and ONNX."""

    run: RunName
    to: Path | None = None
    """Folder to write into. Default: exported/ and the run's name."""
    onnx: Switch = False
    """Also write model.onnx: input images (uint8, N x H x W x 3), outputs logits and maps. Needs the extra onnx."""
    output: Output = field(default_factory=Output)

    def __call__(self, words: Sequence[str]) -> None:
        from seefar.artifacts import PREDICTIONS, read_store
        from seefar.model.export import export_onnx
        from seefar.report.tables import model_card
        from seefar.runs.files import write_text, written_beside

        logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of packages that are not needed
        if self.onnx:
            load_extra("onnx", "onnx", "onnxscript")  # before anything is written; torch exports with the second
        run = seefar.load_run(self.run, "cpu")
        folder = self.to or Path("exported") / run.folder.path.resolve().name
        if folder.resolve() == run.folder.path.resolve():
            raise ChoiceError(f"{folder} is the run folder itself: choose another folder to export to.")
        saved = read_store(run).peek(PREDICTIONS)  # only if they are of these weights
        written = [folder / run.folder.weights.name]
        with written_beside(written[0]) as beside:
            shutil.copyfile(run.folder.weights, beside)
        if self.onnx:
            written.append(export_onnx(run.model, folder / "model.onnx", run.classes, run.image_size))
        if saved is None:
            print(f"The model card has no accuracy: `seefar evaluate {self.run}` measures it.", file=sys.stderr)
        card, metrics = folder / "README.md", None if saved is None else saved.metrics
        write_text(card, model_card(run.recipe, run.classes, metrics, [path.name for path in written]))
        for path in (*written, card):
            print(path)
