"""A worker process that is killed: no step breaks in the middle, the state is saved, the same command goes on."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import seefar
from seefar.cli.main import main
from seefar.data import Data
from seefar.data.loader import training_batches
from seefar.data.shapes import load_shapes
from seefar.errors import WorkerError
from seefar.progress import Silent
from seefar.runs.folder import RunFolder
from seefar.training.loop import build_batches

TINY = seefar.recipe("demo", width=2, epochs=2, batch_size=16, log_every=1)


@pytest.fixture(scope="module")
def few() -> Data:
    return load_shapes(160, 20)


def kill_a_worker(number: int = signal.SIGKILL) -> None:
    os.kill(multiprocessing.active_children()[0].pid or 0, number)


def test_the_rest_of_the_batches_is_the_same(few: Data) -> None:
    positions = [(epoch, number) for epoch in range(2) for number in range(10)]
    with training_batches(build_batches(TINY, few), positions, 0, False) as batches:
        wanted = list(batches)
    found = []
    with training_batches(build_batches(TINY, few), positions, 2, False) as batches:
        for batch in batches:
            found.append(batch)
            if len(found) == 3:
                assert batches.failure is None
                kill_a_worker()
                time.sleep(0.2)  # torch's own handler would raise its error here, which may be in the middle of a step
        assert batches.failure == (
            "A process that makes batches was ended by SIGKILL, most likely because memory ran out"
        )
    assert [(batch.epoch, batch.number) for batch in found] == positions
    assert all(a.images.equal(b.images) and a.labels.equal(b.labels) for a, b in zip(found, wanted, strict=True))
    assert multiprocessing.active_children() == []


def test_a_worker_that_is_killed_while_they_are_begun_breaks_nothing(few: Data) -> None:
    # In a process of its own, since torch sets its handler once: only the first training was open to this.
    found = subprocess.run([sys.executable, "-c", KILLED_AT_ONCE], capture_output=True, text=True)
    assert found.stdout == "20 batches; A process that makes batches was ended by SIGKILL\n", found.stderr


KILLED_AT_ONCE = """
import multiprocessing, os, signal, time
import seefar
from seefar.data.loader import LoadedBatches, training_batches
from seefar.data.shapes import load_shapes
from seefar.training.loop import build_batches

begin = LoadedBatches._begin

def begin_and_kill(batches):
    made = begin(batches)
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGKILL)
        time.sleep(0.2)
    return made

LoadedBatches._begin = begin_and_kill
recipe = seefar.recipe("demo", width=2, epochs=2, batch_size=16)
positions = [(epoch, number) for epoch in range(2) for number in range(10)]
with training_batches(build_batches(recipe, load_shapes(160, 20)), positions, 1, False) as batches:
    print(len(list(batches)), "batches;", batches.failure.partition(",")[0])
"""


class Killing(Silent):
    """Kills a worker in the third step."""

    def __init__(self) -> None:
        self.steps = 0

    def update(self, what: str, done: int, total: int, *rest: object) -> None:
        self.steps += 1
        if self.steps == 3:
            kill_a_worker()


def test_a_training_saves_its_state_and_the_same_command_goes_on(few: Data, tmp_path: Path) -> None:
    whole = seefar.train(TINY, few, tmp_path / "whole", progress=seefar.SILENT)
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(
        WorkerError, match=r"saved after step (\d+) of 20; the same command goes on\. A process"
    ) as told:
        seefar.train(TINY, few, folder.path, workers=2, progress=Killing())
    found = re.search(r"step (\d+)", str(told.value))
    assert found is not None
    assert len(folder.history.read_text().splitlines()) == 1 + int(found[1])
    seefar.train(TINY, few, folder.path, workers=2, progress=seefar.SILENT)
    assert folder.weights.read_bytes() == whole.folder.weights.read_bytes()


@pytest.mark.slow
def test_the_command_line_says_it_in_one_paragraph_and_exits_with_2(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("seefar.cli.commands.begin", lambda _output: Killing())
    words = ["train", "demo", "--width", "1", "--batch-size", "64", "--epochs", "1", "--workers", "2"]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert re.fullmatch(
        r"seefar: runs/demo: saved after step \d+ of \d+; the same command goes on\. A process that makes batches was "
        r"ended by SIGKILL, most likely because memory ran out\. If that happens again choose 0 workers\. "
        r"\(flag: --workers\)\n",
        told,
    ), told
