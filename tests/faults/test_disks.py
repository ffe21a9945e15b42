"""Disks that are full or read-only, and too few open files: refused by name, nothing lost, resumed by the same call."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_job import TINY, At, content, run_tiny

import seefar
from seefar.data import Data
from seefar.errors import Interrupted, RunError
from seefar.runs.arrays import load_tensors
from seefar.runs.folder import RunFolder, verify


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


@pytest.mark.slow
def test_a_disk_that_is_full_at_each_file_in_turn(
    few: Data, disk: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is filled before a file that was not written before is opened."""
    run, seen, create = RunFolder(disk / "tiny"), set[str](), os.open

    def fill_first(path: Any, flags: int, *more: Any, **options: Any) -> int:
        name = re.sub(r"^(\.part-[0-9a-f]+-)+", "", Path(path).name)
        if flags & os.O_CREAT and disk in Path(path).parents and name not in seen:
            seen.add(name)
            file, free = create(disk / "filler", os.O_RDWR | os.O_CREAT), os.statvfs(disk)
            if free.f_bavail:
                os.posix_fallocate(file, os.fstat(file).st_size, free.f_bavail * free.f_bsize)
            os.close(file)
        return create(path, flags, *more, **options)

    monkeypatch.setattr(os, "open", fill_first)
    refused: list[str] = []
    while len(refused) < 40:
        try:
            run_tiny(few, run.path)
            break
        except RunError as error:
            refused.append(str(error))
        assert list(run.path.rglob(".part-*")) == []
        (disk / "filler").unlink(missing_ok=True)
    (disk / "filler").unlink(missing_ok=True)
    assert len(refused) >= 15
    assert all(str(run) in one and "No space left on device" in one for one in refused)
    assert content(run.path) == content(finished)
    assert verify(run) == []


def test_with_too_few_open_files_weights_are_not_called_damaged(finished: Path) -> None:
    limits, lowest = resource.getrlimit(resource.RLIMIT_NOFILE), os.dup(0)
    os.close(lowest)
    for more in (0, 2):
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + more, limits[1]))
        try:
            with pytest.raises(RunError, match=r"weights\.safetensors.*Too many open files.*ulimit -n"):
                load_tensors(RunFolder(finished).weights)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.fixture
def read_only(disk: Path) -> Iterator[Callable[[], None]]:
    """Makes the disk read-only for all, also for root, whom permissions do not bind."""
    yield lambda: mount("-o", "remount,ro", str(disk))
    mount("-o", "remount,rw", str(disk))


@pytest.mark.slow
def test_on_a_read_only_disk_a_training_is_refused_and_a_finished_run_is_shown(
    few: Data, disk: Path, read_only: Callable[[], None], finished: Path
) -> None:
    run = RunFolder(disk / "tiny")
    with pytest.raises(Interrupted):
        seefar.train(
            TINY, few, run.path, precision="float32", progress=At(3, lambda: os.kill(os.getpid(), signal.SIGTERM))
        )
    before = {path: path.read_bytes() for path in run.path.rglob("*")}
    read_only()
    with pytest.raises(RunError, match="tiny"):
        run_tiny(few, run.path)
    assert {path: path.read_bytes() for path in run.path.rglob("*")} == before
    mount("-o", "remount,rw", str(disk))
    run_tiny(few, run.path)
    assert content(run.path) == content(finished)
    run.maps.unlink()
    read_only()
    assert len(run_tiny(few, run.path).shown) == 2
    assert not run.maps.exists()
