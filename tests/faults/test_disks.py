"""Disks that are full, read-only or without power, and too few open files: nothing lost, resumed by the same call."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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


@contextmanager
def mounted(place: Path, *words: str) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    mount(*words, str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=4m", "tmpfs") as place:
        yield place


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
    limits, held = resource.getrlimit(resource.RLIMIT_NOFILE), list[int]()
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, limits[1]))
    try:
        with suppress(OSError):
            while True:
                held.append(os.dup(0))
        with pytest.raises(RunError, match=r"weights\.safetensors.*Too many open files.*ulimit -n"):
            load_tensors(RunFolder(finished).weights)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for number in held:
            os.close(number)


@pytest.mark.slow
def test_on_a_read_only_disk_a_training_is_refused_and_a_finished_run_is_shown(
    few: Data, disk: Path, finished: Path
) -> None:
    """Read-only also for root, whom permissions do not bind."""
    run = RunFolder(disk / "tiny")
    with pytest.raises(Interrupted):
        seefar.train(
            TINY, few, run.path, precision="float32", progress=At(3, lambda: os.kill(os.getpid(), signal.SIGTERM))
        )
    before = {path: path.read_bytes() for path in run.path.rglob("*")}
    mount("-o", "remount,ro", str(disk))
    with pytest.raises(RunError, match="tiny"):
        run_tiny(few, run.path)
    assert {path: path.read_bytes() for path in run.path.rglob("*")} == before
    mount("-o", "remount,rw", str(disk))
    run_tiny(few, run.path)
    assert content(run.path) == content(finished)
    run.maps.unlink()
    mount("-o", "remount,ro", str(disk))
    assert len(run_tiny(few, run.path).shown) == 2
    assert not run.maps.exists()


# ---- Power cuts: a file system on a loop device, copied while a run writes, and resumed there ----

FSYNC = os.fsync  # the tests' own does nothing
CUTS = 4


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("mkfs.ext4") is None, reason="no mkfs.ext4")
def test_after_a_power_cut_at_any_rename_or_sync_the_same_call_ends_with_the_same_bits(
    few: Data, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, place, cuts = tmp_path / "disk", tmp_path / "place", list[Path]()
    with disk.open("wb") as file:
        file.truncate(24 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", disk], check=True)
    count = 0

    def cutting(function: Callable[..., Any], number: int) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal count
            count += 1
            if count % number == 0 and len(cuts) < CUTS:
                cuts.append(tmp_path / f"cut {count}")
                subprocess.run(["cp", "--sparse=always", disk, cuts[-1]], check=True)
            return function(*arguments)

        return call

    with mounted(place, "-o", "loop", str(disk)):
        with monkeypatch.context() as patch:
            every = 150 // CUTS  # of some 170 renames and syncs
            patch.setattr(os, "fsync", cutting(FSYNC, every))
            patch.setattr(os, "replace", cutting(os.replace, every))
            run_tiny(few, place / "run")
        cuts.append(tmp_path / "cut at the end")
        subprocess.run(["cp", "--sparse=always", disk, cuts[-1]], check=True)
    assert len(cuts) == CUTS + 1
    for cut in cuts:
        with mounted(place, "-o", "loop", str(cut)):
            run_tiny(few, place / "run")
            assert verify(place / "run") == [], cut.name
            assert content(place / "run") == content(finished), cut.name
