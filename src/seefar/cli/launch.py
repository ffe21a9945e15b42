"""Run a command in several processes on this machine, and turn their outcome into an exit code.

They listen on the loopback interface only, and nothing is pickled; torch's launcher unpickles what anybody sends it.
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

from seefar.errors import ChoiceError, Interrupted
from seefar.training.device import core_count
from seefar.training.distributed import ProcessError, launched
from seefar.training.state import STOPS

RANK = "import sys; sys.path = list(filter(None, sys.path)); from seefar.cli.main import main; sys.exit(main())"
"""What each process runs: `python -m seefar`, except that nothing is imported from the current folder, which may hold
an untrusted file `random.py`."""
PATIENCE = 10.0
"""Seconds that the other processes have to end after one has failed, and again after SIGTERM."""


def launch(processes: int, max_restarts: int, words: Sequence[str]) -> bool:
    """Run the command in this number of processes; False if this process must do it.

    `Interrupted` if a signal ended them, `ProcessError` if one died; if one has reported an error, this process exits.
    """
    for flag, value, least in (("--processes", processes, 1), ("--max-restarts", max_restarts, 0)):
        if value < least:
            raise ChoiceError(f"{flag} must be {least} or more (got {value}).")
    if processes == 1 or launched():
        return False
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, core_count() // processes)))
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # else stack traces of C++ when another process has ended
    for _ in range(max_restarts + 1):
        codes, stopped = run_ranks(processes, words)
        failures = {code for code in codes if code}
        if stopped or not failures or failures & {2, 130}:
            break
    if not failures:
        return True
    if 2 in failures:
        sys.exit(2)
    if stopped or 130 in failures:
        raise Interrupted("interrupted; the same command resumes from the saved state.")
    first = min(failures)  # a signal, which is negative, rather than that another process was lost
    how = f"was killed by signal {-first}" if first < 0 else f"ended with exit code {first}"
    raise ProcessError(f"Process {codes.index(first)} {how}; the same command resumes from the saved state.")


def run_ranks(size: int, words: Sequence[str]) -> tuple[list[int | None], bool]:
    """Run the command in `size` processes, and forward signals; exit codes by rank, and whether a signal came.

    When one fails, the others lose their connection to it. Those that do not end get SIGTERM, then SIGKILL: None.
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
        while any(rank.poll() is None for rank in ranks) and not any(rank.returncode for rank in ranks):
            time.sleep(0.1)
        codes = _wait(ranks)
        for rank in ranks:
            rank.terminate()
        _wait(ranks)
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
        for stop, handler in before.items():
            signal.signal(stop, handler)
    return codes, bool(signals)


def _wait(ranks: Sequence[subprocess.Popen[bytes]]) -> list[int | None]:
    """Wait at most `PATIENCE` seconds until all have ended; their exit codes."""
    end = time.monotonic() + PATIENCE
    while None in (codes := [rank.poll() for rank in ranks]) and time.monotonic() < end:
        time.sleep(0.1)
    return codes
