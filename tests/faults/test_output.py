"""Output that nobody reads any more: a closed pipe or terminal, a full disk behind it; the work continues."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from seefar.errors import RunError
from seefar.progress import Display, LastingOutput
from seefar.runs.folder import RunFolder, verify

SEEFAR = (sys.executable, "-m", "seefar")
DEMO = ("demo", "--width", "1", "--batch-size", "128", "--log-every", "1", "--device", "cpu")


class Broken(StringIO):
    """A stream whose reader is gone after some letters."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        if self.getvalue():
            raise OSError(self.number, os.strerror(self.number))
        return super().write(text)


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO])
def test_what_nobody_reads_is_dropped(number: int) -> None:
    stream = Broken(number)
    for words in ("one", "two", "three"):
        LastingOutput(stream).write(words)
    assert stream.getvalue() == "one"


def test_results_that_a_full_disk_has_no_room_for_are_an_error_and_progress_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = Broken(errno.ENOSPC)
    monkeypatch.setattr(sys, "stderr", stream)
    for line in ("one", "two"):
        Display().line(line)
    assert stream.getvalue() == "one"
    with pytest.raises(RunError, match="No space left on device"):
        LastingOutput(stream).write("two")


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
def test_a_job_whose_reader_has_seen_enough_is_done_to_its_end(tmp_path: Path) -> None:
    """As `seefar run demo 2>&1 | head -1` does."""
    run = RunFolder(tmp_path / "run")
    flags = ("--epochs", "1", "--top", "1", "--explain", "shown", "--no-neighbours", "--name", str(run))
    with subprocess.Popen([*SEEFAR, "run", *DEMO, *flags], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(300) == 0
    assert run.report.exists()
    assert verify(run) == []
