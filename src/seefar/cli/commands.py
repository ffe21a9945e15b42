"""The commands: each is a frozen dataclass whose fields are its flags, and a `__call__` that does it.

A new one is a class here or in `tools.py`, and a line in `seefar.cli.main.COMMANDS`.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from seefar.choices import BUILT_IN, Choices, Fit, InferencePrecision
from seefar.cli.options import Elsewhere, Finished, JsonOutput, Launch, Machine, Output, Place, RunName
from seefar.cli.printing import print_data, print_evaluation, print_next, print_reference, print_result
from seefar.errors import RunError
from seefar.progress import SILENT, Progress, showing
from seefar.training.recipe import Recipe

if TYPE_CHECKING:
    from seefar.data import Data
    from seefar.evaluation.audit import Audit
    from seefar.training.run import Run as FinishedRun


@dataclass(frozen=True)
class Run:
    """Train, evaluate, explain and write the report. An interrupted run resumes with the same command.

    seefar run [fast|quick|seed|demo|FILE.toml|FILE.json] [flags]; the defaults below are those of the recipe.
    """

    recipe: Recipe
    place: Place = field(default_factory=Place)
    machine: Machine = field(default_factory=Machine)
    launch: Launch = field(default_factory=Launch)
    choices: Choices = field(default_factory=Choices)
    output: JsonOutput = field(default_factory=JsonOutput)
    seeds: int = 1
    """Number of trainings with different seeds, each a run. A mistake that another seed does not make is luck."""

    def __call__(self, words: Sequence[str]) -> None:
        """Run all steps; print the accuracy as soon as it is known, then the files."""
        from seefar.cli.launch import launch
        from seefar.pipeline import run
        from seefar.training.distributed import joined

        if launch(self.launch, words):
            return
        with joined():
            result = run(
                self.recipe,
                **asdict(self.place),
                **asdict(self.machine),
                seeds=self.seeds,
                progress=begin(self.output),
                evaluated=lambda evaluation: None if self.output.json else print_evaluation(evaluation),
                command=["seefar", *words],
                **asdict(self.choices),
            )
            print_result(result, self.output.json)


@dataclass(frozen=True)
class Train:
    """Train a network. An interrupted training resumes with the same command.

    seefar train [fast|quick|seed|demo] [flags]; the defaults below are those of the recipe.
    """

    recipe: Recipe
    place: Place = field(default_factory=Place)
    machine: Machine = field(default_factory=Machine)
    launch: Launch = field(default_factory=Launch)
    output: Output = field(default_factory=Output)

    def __call__(self, words: Sequence[str]) -> None:
        """Train, and print where the weights are."""
        from seefar.cli.launch import launch
        from seefar.training.distributed import is_main, joined, load_in_turn
        from seefar.training.loop import train
        from seefar.training.run import describe_choice, load_for, open_run

        if launch(self.launch, words):
            return
        name, command = self.place.name, ["seefar", *words]
        with joined():
            progress = begin(self.output)
            with showing(progress) as shown:
                data = load_in_turn(lambda: load_for(self.recipe, self.place.data_dir, progress=shown))
                if not is_main():  # it takes part in the steps, and exits
                    train(self.recipe, data, **asdict(self.machine))
                folder = open_run(self.recipe, data, name)
                if name is None and (line := describe_choice(folder, self.recipe, data)):
                    shown.line(line)
                run = train(self.recipe, data, folder.path, **asdict(self.machine), progress=shown, command=command)
            print(run.folder.weights)
            print_next("evaluate", run.folder)


@dataclass(frozen=True)
class Evaluate:
    """Evaluate on the test set: accuracy, recall of each class, most confused pairs, and a table of all mistakes."""

    run: RunName
    """Run folder: a path, or a bare name under runs/."""
    precision: InferencePrecision = "float32"
    """Precision of the convolutions. bfloat16 is faster where the processor has it, and changes some predictions."""
    elsewhere: Elsewhere = field(default_factory=Elsewhere)
    finished: Finished = field(default_factory=Finished)
    output: JsonOutput = field(default_factory=JsonOutput)

    def __call__(self, words: Sequence[str]) -> None:
        """Evaluate, and print the metrics."""
        from seefar.pipeline import evaluate_run

        progress = begin(self.output)
        run, data = load(self.run, self.finished, progress, self.elsewhere, self.precision)
        evaluation = evaluate_run(
            run, data, data_dir=self.finished.data_dir, progress=progress, command=["seefar", *words]
        )
        print_evaluation(evaluation, self.output.json)
        if not self.output.json:
            print_next("explain", run.folder, "" if self.precision == "float32" else f"--precision {self.precision}")


@dataclass(frozen=True)
class Explain:
    """Explain the mistakes of a finished run: maps, occlusion test and figures."""

    run: RunName
    """Run folder: a path, or a bare name under runs/."""
    choices: Choices = field(default_factory=Choices)
    precision: InferencePrecision = "float32"
    """Precision of the convolutions. bfloat16 is faster where the processor has it, and changes some predictions."""
    elsewhere: Elsewhere = field(default_factory=Elsewhere)
    finished: Finished = field(default_factory=Finished)
    output: JsonOutput = field(default_factory=JsonOutput)

    def __call__(self, words: Sequence[str]) -> None:
        """Explain, and print the accuracy and the files."""
        from seefar.pipeline import explain_run

        progress = begin(self.output)
        run, data = load(self.run, self.finished, progress, self.elsewhere, self.precision)
        result = explain_run(
            run,
            data,
            data_dir=self.finished.data_dir,
            progress=progress,
            evaluated=lambda evaluation: None if self.output.json else print_evaluation(evaluation),
            command=["seefar", *words],
            **asdict(self.choices),
        )
        print_result(result, self.output.json)


@dataclass(frozen=True)
class Report:
    """Write the page of a finished run: accuracy, curves, confusion matrix and all mistakes with maps, in one file."""

    run: RunName
    """Run folder: a path, or a bare name under runs/."""
    beside: str | None = None
    """Another run on the same test images: the page shows what it predicts for each mistake, and why."""
    elsewhere: Elsewhere = field(default_factory=Elsewhere)
    finished: Finished = field(default_factory=Finished)
    output: Output = field(default_factory=Output)

    def __call__(self, words: Sequence[str]) -> None:
        """Write the page from the files of the folder, and print its path."""
        from seefar.pipeline import report_run

        progress = begin(self.output)
        run, data = load(self.run, self.finished, progress, self.elsewhere)
        where: dict[str, Any] = {"beside": self.beside, "data_dir": self.finished.data_dir}
        print(report_run(run, data, **where, progress=progress, command=["seefar", *words]))


@dataclass(frozen=True)
class Verify:
    """Check a run folder against its manifest: which files are missing, changed or extra."""

    run: RunName
    """Run folder: a path, or a bare name under runs/."""
    output: Output = field(default_factory=Output)

    def __call__(self, words: Sequence[str]) -> None:
        """Print that the folder is intact, or list the problems."""
        from seefar.runs.folder import find_run, verify

        folder, problems = find_run(self.run), verify(self.run)
        if problems:
            raise RunError(f"{folder} does not match its manifest:\n  " + "\n  ".join(problems))
        print(f"{folder} is intact: every file matches its manifest")


@dataclass(frozen=True)
class FetchData:
    """Download or generate a data set, check it, and print its folder and contents."""

    name: Annotated[str, tyro.conf.Positional] = "cifar10"
    """cifar10, cifar100, fashion_mnist, shapes, reference (human labels, checked label errors and published predictions
    for CIFAR-10's test images), or a folder of pictures: train/<class>/ and test/<class>/, or only <class>/."""
    data_dir: Path | None = None
    """Folder of CIFAR-10, created if it does not exist. Default: the environment variable SEEFAR_DATA, else the user's
    cache folder."""
    image_size: int | tuple[int, int] = 32
    """Height and width in pixels to which the images of a folder are resized, or one number for both."""
    fit: Fit = "crop"
    """How images of another shape are made to fit: crop the centre, pad with grey, or stretch."""
    output: Output = field(default_factory=Output)

    def __call__(self, words: Sequence[str]) -> None:
        """Load the data set, and print a summary."""
        from seefar.data import load_data
        from seefar.data.cifar10 import default_folder

        if self.name == "reference":
            print_reference(self.data_dir, self.output.progress)
            return
        place = str(self.data_dir or default_folder()) if self.name in BUILT_IN else self.name
        place = "made by code" if self.name == "shapes" else place
        shown = begin(self.output)
        data = load_data(self.name, self.data_dir, self.image_size, self.fit, create=True, progress=shown)
        print_data(data, place)


def begin(output: Output) -> Progress | None:
    """Make the process ready to compute, and choose the progress display: None shows one where it runs.

    What is imported by now stays until the end; Python does not search it for garbage again and again,
    which takes as long as drawing two figures.
    """
    from seefar.training.device import keep_freed_memory
    from seefar.training.distributed import is_main

    keep_freed_memory()
    gc.freeze()
    return output.progress if is_main() else SILENT


def load(
    name: str,
    finished: Finished,
    progress: Progress | None,
    elsewhere: Elsewhere,
    precision: InferencePrecision | None = None,
) -> tuple[FinishedRun | Audit, Data]:
    """A finished run or audit and its data; with other pictures, an audit of these by the run's network."""
    from seefar.evaluation.audit import prepare_audit
    from seefar.pipeline import open_finished
    from seefar.training.run import load_run

    if elsewhere.on is None:
        where: dict[str, Any] = {"data_dir": finished.data_dir, "device": finished.device, "precision": precision}
        return open_finished(name, finished.data, **where, progress=progress)
    run = load_run(name, finished.device, precision)
    folder = run.folder.path
    own = elsewhere.name or folder.with_name(f"{folder.resolve().name}-{Path(elsewhere.on).resolve().stem}")
    return prepare_audit(elsewhere.on, model=run, name=own, data_dir=finished.data_dir, progress=progress)
