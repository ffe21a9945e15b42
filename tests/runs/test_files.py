"""Files are read only if they are regular and small enough, and written atomically, never through a link."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

import pytest

from seefar.errors import RunError
from seefar.runs.files import open_regular, read_bytes, write_text, written_beside


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


@pytest.mark.parametrize("kind", ["fifo", "link", "folder", "socket", "device"])
def test_only_regular_files_are_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(str(path))
    else:
        path.symlink_to("/dev/zero" if kind == "device" else tmp_path / "b")
        (tmp_path / "b").write_text("b")
    with pytest.raises(OSError, match="a"):
        open_regular(path, follow=False)
    if kind == "device":
        with pytest.raises(OSError, match="regular"):
            open_regular(path)


def test_a_file_of_holes_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(5 << 30)
    with pytest.raises(OSError, match="5,368,709,120"):
        read_bytes(path)


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
