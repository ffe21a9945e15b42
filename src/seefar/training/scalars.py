"""TensorBoard: the history of a training as scalars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seefar.errors import MissingExtraError
from seefar.training.history import HistoryRow

SCALARS = ("loss", "accuracy", "learning_rate", "image_size", "held_out_accuracy")


def load_writer() -> Any:
    """What writes event files.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("tensorboard", "TensorBoard export", error) from error
    return SummaryWriter


def write_scalars(history: Sequence[HistoryRow], folder: Path) -> Path:
    """Write one event file with the loss, accuracies, rate and image size of each logged step; older ones are replaced.

    Args:
        history: the rows of a run.
        folder: where to; TensorBoard is given this folder.

    Returns:
        The folder.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """
    writer_of = load_writer()
    for old in folder.glob("events.out.tfevents.*"):  # TensorBoard would draw both
        old.unlink()
    with writer_of(str(folder)) as writer:
        for row in history:
            for name in SCALARS:
                value = getattr(row, name)
                if value is not None:
                    writer.add_scalar(name, value, row.step)
    return folder
