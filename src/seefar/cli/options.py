"""The flags that commands share. Like all flags they are fields of a dataclass, whose texts are the help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from seefar.choices import DeviceName, Fit, PrecisionName
from seefar.progress import SILENT, Progress

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

    @property
    def progress(self) -> Progress | None:
        """The progress display; None chooses one that fits the terminal or notebook."""
        return SILENT if self.quiet else None


@dataclass(frozen=True)
class JsonOutput(Output):
    """What is printed."""

    json: Switch = False
    """Print results as JSON."""
