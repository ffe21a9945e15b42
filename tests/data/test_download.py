from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from tiny_host import CONTENT, MD5, Host

from seefar.data.cifar10 import download
from seefar.errors import DataError


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


def test_a_file_arrives_whole(host: Host, tmp_path: Path) -> None:
    download((host.url("good"),), tmp_path / "deep" / "file", MD5, len(CONTENT))
    assert (tmp_path / "deep" / "file").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file"]


def test_what_is_there_is_not_fetched_again(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    download((host.url("good"),), tmp_path / "file", MD5, len(CONTENT))
    assert host.asked == []


def test_the_mirror_is_tried_when_the_first_host_fails(host: Host, tmp_path: Path) -> None:
    download((host.url("missing"), host.url("good")), tmp_path / "file", MD5, len(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert host.asked == [("missing", 0), ("good", 0)]


def test_a_broken_transfer_goes_on_where_it_stopped(host: Host, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="could not be downloaded"):
        download((host.url("breaks"),), tmp_path / "file", MD5, len(CONTENT))
    assert not (tmp_path / "file").exists()
    have = (tmp_path / "file.part").stat().st_size
    assert 0 < have <= 400_000
    download((host.url("breaks"),), tmp_path / "file", MD5, len(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert host.asked == [("breaks", 0), ("breaks", have)]
    assert not (tmp_path / "file.part").exists()


def test_a_host_that_sends_everything_again_is_understood(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:5000])
    download((host.url("no-range"),), tmp_path / "file", MD5, len(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_whole_part_is_checked_and_taken(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT)
    download((host.url("good"),), tmp_path / "file", MD5, len(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_wrong_file_is_dropped_and_the_mirror_starts_from_nothing(host: Host, tmp_path: Path) -> None:
    download((host.url("wrong"), host.url("good")), tmp_path / "file", MD5, len(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert host.asked == [("wrong", 0), ("good", 0)]


def test_no_more_is_read_than_the_file_has(host: Host, tmp_path: Path) -> None:
    download((host.url("endless"), host.url("good")), tmp_path / "file", MD5, len(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert host.sent < 20 * len(CONTENT)  # what the system's buffers took


def test_a_host_that_compresses_the_file_is_understood(host: Host, tmp_path: Path) -> None:
    download((host.url("gzip"),), tmp_path / "file", MD5, len(CONTENT))
    assert host.asked == [("gzip", 0)]


def test_a_host_that_is_silent_is_waited_for_3_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def get(*_: object, timeout: tuple[float, float], **__: object) -> None:
        asked.append(timeout)
        raise requests.ConnectTimeout

    monkeypatch.setattr(requests, "get", get)
    with pytest.raises(DataError, match="no connection"):
        download(("http://127.0.0.1/",), tmp_path / "file", MD5, len(CONTENT))
    assert [connect for connect, _ in asked] == [pytest.approx(3, abs=0.1)]


def test_when_every_address_fails_each_answer_is_told(host: Host, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        download((host.url("missing"), host.url("wrong")), tmp_path / "file", MD5, len(CONTENT))
    zeros = hashlib.md5(bytes(len(CONTENT))).hexdigest()
    for part in ("404", host.url("wrong"), zeros, MD5, "by hand"):
        assert part in str(error.value)
    assert not (tmp_path / "file").exists()


def test_a_damaged_file_that_cannot_be_fetched_anew_is_told(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"rubbish")
    found = hashlib.md5(b"rubbish").hexdigest()
    with pytest.raises(DataError, match=found) as error:
        download((host.url("missing"),), tmp_path / "file", MD5, len(CONTENT))
    assert MD5 in str(error.value)
    assert (tmp_path / "file").read_bytes() == b"rubbish"  # it may be worth something to its owner


def test_progress_is_the_callers_and_nothing_global_changes(
    host: Host, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """No print, and no other level of pooch's logger, which is the user's own."""
    import pooch

    level = pooch.get_logger().level
    seen: list[tuple[str, object]] = []

    class Watch:
        def line(self, text: str) -> None:
            seen.append(("line", text))

        def update(self, stage: str, done: int, total: int, note: str = "") -> None:
            seen.append((stage, (done, total, note)))

    download((host.url("good"),), tmp_path / "file", MD5, len(CONTENT), Watch())
    assert seen[0] == ("line", f"downloading file into {tmp_path}")
    assert seen[-1] == ("downloading", (1, 1, "MB"))
    assert capfd.readouterr() == ("", "")
    assert pooch.get_logger().level == level
