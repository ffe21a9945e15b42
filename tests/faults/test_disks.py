"""Real disks that are too small, read-only folders, too few open files: refused in one paragraph, nothing lost."""

from __future__ import annotations

import csv
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_job import TINY, At

import seefar
from seefar.data import Data
from seefar.errors import Interrupted, RunError
from seefar.runs.folder import RunFolder, verify
from seefar.runs.tensors import load_tensors, save_tensors


def job(few: Data, folder: Path, **options: Any) -> seefar.Result:
    return seefar.run(TINY, few, folder, device="cpu", top=2, checkpoint_minutes=0.0, progress=seefar.SILENT, **options)


def content(folder: Path) -> dict[str, Any]:
    """What has to be the same after any interruption, to the bit; seconds and the date are not."""
    run = RunFolder(folder)
    with run.history.open(newline="") as file:
        rows = [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]
    parts: dict[str, Any] = {"history": rows}
    for path in (run.weights, run.metrics, run.mistakes, run.explanation):
        parts[path.name] = path.read_bytes()
    for path in (run.predictions, run.maps):
        with np.load(path) as archive:
            parts[path.name] = {name: archive[name].tobytes() for name in archive}
    return parts


@pytest.fixture(scope="module")
def wanted(few: Data, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run that nobody disturbed holds."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    job(few, folder)
    return content(folder)


def mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place))
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


class FilledUp:
    """Fills a disk, but for `spare` bytes, when a file that was not written before is opened for writing.

    Python tells its audit hooks of every file that is opened; they cannot be taken away again, only made to do nothing.
    """

    def __init__(self, disk: Path, spare: int) -> None:
        self.disk, self.spare, self.filler = disk, spare, disk / "filler"
        self.seen: set[str] = set()
        self.active = True
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or not self.active or not isinstance(arguments[0], str | os.PathLike):
            return
        path, flags = Path(arguments[0]), arguments[2]
        name = re.sub(r"^\.part-\d+-", "", path.name)
        if flags & (os.O_WRONLY | os.O_RDWR) and self.disk in path.parents and name not in self.seen:
            self.seen.add(name)
            self.active = False  # the filler is a file too
            free = os.statvfs(self.disk)
            os.posix_fallocate(file := os.open(self.filler, os.O_RDWR | os.O_CREAT), 0, free.f_bavail * free.f_bsize)
            os.ftruncate(file, os.fstat(file).st_size - self.spare)
            os.close(file)

    def empty(self) -> None:
        """Room again, until the next new file."""
        self.filler.unlink(missing_ok=True)
        self.active = True


@pytest.mark.slow
@pytest.mark.parametrize("spare", [0, 4096])
def test_a_disk_that_is_full_at_each_file_in_turn(few: Data, disk: Path, wanted: dict[str, Any], spare: int) -> None:
    run, refused = RunFolder(disk / "run"), list[str]()
    filled = FilledUp(disk, spare)
    try:
        for _ in range(40):
            try:
                job(few, run.path)
                break
            except RunError as error:
                said = str(error)
                refused.append(said.split(" cannot be written")[0].removeprefix(f"{run}").strip("/"))
                assert "(No space left on device)" in said
                assert "is kept" in said
                assert "it goes on from there" in said
                assert list(run.path.rglob(".part-*")) == []
                assert not run.manifest.exists()
                filled.empty()
        else:
            pytest.fail(f"not finished: {refused}")
    finally:
        filled.active = False
    filled.filler.unlink(missing_ok=True)
    assert content(run.path) == wanted
    assert verify(run) == []
    written = {path.name for path in run.path.rglob("*") if path.is_file()}
    assert filled.seen >= written | {run.checkpoint.name}
    assert len(refused) >= 18  # a first line or row may still fit in what is spare


@pytest.fixture
def read_only(disk: Path) -> Iterator[Callable[[], None]]:
    """Makes the disk read-only for all, also for root, whom permissions do not stop."""
    yield lambda: mount("-o", "remount,ro", str(disk))
    mount("-o", "remount,rw", str(disk))


def test_a_training_in_a_read_only_folder_is_refused_and_goes_on_when_it_is_writable(
    few: Data, disk: Path, wanted: dict[str, Any], read_only: Callable[[], None]
) -> None:
    run = RunFolder(disk / "run")
    with pytest.raises(Interrupted):
        seefar.train(TINY, few, run.path, device="cpu", progress=At(3, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    before = {path: path.read_bytes() for path in run.path.rglob("*")}
    read_only()
    with pytest.raises(RunError, match=r"run cannot be written to \(Read-only file system\)"):
        job(few, run.path)
    assert {path: path.read_bytes() for path in run.path.rglob("*")} == before
    mount("-o", "remount,rw", str(disk))
    job(few, run.path)
    assert content(run.path) == wanted


def test_a_finished_run_on_a_read_only_disk_is_shown(few: Data, disk: Path, read_only: Callable[[], None]) -> None:
    job(few, disk / "run")
    read_only()
    assert len(job(few, disk / "run").shown) == 2
    assert verify(disk / "run") == []


def test_a_run_on_a_read_only_disk_that_lacks_files_is_shown_and_its_report_refused(
    few: Data, disk: Path, read_only: Callable[[], None]
) -> None:
    wanted, run = job(few, disk / "run"), seefar.load_run(disk / "run")
    for path in (run.folder.figure("history"), run.folder.predictions, run.folder.report):
        path.unlink()
    read_only()
    assert len(job(few, disk / "run").shown) == 2
    assert seefar.evaluate_run(run, few, progress=seefar.SILENT).metrics == wanted.evaluation.metrics
    with pytest.raises(RunError, match=r"report\.html cannot be written \(Read-only file system\)"):
        seefar.report_run(run, few, progress=seefar.SILENT)


@contextmanager
def open_files(more: int) -> Iterator[None]:
    """Within `with` this process can have so many more files open than now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_too_few_open_files_are_told_and_the_same_call_goes_on(
    few: Data, tmp_path: Path, wanted: dict[str, Any]
) -> None:
    run = RunFolder(tmp_path / "run")
    told: list[str] = []
    for more in range(20):  # about seven are what a job needs; what is loaded once, others may have loaded before
        try:
            with open_files(more):
                job(few, run.path)
            break
        except RunError as error:
            told.append(str(error))
    assert len(told) > 2
    assert all(re.search(r"Too many open files\).*more files \(ulimit -n\)", one) for one in told)
    assert content(run.path) == wanted
    assert verify(run) == []


def test_a_checkpoint_that_cannot_be_opened_is_not_called_damaged(few: Data, tmp_path: Path) -> None:
    save_tensors(tmp_path / "a", {"w": torch.ones(2)}, {})
    with open_files(0), pytest.raises(RunError, match=r"a cannot be read \(.*Too many open files") as told:
        load_tensors(tmp_path / "a")
    assert "delete" not in str(told.value)


def test_weights_that_cannot_be_opened_for_want_of_descriptors_are_not_called_damaged(
    few: Data, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    seefar.train(TINY, few, run.path, progress=seefar.SILENT)
    told = []
    for more in range(1, 4):  # one is enough for looking whether it can be opened, not for reading it
        try:
            with open_files(more):
                seefar.load_run(run.path)
        except RunError as error:
            told.append(str(error))
    assert told
    assert all(re.search(r"weights\.safetensors cannot be read \(Too many open files\)", one) for one in told)
