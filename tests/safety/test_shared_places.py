"""Folders that two commands use at once, file systems without locks, and hosts that send too slowly."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_host import CONTENT, MD5, Host
from tiny_job import Lines

from seefar.data import cifar10
from seefar.data.cifar10 import ARCHIVE, FOLDER, download, find_batches, transfer
from seefar.data.reference import Source, find_files
from seefar.errors import DataError, RunError
from seefar.runs.store import locked

FIND = """
import sys
from pathlib import Path
from seefar.data.cifar10 import find_batches
find_batches(Path(sys.argv[1]), (sys.argv[2],), sys.argv[3])
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Host, bytes]]:
    """A host with an archive of the right names, and its content."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in cifar10.MD5:
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size = 10_000
            tar.addfile(member, io.BytesIO(os.urandom(10_000)))
    content = packed.getvalue()
    host = Host(content)
    yield host, content
    host.close()


@pytest.mark.slow
def test_two_commands_that_fetch_at_once_fetch_once_and_both_end_well(
    served: tuple[Host, bytes], tmp_path: Path
) -> None:
    host, content = served
    words = [sys.executable, "-c", FIND, tmp_path / "home", host.url("slow"), hashlib.md5(content).hexdigest()]
    begun = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [(process.communicate(timeout=60)[1], process.returncode) for process in begun] == [("", 0)] * 3
    assert host.asked == [("slow", 0)]
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == [".lock", FOLDER, ARCHIVE]


def test_two_threads_that_unpack_at_once_both_end_well(served: tuple[Host, bytes], tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ARCHIVE).write_bytes(served[1])
    found: list[Path] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(
                find_batches(tmp_path / "home", (), hashlib.md5(served[1]).hexdigest(), progress=Lines())
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [tmp_path / "home" / FOLDER] * 4


def test_reference_files_fetched_at_once_are_whole(tmp_path: Path) -> None:
    host = Host()
    source = Source(
        "title", "licence", "owner/repository", "commit", {"file": ("good", hashlib.sha256(CONTENT).hexdigest())}
    )
    threads = [
        threading.Thread(target=find_files, args=(tmp_path,), kwargs={"sources": [source], "host": host.url("good")})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    host.close()
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_reported_and_used(
    number: int, served: tuple[Host, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_file: int, _operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", missing)
    lines = Lines()
    find_batches(tmp_path / "home", (served[0].url("good"),), hashlib.md5(served[1]).hexdigest(), lines)
    assert [line for line in lines.found if "without locks" in line] == lines.found[:1]
    assert (tmp_path / "home" / FOLDER).is_dir()


def test_who_waits_for_another_process_is_told_and_gives_up(tmp_path: Path) -> None:
    lines, refused = Lines(), []

    def enter() -> None:
        try:
            with locked(tmp_path, lines, wait=0.2):
                pass
        except RunError as error:
            refused.append(str(error))

    with locked(tmp_path):
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join(30)
    assert len(lines.found) == len(refused) == 1
    assert str(tmp_path) in refused[0]


@pytest.fixture
def dripping() -> Iterator[tuple[str, list[bytes]]]:
    """A host that sends what is in the list, then a byte in 0.05 s for ever."""
    head: list[bytes] = []
    over = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while not over.is_set():
            connection = server.accept()[0]
            with connection:
                try:
                    connection.sendall(b"".join(head))
                    while not over.wait(0.05):
                        connection.sendall(b"x")
                except OSError:
                    pass

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}/", head
    over.set()
    server.close()


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "sent", [HEAD + b"Content-Length: 1000000\r\n\r\n", HEAD + b"\r\n", HEAD + b"X-Long: ", b"HTTP/1"], ids=str
)
def test_a_host_that_drips_is_given_up_in_time(
    sent: bytes, dripping: tuple[str, list[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10, "TIMEOUT_SECONDS", (0.1, 0.4))
    monkeypatch.setattr(cifar10, "SLOWEST", 10_000)
    url, head = dripping
    head.append(sent)
    began = time.monotonic()
    with pytest.raises(OSError):  # noqa: PT011  # each way to fail has its own message
        transfer(url, tmp_path / "part", 1000)
    assert time.monotonic() - began < 5


def test_what_came_from_a_slow_host_is_kept_for_the_next_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "TIMEOUT_SECONDS", (0.1, 0.4))
    monkeypatch.setattr(cifar10, "SLOWEST", 10_000_000)
    host = Host()
    with pytest.raises(DataError, match="slow"):
        download((host.url("slow"),), tmp_path / "file", MD5, len(CONTENT))
    have = (tmp_path / "file.part").stat().st_size
    assert 0 < have < len(CONTENT)
    download((host.url("good"),), tmp_path / "file", MD5, len(CONTENT))
    host.close()
    assert host.asked[1:] == [("good", have)]


def test_a_host_whose_length_is_no_number_does_not_end_the_search(tmp_path: Path) -> None:
    host = Host()
    download((host.url("missing"), host.url("no-length")), tmp_path / "file", MD5, len(CONTENT))
    host.close()
    assert (tmp_path / "file").read_bytes() == CONTENT
