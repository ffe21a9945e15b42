"""The main driver: reads the command line, calls the public functions in turn, prints what came of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from seefar.cli.options import ExplainOptions, TrainOptions
from seefar.errors import RecipeError, RunError, SeefarError
from seefar.training.recipe import RECIPES, Recipe, recipe

if TYPE_CHECKING:
    from seefar.data import Data, Split
    from seefar.evaluation.evaluate import Evaluation
    from seefar.training.run import Run as FinishedRun


Flat = tyro.conf.arg(name="")  # the fields become flags of the command itself


@dataclass(frozen=True)
class Train:
    """Train a network. An interrupted training goes on by itself.

    seefar train [fast|quick|seed|demo] [flags]; the defaults below are those of the recipe.
    """

    recipe: Annotated[Recipe, Flat]
    options: Annotated[TrainOptions, Flat] = field(default_factory=TrainOptions)

    def __call__(self, words: list[str]) -> None:
        """Train, and print where the weights are."""
        print(_train(self.recipe, self.options, _load_data(self.recipe, self.options.data_dir)).folder.weights)


@dataclass(frozen=True)
class Run:
    """The main job: train, evaluate, explain, draw.

    seefar run [fast|quick|seed|demo] [flags]; the defaults below are those of the recipe.
    """

    recipe: Annotated[Recipe, Flat]
    options: Annotated[TrainOptions, Flat] = field(default_factory=TrainOptions)
    which: Annotated[ExplainOptions, Flat] = field(default_factory=ExplainOptions)
    json: bool = False
    """Print the metrics as JSON."""

    def __call__(self, words: list[str]) -> None:
        """Do all of it, and print the accuracy and the files."""
        data = _load_data(self.recipe, self.options.data_dir)
        _explain(_train(self.recipe, self.options, data), data, self.which, self.json, words)


@dataclass(frozen=True)
class Evaluate:
    """Accuracy, per class and confusion, and all mistakes of a finished run; its one read of the test set."""

    run: str
    """Run folder: a path, or a bare name under runs/."""
    data_dir: Path | None = None
    """Where CIFAR-10 lies."""
    json: bool = False
    """Print the metrics as JSON."""

    def __call__(self, words: list[str]) -> None:
        """Evaluate, and print the metrics."""
        from seefar.training.run import load_run

        run = load_run(self.run)
        test = _load_data(run.recipe, self.data_dir).test
        with run.folder.writing(["seefar", *words]):
            _print_metrics(_evaluate(run, test), self.json)


@dataclass(frozen=True)
class Explain:
    """Maps of a finished run's mistakes, and the figures."""

    run: str
    """Run folder: a path, or a bare name under runs/."""
    data_dir: Path | None = None
    """Where CIFAR-10 lies."""
    which: Annotated[ExplainOptions, Flat] = field(default_factory=ExplainOptions)
    json: bool = False
    """Print the metrics as JSON."""

    def __call__(self, words: list[str]) -> None:
        """Explain, and print the accuracy and the files."""
        from seefar.training.run import load_run

        run = load_run(self.run)
        _explain(run, _load_data(run.recipe, self.data_dir), self.which, self.json, words)


@dataclass(frozen=True)
class FetchData:
    """Fetch or make a data set, check it, and say where it lies and what it holds."""

    name: Annotated[str, tyro.conf.Positional] = "cifar10"
    """cifar10, shapes, or a folder with train/<class>/ and test/<class>/."""
    data_dir: Path | None = None
    """Where CIFAR-10 lies or is to be kept. Default: SEEFAR_DATA, else the user's cache folder."""
    image_size: int = 32
    """Height and width in pixels that the images of a folder are brought to."""

    def __call__(self, words: list[str]) -> None:
        """Load it, and print what it is."""
        from seefar.data import load_data
        from seefar.data.cifar10 import default_folder

        data = load_data(self.name, self.data_dir, self.image_size)
        where = {"cifar10": str(self.data_dir or default_folder()), "shapes": "made by code"}.get(self.name, self.name)
        mean, deviation = (", ".join(f"{value:.4f}" for value in values) for values in data.statistics)
        print(f"{data.name}: {where}")
        print(
            f"{len(data.train)} training and {len(data.test)} test images of {data.image_size}x{data.image_size} pixels"
        )
        print(f"{len(data.classes)} classes: {', '.join(data.classes)}")
        print(f"mean {mean}; standard deviation {deviation}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit codes: 0 done, 2 wrong input or data, 130 interrupted and resumable.

    Args:
        arguments: what follows the program's name; default: the process's own.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        from seefar import __version__

        print(f"seefar {__version__}")
        return 0
    debug = "--debug" in words
    try:
        command = _parse([word for word in words if word != "--debug"])
        command(words)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (SeefarError, OSError) as error:  # OSError: a folder that cannot be written, a full disk, ...
        if debug:
            raise
        print(f"seefar: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, SeefarError) else 2
    except KeyboardInterrupt:
        print("seefar: interrupted", file=sys.stderr)
        return 130
    return 0


def _parse(words: list[str]) -> Train | Run | Evaluate | Explain | FetchData:
    # The recipe is taken out first, because it decides the defaults of all the other flags.
    chosen = RECIPES["fast"]
    if words[:1] in (["run"], ["train"]) and len(words) > 1 and not words[1].startswith("-"):
        chosen = recipe(words.pop(1))
    elif words[:1] in (["run"], ["train"]):
        for before, word in pairwise(words):
            if word in RECIPES and not before.startswith("-"):
                raise RecipeError(f"The recipe comes before the flags: seefar {words[0]} {word} ...")
    subcommand = tyro.conf.subcommand
    commands = (
        Annotated[Run, subcommand("run", default=Run(chosen))]
        | Annotated[Train, subcommand("train", default=Train(chosen))]
        | Annotated[Evaluate, subcommand("evaluate")]
        | Annotated[Explain, subcommand("explain")]
        | Annotated[FetchData, subcommand("data")]
    )
    description = (
        "Train a ResNet-18 on CIFAR-10, find every test image it gets wrong, and see why. --version: which one this is."
    )
    return tyro.cli(commands, prog="seefar", description=description, args=words or ["--help"])


def _load_data(recipe: Recipe, data_dir: Path | None) -> Data:
    from seefar.data import load_data

    return load_data(recipe.data, data_dir, recipe.image_size)


def _train(recipe: Recipe, options: TrainOptions, data: Data) -> FinishedRun:
    from seefar.training.loop import train

    settings = asdict(options)
    del settings["data_dir"]
    return train(recipe, data, settings.pop("run"), **settings)


def _explain(run: FinishedRun, data: Data, which: ExplainOptions, as_json: bool, words: list[str]) -> None:
    from seefar.evaluation.mistakes import find_mistakes
    from seefar.explanation.explain import explain
    from seefar.report.draw import draw_figures

    true, predicted = (name and data.test.class_index(name) for name in (which.true, which.predicted))
    with run.folder.writing(["seefar", *words]):
        evaluation = _evaluate(run, data.test)
        mistakes = find_mistakes(evaluation.predictions, which.order, true=true, predicted=predicted)[: which.top]
        explained = explain(run, data.test, evaluation, which.method, which.layer, which.cells, which.hide)
        explanation = explained.of(mistakes)
        figures = draw_figures(run, data.test, evaluation, explanation)
    _print_metrics(evaluation, as_json)
    if not as_json:
        print(explanation.rates)
        print(f"{evaluation.metrics.mistakes} mistakes, {len(mistakes)} of them shown; made:")
        tables = (run.folder.path / name for name in ("mistakes.csv", "explanation.json", "metrics.json"))
        for path in (*figures, *tables, run.folder.manifest):
            print(f"  {path}")


def _evaluate(run: FinishedRun, test: Split) -> Evaluation:
    """The evaluation that the run folder holds, if it is of this network and these images; else a new one."""
    from seefar.evaluation.evaluate import Evaluation, evaluate
    from seefar.report.tables import files_table, write_metrics, write_mistakes

    path = run.folder.predictions
    try:
        evaluation = Evaluation.load(path)
        if evaluation.predictions.are_of(run.model, test):
            return evaluation
    except RunError:  # missing, damaged, or of an older form
        pass
    evaluation = evaluate(run.model, test)
    evaluation.save(path)
    write_metrics(run.folder.metrics, {"test": evaluation.metrics})
    write_mistakes(run.folder.mistakes, evaluation.mistakes, test.classes, files_table(test))
    return evaluation


def _print_metrics(evaluation: Evaluation, as_json: bool) -> None:
    metrics = evaluation.metrics
    if as_json:
        print(metrics.to_json(), end="")
        return
    low, high = metrics.interval
    interval = f"95 % interval {low:.2%} to {high:.2%}"
    print(f"Accuracy of the network on the {metrics.n} test images: {metrics.accuracy:.2%} ({interval})")
    for one in metrics.classes:
        print(f"  {one.name:12s} {'-' if one.recall is None else f'{one.recall:6.1%}'} of {one.n}")
