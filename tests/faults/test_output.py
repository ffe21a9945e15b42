"""Output that nobody reads any more: a closed pipe or terminal, a full disk behind it; the work goes on."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pytest

from seefar.errors import RunError
from seefar.output import LastingOutput, printable
from seefar.progress import Display
from seefar.runs.folder import RunFolder, verify
from seefar.runs.tensors import load_tensors

SEEFAR = (sys.executable, "-m", "seefar")
DEMO = ("--width", "1", "--batch-size", "128", "--log-every", "1", "--device", "cpu")


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
    out = LastingOutput(stream)
    for words in ("one", "two", "three"):
        out.write(words)
        out.flush()
    assert stream.getvalue() == "one"


def test_results_that_a_full_disk_has_no_room_for_are_not_dropped_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = LastingOutput(Broken(errno.ENOSPC))
    out.write("one")
    with pytest.raises(RunError, match=r"Standard output cannot be written to \(No space left on device\)"):
        out.write("two")
    stream = Broken(errno.ENOSPC)
    monkeypatch.setattr(sys, "stderr", stream)
    for line in ("one", "two"):
        Display().line(line)  # progress is not worth an error
    assert stream.getvalue() == "one"


def begin(folder: Path, command: str, *flags: str, **options: object) -> subprocess.Popen[bytes]:
    words = [*SEEFAR, command, "demo", "--name", str(folder), *DEMO, *flags]
    return subprocess.Popen(words, **options)  # type: ignore[call-overload, no-any-return]


def wait_for_rows(run: RunFolder, more: int, process: subprocess.Popen[bytes]) -> None:
    wanted = run.history.read_bytes().count(b"\n") + more
    while run.history.read_bytes().count(b"\n") < wanted:
        assert process.poll() is None
        time.sleep(0.02)


@pytest.mark.slow
def test_a_job_whose_reader_has_seen_enough_is_done_to_its_end(tmp_path: Path) -> None:
    """As `seefar run demo 2>&1 | head -1` does: it used to end in the middle of the training, with exit code 0."""
    run = RunFolder(tmp_path / "run")
    flags = ("--epochs", "1", "--top", "1", "--explain", "shown", "--no-neighbours")
    with begin(run.path, "run", *flags, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(300) == 0
    assert run.report.exists()
    assert verify(run) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of the Unix kind")
@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_a_training_without_a_reader_is_saved_when_it_is_stopped(tmp_path: Path, terminal: bool) -> None:
    """As Ctrl-C does where `| tee` gets it too, and a terminal that is closed."""
    run = RunFolder(tmp_path / "run")
    reader, writer = os.openpty() if terminal else os.pipe()
    with begin(run.path, "train", "--epochs", "500", stdout=writer, stderr=writer) as process:
        os.close(writer)
        while not run.history.exists():
            assert process.poll() is None
            time.sleep(0.02)
        wait_for_rows(run, 1, process)
        os.close(reader)
        wait_for_rows(run, 3, process)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    about = load_tensors(run.checkpoint)[1]
    assert about["step"] == about["rows"] == run.history.read_bytes().count(b"\n") - 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_result_that_cannot_be_written_is_told() -> None:
    with open("/dev/full", "w") as full:
        found = subprocess.run([*SEEFAR, "verify", "--help"], stdout=full, stderr=subprocess.PIPE, text=True)
        shown = subprocess.run([*SEEFAR, "data", "shapes"], stdout=full, stderr=subprocess.PIPE, text=True)
        version = subprocess.run([*SEEFAR, "--version"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert "Traceback" not in found.stderr + shown.stderr + version.stderr
    assert (shown.returncode, version.returncode) == (2, 2)
    assert shown.stderr.startswith("seefar: Standard output cannot be written to (No space left on device)")


def test_control_characters_are_spelled_out() -> None:
    assert printable("a\x1b[31m\nb") == "a\\x1b[31m\\nb"
