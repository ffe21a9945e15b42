"""Run a command in several processes of this machine, and turn their outcome into an exit code.

They find each other through torch's `env://` variables. Nothing listens on anything but the loopback interface (see
`seefar.processes`), and nothing is pickled. torch's own launcher unpickles what is stored on a port that is open to
the network.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING

from seefar.cli.options import Launch, Machine, Place
from seefar.errors import DeviceError, Interrupted, ProcessError, SeefarError
from seefar.training.interrupts import STOPS
from seefar.training.recipe import Recipe

if TYPE_CHECKING:
    from seefar.choices import Choices

RANK = "import sys; sys.path = list(filter(None, sys.path)); from seefar.cli.main import main; sys.exit(main())"
"""What each process runs: `python -m seefar`, except that nothing is imported from the current folder, which may hold a
file `random.py` that a stranger wrote."""
PATIENCE = 10.0
"""Seconds that the other processes have to end after one has failed, and again after SIGTERM."""


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
    compute, _ = plan_training(machine.device, precision, machine.workers, machine.checkpoint_minutes)
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
    from seefar.training.device import core_count

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, core_count() // launch.processes)))
    for _ in range(launch.max_restarts + 1):
        codes, stopped = run_ranks(launch.processes, words)
        failures = {code for code in codes if code}
        if stopped or not failures or failures & {2, 130}:
            break
    if not failures:
        return
    if 2 in failures:
        raise RefusedError("the processes have ended; see what they report.")
    if stopped or 130 in failures:
        raise Interrupted("interrupted; the same command resumes from what is saved.")
    first = min(failures)  # a signal, which is negative, rather than that another process was lost
    how = f"was killed by signal {-first}" if first < 0 else f"ended with {first}"
    raise ProcessError(f"Process {codes.index(first)} {how}; the same command resumes from what is saved.")


def run_ranks(size: int, words: Sequence[str]) -> tuple[list[int | None], bool]:
    """Run the command in `size` processes.

    Signals are forwarded to all of them. When one fails the others end by themselves, since they lose their
    connection to it; those that do not get SIGTERM, and then SIGKILL.

    Returns:
        Their exit codes by rank, at the first failure if there is one; and whether a signal came.
    """
    ranks: list[subprocess.Popen[bytes]] = []
    signals = []

    def forward(number: int, _frame: FrameType | None) -> None:
        signals.append(number)
        for rank in ranks:
            rank.send_signal(number)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    before = {stop: signal.signal(stop, forward) for stop in STOPS if signal.getsignal(stop) != signal.SIG_IGN}
    try:
        for number in range(size):
            variables = {**shared, "RANK": number, "LOCAL_RANK": number}
            environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
            ranks.append(subprocess.Popen([sys.executable, "-c", RANK, *words], env=environment))
        codes = [rank.poll() for rank in ranks]
        while None in codes and not any(codes):
            time.sleep(0.1)
            codes = [rank.poll() for rank in ranks]
        _end(ranks)
    finally:
        for rank in ranks:
            rank.kill()
        for stop, handler in before.items():
            signal.signal(stop, handler)
    return codes, bool(signals)


def _end(ranks: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait until all have ended, and end those that take longer than `PATIENCE`."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + PATIENCE
        while any(rank.poll() is None for rank in ranks) and time.monotonic() < end:
            time.sleep(0.1)
        for rank in ranks:
            rank.send_signal(number)
    for rank in ranks:
        rank.wait()
