"""Kills at any moment, mutated files, and output that nobody reads or that has no room."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from seefar.progress import LastingOutput
from seefar.runs.folder import RunFolder, verify

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "words"), [("faults", ["--moments", "6"]), ("fuzz", ["--seed", "3", "--count", "20"])]
)
def test_the_benchmarks_of_kills_and_of_mutated_files_find_nothing(script: str, words: list[str]) -> None:
    command = [sys.executable, BENCHMARKS / f"{script}.py", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert found.returncode == 0, found.stderr
    assert '"losses": []' in found.stdout or '"escapes": []' in found.stdout, found.stdout


SEEFAR = (sys.executable, "-m", "seefar")
WORDS = ("demo", "--width", "1", "--batch-size", "128", "--log-every", "1", "--device", "cpu")


class Broken(StringIO):
    """A stream that takes one text, and then nothing."""

    number = 0

    def write(self, text: str) -> int:
        if self.getvalue():
            raise OSError(self.number, os.strerror(self.number))
        return super().write(text)


@pytest.mark.parametrize(("number", "is_progress"), [(errno.EPIPE, False), (errno.EIO, False), (errno.ENOSPC, True)])
def test_output_without_a_reader_and_progress_without_room_are_dropped(number: int, is_progress: bool) -> None:
    stream = Broken()
    stream.number = number
    for words in ("one", "two", "three"):
        LastingOutput(stream, drops_all=is_progress).write(words)
    assert stream.getvalue() == "one"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize(
    "words",
    [("--version",), *(pytest.param(w, marks=pytest.mark.slow) for w in (("run", "--help"), ("data", "shapes")))],
)
def test_a_result_that_cannot_be_written_is_named(words: tuple[str, ...], buffered: bool) -> None:
    """Python flushes what is buffered once more at its end, which would give exit code 120."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    environment |= {} if buffered else {"PYTHONUNBUFFERED": "1"}
    with open("/dev/full", "w") as full:
        found = subprocess.run([*SEEFAR, *words], stdout=full, stderr=subprocess.PIPE, text=True, env=environment)
    assert (found.returncode, found.stderr.count("\n")) == (2, 1)
    assert "No space left on device" in found.stderr


@pytest.mark.slow
def test_a_job_finishes_after_its_pipe_is_closed(tmp_path: Path) -> None:
    """As `seefar run demo 2>&1 | head -1` does."""
    run = RunFolder(tmp_path / "run")
    flags = ("--epochs", "1", "--top", "1", "--explain", "shown", "--no-neighbours", "--name", str(run))
    with subprocess.Popen(
        [*SEEFAR, "run", *WORDS, *flags], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(300) == 0
    assert run.report.exists()
    assert verify(run) == []
