"""Official files: downloaded once from the first address that has them, resumed, and checked whenever they are read."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import tomllib
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from seefar.errors import DataError
from seefar.progress import Progress
from seefar.runs.files import open_regular, open_to_append, read_bytes
from seefar.runs.store import locked

if TYPE_CHECKING:
    from requests import Response

SOURCES: dict[str, Any] = tomllib.loads((resources.files("seefar.data") / "official.toml").read_text(encoding="utf-8"))
"""Addresses and checksums of the public data sets and of the reference data."""
CHUNK_BYTES = 1 << 18
TIMEOUT_SECONDS = 3.05, 30.0
"""Timeouts of the connection, and of each wait for more bytes. Without a network the first one takes 3 seconds."""
SLOWEST = 50_000
"""Bytes per second below which a transfer is stopped; the received bytes are kept for the next try."""


@dataclass(frozen=True)
class Remote:
    """A public file: addresses of identical copies, best first; its MD5 or SHA-256; and the most bytes it can have."""

    urls: tuple[str, ...]
    checksum: str
    size: int


def default_folder() -> Path:
    """The folder of data sets: the environment variable SEEFAR_DATA, else the user's cache folder."""
    return Path(os.environ.get("SEEFAR_DATA") or user_cache())


def user_cache() -> Path:
    """The folder for seefar in the user's cache folder; it may not exist yet."""
    return Path(platformdirs.user_cache_dir("seefar"))


def read_checked(path: Path, checksum: str, name: str) -> bytes:
    """The bytes of an official file that `seefar data NAME` downloads; an error if its checksum differs."""
    again = f"delete {path.parent} and run `seefar data {name}` to download it again"
    try:
        content = read_bytes(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): {again}, or choose another folder.") from error
    actual = _hash(checksum, content).hexdigest()
    if actual != checksum:
        raise DataError(
            f"{path} is not the official file: its checksum must be {checksum} (got {actual}, {len(content):,} bytes). "
            f"It is damaged or a different file; {again}."
        )
    return content


def _hash(checksum: str, content: bytes = b"") -> Any:
    """MD5 or SHA-256, whichever has as many digits as `checksum`."""
    return hashlib.new("md5" if len(checksum) == 32 else "sha256", content, usedforsecurity=False)


def _file_hash(checksum: str, path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, lambda: _hash(checksum)).hexdigest()


def download_all(files: Mapping[str, Remote], home: Path, progress: Progress) -> None:
    """Download the files, by their names below `home`; other processes that do the same wait."""
    with locked(home, progress, wait=longest_transfer(sum(file.size for file in files.values()))):
        for name, file in files.items():
            download(file, home / name, progress)


def download(file: Remote, path: Path, progress: Progress) -> None:
    """Download `path` from the first address that has the right file, unless it exists already.

    A transfer that breaks off leaves `<path>.part`, and the next try of any address fetches only the rest. A
    `DataError` lists the failure of each address, and whether `path` is a damaged file.
    """
    damaged = ""
    if path.exists():
        actual = _file_hash(file.checksum, path)
        if actual == file.checksum:
            return
        damaged = f"The file there is damaged or a different one: its checksum is {actual}.\n"
    import requests

    part = path.with_name(f"{path.name}.part")
    failures = []
    for url in file.urls:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            transfer(url, part, file.size, progress)
            actual = _file_hash(file.checksum, part)
            if actual == file.checksum:
                os.replace(part, path)
                return
            part.unlink()  # the next address starts from the first byte
            failures.append(f"{url}: a different file (its checksum is {actual})")
        except requests.ConnectionError:  # whose text is a paragraph of class names
            failures.append(f"{url}: no connection")
        except OSError as error:
            failures.append(f"{url}: {error}")
    tried = "\n  ".join(failures)
    raise DataError(
        f"{path} could not be downloaded (its checksum must be {file.checksum}):\n  {tried}\n{damaged}"
        f"Try again to resume, or copy the file to {path}."
    )


def longest_transfer(size: int) -> float:
    """Seconds after which a transfer of so many bytes is stopped."""
    return sum(TIMEOUT_SECONDS) + size / SLOWEST


def transfer(url: str, part: Path, most: int, progress: Progress) -> None:
    """Complete the file `part` by an HTTP range, or download it from the beginning if the host does not support ranges.

    After `most` bytes nothing more is read. Every failure is an OSError, as all errors of requests are.
    """
    import requests
    from urllib3.exceptions import HTTPError

    ends = time.monotonic() + longest_transfer(most)
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with _answer(url, headers) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # it is complete; the checksum decides
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            have = 0  # the host sends the file from its beginning
        length = "" if "Content-Encoding" in response.headers else response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() else None
        with open_to_append(part) as file:
            file.truncate(have)
            try:
                while have <= most and (chunk := response.raw.read1(CHUNK_BYTES, decode_content=True)):
                    have += file.write(chunk)
                    if time.monotonic() > ends:
                        raise TimeoutError(f"too slow: {have:,} bytes after {longest_transfer(most):.0f} seconds")
                    if total and total >= 10**6:  # a smaller file needs no bar
                        progress.update("downloading", have // 10**6, total // 10**6, "MB")
            except HTTPError as error:
                raise OSError(f"the connection ended after {have:,} bytes ({error})") from error
    if total and have < min(total, most):
        raise OSError(f"the connection ended after {have:,} of {total:,} bytes")


def _answer(url: str, headers: Mapping[str, str]) -> Response:
    """The response of a host, whose content is not read yet; a host may send its header very slowly."""
    import requests

    response: Future[Response] = Future()

    def ask() -> None:
        try:
            response.set_result(requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS))
        except BaseException as error:
            response.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    return response.result(sum(TIMEOUT_SECONDS))
