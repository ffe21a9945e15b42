"""Downloads from hosts on loopback that behave well or badly."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_host import CONTENT, MD5, Host

from seefar.data.official import Remote, download
from seefar.errors import DataError
from seefar.progress import SILENT


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


def fetch(host: Host, path: Path, *kinds: str) -> None:
    """Download the file from these addresses, best first."""
    download(Remote(tuple(host.url(kind) for kind in kinds), MD5, len(CONTENT)), path, SILENT)


@pytest.mark.parametrize(
    ("kinds", "asked"),
    [
        (("good",), ["good"]),
        (("missing", "good"), ["missing", "good"]),
        (("wrong", "good"), ["wrong", "good"]),  # from the first byte
        (("endless", "good"), ["endless", "good"]),
        (("gzip",), ["gzip"]),
        (("missing", "no-length"), ["missing", "no-length"]),
    ],
)
def test_the_first_address_that_has_the_file_is_taken(
    kinds: tuple[str, ...], asked: list[str], host: Host, tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "file"
    fetch(host, path, *kinds)
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]
    assert host.asked == [(kind, 0) for kind in asked]
    assert host.sent < 20 * len(CONTENT)  # of the endless one: what the system's buffers took
    fetch(host, path, "good")
    assert len(host.asked) == len(asked)  # what is there is not fetched again


def test_a_broken_transfer_resumes(host: Host, tmp_path: Path) -> None:
    part = tmp_path / "file.part"
    with pytest.raises(DataError, match="could not be downloaded"):
        fetch(host, tmp_path / "file", "breaks")
    have = part.stat().st_size
    assert 0 < have <= 400_000
    fetch(host, tmp_path / "file", "breaks")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert host.asked == [("breaks", 0), ("breaks", have)]
    assert not part.exists()


@pytest.mark.parametrize(("kind", "have"), [("no-range", 5000), ("good", len(CONTENT))])
def test_a_part_is_completed_by_a_host_without_ranges_and_a_complete_one_is_taken(
    kind: str, have: int, host: Host, tmp_path: Path
) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:have])
    fetch(host, tmp_path / "file", kind)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_when_all_mirrors_fail_each_reason_is_reported(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"rubbish")
    with pytest.raises(DataError) as error:
        fetch(host, tmp_path / "file", "missing", "wrong")
    for part in ("404", host.url("wrong"), hashlib.md5(bytes(len(CONTENT))).hexdigest(), MD5):
        assert part in str(error.value)
    assert (tmp_path / "file").read_bytes() == b"rubbish"  # it may be worth something to its owner
