"""The flags that commands share. Like all flags they are fields of a dataclass, whose texts are the help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seefar.errors import MapError
from seefar.names import DeviceName, HideName, MethodName, Order, PrecisionName


@dataclass(frozen=True)
class TrainOptions:
    """Where the data and the run lie, and what the training runs on. None of it changes what is learnt."""

    data_dir: Path | None = None
    """Where CIFAR-10 lies or is kept. Default: the environment variable SEEFAR_DATA, else the user's cache folder."""
    run: str | None = None
    """Run folder: a path, or a bare name under runs/. Default: the recipe's name."""
    device: DeviceName = "auto"
    """Where to compute."""
    precision: PrecisionName = "auto"
    """Precision of convolutions and matrix products in training; evaluation is always float32."""
    workers: int | None = None
    """Processes that make batches; 0: the main one. Default: 0 on the CPU, and on a GPU one for each core but one, at
    most 8."""
    checkpoint_minutes: float = 5.0
    """Minutes between two checkpoints; there is one at the end of each epoch too."""


@dataclass(frozen=True)
class ExplainOptions:
    """Which mistakes to show, and how all of them are explained."""

    top: int = 10
    """How many mistakes to show, 1 to 100."""
    order: Order = "loss"
    """Which first: the costliest, the surest, or as the test set lies."""
    true: str | None = None
    """Only mistakes on images of this class."""
    predicted: str | None = None
    """Only mistakes that name this class."""
    method: MethodName = "gradcam"
    """Which of the family of class activation maps. All mistakes are mapped; scorecam asks the network 512 times for
    each map, which takes hours on a CPU."""
    layer: str | None = None
    """Layer to map, such as layer3. Default: the last stage of the dense twin."""
    cells: int | None = None
    """Cells on a side that the default layer is to have: 8, 16 or 32 for 32-pixel images. Default: 8."""
    hide: HideName = "blur"
    """What the occlusion test puts in place of the evidence: the blurred surroundings, grey, or the image's mean."""

    def __post_init__(self) -> None:
        """Refuse a number of mistakes that one figure cannot show."""
        if not 1 <= self.top <= 100:
            raise MapError(f"{self.top} mistakes cannot be shown in one figure: pass --top of 1 to 100.")
