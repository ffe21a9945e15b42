"""Power cuts: a file system on a loop device, copied as it is on the disk while a run writes, and resumed there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tiny_job import content, run_tiny

from seefar.data import Data
from seefar.runs.folder import verify

FSYNC = os.fsync  # the tests' own does nothing
CUTS = 4


@contextmanager
def mounted(disk: Path, place: Path) -> Iterator[None]:
    place.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-o", "loop", str(disk), str(place)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no loop device can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


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

    with mounted(disk, place):
        with monkeypatch.context() as patch:
            every = 150 // CUTS  # of some 170 renames and syncs
            patch.setattr(os, "fsync", cutting(FSYNC, every))
            patch.setattr(os, "replace", cutting(os.replace, every))
            run_tiny(few, place / "run")
        cuts.append(tmp_path / "cut at the end")
        subprocess.run(["cp", "--sparse=always", disk, cuts[-1]], check=True)
    assert len(cuts) == CUTS + 1
    for cut in cuts:
        with mounted(cut, place):
            run_tiny(few, place / "run")
            assert verify(place / "run") == [], cut.name
            assert content(place / "run") == content(finished), cut.name
