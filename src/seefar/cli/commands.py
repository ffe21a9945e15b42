"""The commands: each is a frozen dataclass whose fields are its flags, and a `__call__` that does it.

A new one is a class here or in `tools.py`, and a line in `seefar.cli.main.COMMANDS`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

import seefar
from seefar.choices import BUILT_IN, Choices, DeviceName, Fit, InferencePrecision, PrecisionName
from seefar.cli.printing import print_data, print_evaluation, print_next, print_reference, print_result
from seefar.errors import RunError
from seefar.progress import SILENT, Progress, showing
from seefar.runs.folder import find_run
from seefar.training.recipe import Recipe

if TYPE_CHECKING:
    from seefar.data import Data
    from seefar.evaluation.audit import Audit
    from seefar.evaluation.evaluate import Evaluation
    from seefar.training.run import Run as FinishedRun


# ---- Flags that commands share: fields of a dataclass, whose texts are the help ----

CIFAR10_FOLDER = "Folder of CIFAR-10. Default: the environment variable SEEFAR_DATA, else the user's cache folder."
FITS = "How images of another shape are made to fit: crop the centre, pad with grey, or stretch."
RunName = Annotated[
    str,
    tyro.conf.Positional,
    tyro.conf.arg(name="run", metavar="RUN", help="Run folder: a path, or a bare name under runs/."),
]
DataDir = Annotated[Path | None, tyro.conf.arg(help=CIFAR10_FOLDER)]
FitName = Annotated[Fit, tyro.conf.arg(help=FITS)]
Device = Annotated[DeviceName, tyro.conf.arg(help="Device to compute on.")]
BFLOAT16 = "Of the convolutions. bfloat16 is faster where the processor has it, and changes some predictions."
Precision = Annotated[InferencePrecision, tyro.conf.arg(help=BFLOAT16)]
Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]
"""A flag without its `--no-` form."""


@dataclass(frozen=True)
class Location:
    """Folders of the run and of the data."""

    name: str | None = None
    """Run folder: a path, or a bare name under runs/. Default: the recipe's name, numbered if that is taken."""
    data_dir: DataDir = None


@dataclass(frozen=True)
class Machine:
    """Hardware settings. They change the result of a training by rounding only."""

    device: Device = "auto"
    precision: PrecisionName = "auto"
    """Precision of convolutions and matrix products in training; the evaluation that follows is in float32."""
    checkpoint_minutes: float = 5.0
    """Minutes between two checkpoints."""
    compile: Switch = False
    """Compile the network with torch.compile, which takes a minute or more and needs a C++ compiler."""


@dataclass(frozen=True)
class Launch:
    """Several processes, one for each GPU, that share each batch; see docs/scaling.md."""

    processes: int = 1
    """Processes on this machine that train together; the first one evaluates and explains."""
    max_restarts: int = 0
    """How often all processes restart from the last checkpoint after one of them has died."""


@dataclass(frozen=True)
class Finished:
    """Device and data of a finished run."""

    device: Device = "auto"
    data: str | None = None
    """Name or folder of the data set. Default: the one that the run was trained on."""
    data_dir: DataDir = None


@dataclass(frozen=True)
class Elsewhere:
    """Other images of the same classes, such as pictures taken this month."""

    on: str | None = None
    """Folder by class, or CSV file of paths and labels: all pictures are evaluated, in a run folder of their own."""
    name: str | None = None
    """Run folder for them: a path, or a bare name under runs/. Default: the names of the run and of the pictures."""


@dataclass(frozen=True)
class Output:
    """What is printed."""

    quiet: Switch = False
    """Print no progress on standard error."""
    debug: Switch = False
    """Print errors with their traceback."""


@dataclass(frozen=True)
class JsonOutput(Output):
    """What is printed."""

    json: Switch = False
    """Print results as JSON."""

    @property
    def evaluated(self) -> Callable[[Evaluation], None] | None:
        """The function that prints an evaluation early; None for JSON, which is printed once, at the end."""
        return None if self.json else print_evaluation


# ---- Commands ----


@dataclass(frozen=True)
class Train:
    """Train a network. An interrupted training resumes with the same command.

    seefar train [fast|quick|seed|demo] [flags]; the defaults below are those of the recipe.
    """

    recipe: Recipe
    location: Location = field(default_factory=Location)
    machine: Machine = field(default_factory=Machine)
    launch: Launch = field(default_factory=Launch)
    output: Output = field(default_factory=Output)

    def __call__(self, words: Sequence[str]) -> None:
        from seefar.cli.launch import launch
        from seefar.training.distributed import joined

        if not launch(self.launch.processes, self.launch.max_restarts, words):
            with joined(), showing(begin(self.output)) as shown:
                self.compute({**asdict(self.machine), "progress": shown, "command": ["seefar", *words]})

    def compute(self, options: dict[str, Any]) -> None:
        """What each process does."""
        from seefar.training.run import load_for

        data = load_for(self.recipe, self.location.data_dir, progress=options["progress"])
        run = seefar.train(self.recipe, data, self.location.name, **options)
        print(run.folder.weights)
        print_next("evaluate", run.folder)


@dataclass(frozen=True)
class Run(Train):
    """Train, evaluate, explain and write the report. An interrupted run resumes with the same command.

    seefar run [fast|quick|seed|demo|FILE.toml|FILE.json] [flags]; the defaults below are those of the recipe.
    """

    choices: Choices = field(default_factory=Choices)
    output: JsonOutput = field(default_factory=JsonOutput)
    seeds: int = 1
    """Trainings, each with its own seed and run folder. A mistake that another seed does not make is luck."""

    def compute(self, options: dict[str, Any]) -> None:
        """What each process does."""
        options |= {"seeds": self.seeds, "evaluated": self.output.evaluated}
        result = seefar.run(self.recipe, **asdict(self.location), **options, **asdict(self.choices))
        print_result(result, self.output.json)


@dataclass(frozen=True)
class OfRun:
    """A command for a finished run or an audit, or for other pictures that its network predicts."""

    run: RunName
    elsewhere: Elsewhere = field(default_factory=Elsewhere)
    finished: Finished = field(default_factory=Finished)
    output: Output = field(default_factory=Output)

    def load(
        self, words: Sequence[str], precision: InferencePrecision | None = None
    ) -> tuple[FinishedRun | Audit, Data, dict[str, Any]]:
        """The run or audit, its data, and options; with other pictures, an audit of these by the run's network."""
        from seefar.evaluation.audit import open_finished, prepare_audit

        finished, pictures = self.finished, self.elsewhere.on
        options: dict[str, Any] = {"data_dir": finished.data_dir, "progress": begin(self.output)}
        if pictures is None:
            device = finished.device
            run, data = open_finished(self.run, finished.data, device=device, precision=precision, **options)
        else:
            model = seefar.load_run(self.run, finished.device, precision)
            folder = model.folder.path
            own = self.elsewhere.name or folder.with_name(f"{folder.resolve().name}-{Path(pictures).resolve().stem}")
            run, data = prepare_audit(pictures, model=model, name=own, **options)
        return run, data, {**options, "command": ["seefar", *words]}


@dataclass(frozen=True)
class Evaluate(OfRun):
    """Evaluate on the test set: accuracy, recall of each class, most confused pairs, and a table of all mistakes."""

    precision: Precision = "float32"
    output: JsonOutput = field(default_factory=JsonOutput)

    def __call__(self, words: Sequence[str]) -> None:
        run, data, options = self.load(words, self.precision)
        print_evaluation(seefar.evaluate_run(run, data, **options), self.output.json)
        if not self.output.json:
            print_next("explain", run.folder, "" if self.precision == "float32" else f"--precision {self.precision}")


@dataclass(frozen=True)
class Explain(OfRun):
    """Explain the mistakes of a finished run: maps, occlusion test and figures."""

    choices: Choices = field(default_factory=Choices)
    precision: Precision = "float32"
    output: JsonOutput = field(default_factory=JsonOutput)

    def __call__(self, words: Sequence[str]) -> None:
        run, data, options = self.load(words, self.precision)
        options |= {"evaluated": self.output.evaluated, **asdict(self.choices)}
        print_result(seefar.explain_run(run, data, **options), self.output.json)


@dataclass(frozen=True)
class Report(OfRun):
    """Write the page of a finished run: accuracy, curves, confusion matrix and all mistakes with maps, in one file."""

    beside: str | None = None
    """Another run on the same test images: the page shows what it predicts for each mistake, and why."""

    def __call__(self, words: Sequence[str]) -> None:
        run, data, options = self.load(words)
        print(seefar.report_run(run, data, beside=self.beside, **options))


@dataclass(frozen=True)
class Verify:
    """Check a run folder against its manifest: which files are missing, changed or extra."""

    run: RunName
    output: Output = field(default_factory=Output)

    def __call__(self, words: Sequence[str]) -> None:
        folder, problems = find_run(self.run), seefar.verify(self.run)
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
    """Folder of CIFAR-10, created if missing. Default: the variable SEEFAR_DATA, else the user's cache folder."""
    image_size: int | tuple[int, int] = 32
    """Height and width in pixels to which the images of a folder are resized, or one number for both."""
    fit: FitName = "crop"
    output: Output = field(default_factory=Output)

    def __call__(self, words: Sequence[str]) -> None:
        from seefar.data.official import default_folder

        if self.name == "reference":
            print_reference(self.data_dir, begin(self.output))
            return
        source = str(self.data_dir or default_folder()) if self.name in BUILT_IN else self.name
        source = "generated" if self.name == "shapes" else source
        options: dict[str, Any] = {"create": True, "progress": begin(self.output)}
        print_data(seefar.load_data(self.name, self.data_dir, self.image_size, self.fit, **options), source)


def begin(output: Output) -> Progress | None:
    """Make the process ready to compute, and choose the progress display; None selects the default."""
    from seefar.training.device import keep_freed_memory
    from seefar.training.distributed import is_main

    keep_freed_memory()
    gc.freeze()  # else Python searches all that is imported for garbage, which takes as long as drawing two figures
    return SILENT if output.quiet or not is_main() else None
