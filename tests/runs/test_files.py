"""Files are written atomically, durably, and never through a link."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from seefar.errors import RunError
from seefar.runs.files import write_text, written_beside


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail_halfway() -> None:
        with written_beside(path) as beside:
            beside.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_nothing_is_written_through_a_link_with_the_temporary_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _count: "0" * 16)
    outside, folder = tmp_path / "outside", tmp_path / "run"
    folder.mkdir()
    (folder / f".part-{'0' * 16}-a.txt").symlink_to(outside)
    with pytest.raises(RunError, match=r"a\.txt"):
        write_text(folder / "a.txt", "text")
    assert not outside.exists()


def test_content_and_rename_are_on_the_disk_when_writing_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def record(file: int) -> None:
        calls.append("folder" if os.path.isdir(f"/proc/self/fd/{file}") else "file")
        fsync(file)

    monkeypatch.setattr(os, "fsync", record)
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("rename"), replace(*paths)))
    write_text(tmp_path / "a.txt", "text")
    assert calls == ["file", "rename", "folder"]
