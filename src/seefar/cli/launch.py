"""Launching several processes: torch's elastic launcher on the same words, and its outcome as an exit code."""

from __future__ import annotations

import logging
import os
import sys
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from seefar.cli.options import Launch, Machine, Place
from seefar.errors import DeviceError, Interrupted, ProcessError, SeefarError
from seefar.training.recipe import Recipe

if TYPE_CHECKING:
    from seefar.choices import Choices


class RefusedError(SeefarError):
    """A process has said why it does not begin."""


def begun_elsewhere(
    launch: Launch,
    recipe: Recipe,
    place: Place,
    machine: Machine,
    words: Sequence[str],
    choices: Choices | None = None,
) -> bool:
    """Do the command in several processes if that is asked for, and this is not one of them; whether it was done.

    What can be refused is refused before they are begun, once.

    Raises:
        SeefarError: the command cannot be done, or a process did not end well.
    """
    from seefar.processes import launched

    for name, least in (("processes", 1), ("max_restarts", 0)):
        if getattr(launch, name) < least:
            raise DeviceError(f"{name} is {getattr(launch, name)}: choose {least} or more.")
    if launch.processes == 1 or launched():
        return False
    _check(launch, recipe, place, machine, choices)
    _launch(launch, words)
    return True


def _check(launch: Launch, recipe: Recipe, place: Place, machine: Machine, choices: Choices | None) -> None:
    import torch

    from seefar.pipeline import check_choices, load_for
    from seefar.training.device import plan_training
    from seefar.training.run import open_run

    # An automatic precision depends on the GPU, which this process, that does not compute, would then take memory of.
    precision = "float32" if machine.precision == "auto" else machine.precision
    compute = plan_training(machine.device, precision, machine.checkpoint_minutes)
    kind, gpus = compute.device.type, torch.cuda.device_count()
    if kind == "mps" or (kind == "cuda" and launch.processes > gpus):
        there = "MPS computes in one process only" if kind == "mps" else f"this machine has {gpus} GPUs"
        raise DeviceError(f"processes is {launch.processes}, but {there}: choose fewer, or device cpu.")
    if launch.processes > recipe.batch_size:
        raise DeviceError(
            f"processes is {launch.processes}, but a batch has {recipe.batch_size} images: choose fewer processes."
        )
    data = load_for(recipe, place.data_dir)
    if choices is not None:
        check_choices(choices, data)
    open_run(recipe, data, place.name)


def _launch(launch: Launch, words: Sequence[str]) -> None:
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from seefar.training.device import core_count

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, core_count() // launch.processes)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what went wrong is told below
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=launch.processes,
        run_id=str(uuid.uuid4()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=launch.max_restarts,
        local_addr="localhost",
    )
    try:
        elastic_launch(config, sys.executable)("-m", "seefar", *words)
    except SignalException as error:
        raise Interrupted("interrupted; the same command goes on from what is saved.") from error
    except ChildFailedError as error:
        codes = {failure.exitcode for failure in error.failures.values()}
        if 2 in codes:
            raise RefusedError("the processes have ended; see what they say.") from error
        if 130 in codes:
            raise Interrupted("interrupted; the same command goes on from what is saved.") from error
        rank, first = error.get_first_failure()
        how = f"was killed by signal {-first.exitcode}" if first.exitcode < 0 else f"ended with {first.exitcode}"
        raise ProcessError(f"Process {rank} {how}; the same command goes on from what is saved.") from error
