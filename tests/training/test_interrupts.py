"""Signals as a job's end sends them: to the whole process group, and more than once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seefar.training.state import Interrupts

SCRIPT = """
import sys, time
from pathlib import Path
import seefar
from seefar.data.shapes import load_shapes
from seefar.errors import Interrupted
from seefar.progress import Silent

class Slow(Silent):
    def update(self, *_):
        print("step", flush=True)
        time.sleep(0.1)

recipe = seefar.recipe("demo", width=1, scales=(0.5,), batch_size=16, epochs=50)
try:
    seefar.train(recipe, load_shapes(64, 10), Path(sys.argv[1]), progress=Slow())
except Interrupted as error:
    print(error, flush=True)
    sys.exit(error.exit_code)
"""


@pytest.mark.slow
def test_a_sigterm_to_the_process_group_saves_once_and_ends_with_130(tmp_path: Path) -> None:
    """As Slurm and `docker stop` send it, and a second time within seconds."""
    words = [sys.executable, "-c", SCRIPT, str(tmp_path / "run")]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(3):
            assert process.stdout.readline() == "step\n"
        os.killpg(process.pid, signal.SIGTERM)
        time.sleep(0.01)
        os.killpg(process.pid, signal.SIGTERM)
        said, errors = process.stdout.read(), process.stderr.read()
        assert process.wait(60) == 130, errors
    assert "saved after step" in said
    assert errors == ""
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_a_signal_that_comes_again_within_seconds_is_the_same_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("seefar.training.state.time.monotonic", lambda: clock[0])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have begun the tests with SIGINT ignored
    with Interrupts() as interrupts:
        assert not interrupts.asked
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.asked
        clock[0] += 2.9
        os.kill(os.getpid(), signal.SIGINT)  # nothing happens
    with Interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        clock[0] += 3.1
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_a_closed_terminal_stops_a_training_unless_it_is_to_be_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
            assert interrupts.asked
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup begins a process
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupts.asked
    finally:
        signal.signal(signal.SIGHUP, before)
