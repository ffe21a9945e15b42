"""Official files: downloaded once from the first address that has them, resumed, and checked whenever they are read.

CIFAR-10, CIFAR-100 and Fashion-MNIST are read without running code.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import tarfile
import tempfile
import threading
import time
import tomllib
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from seefar.data.images import Data, Split
from seefar.errors import DataError
from seefar.progress import SILENT, Progress, showing
from seefar.runs.files import expanded, open_regular, open_to_append, read_bytes
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
    return Path(os.environ.get("SEEFAR_DATA") or platformdirs.user_cache_path("seefar"))


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
    """Seconds after which a transfer of `size` bytes is stopped."""
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


# ---- CIFAR-10, CIFAR-100, Fashion-MNIST ----


@dataclass(frozen=True)
class Official:
    """A public data set, by its name in `load_data`; `official.toml` explains the other fields."""

    name: str
    folder: str
    hosts: tuple[str, ...]
    downloads: Mapping[str, tuple[str, int]]
    files: Mapping[str, str]

    def fetch(self, folder: Path, progress: Progress) -> None:
        """Download what `folder` lacks."""
        progress.line(f"downloading {', '.join(self.downloads)} into {folder}")
        files = {
            name: Remote(tuple(f"{host}/{name}" for host in self.hosts), checksum, size)
            for name, (checksum, size) in self.downloads.items()
        }
        download_all(files, folder, progress)


OFFICIAL = {name: Official(name, **entry) for name, entry in SOURCES["official"].items()}
CIFAR10, CIFAR100, FASHION_MNIST = OFFICIAL.values()
CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
BORDER = 2
"""Black pixels around the images of 28x28 pixels, whose background is black: 32x32 as in the other data sets."""


def load_official(
    official: Official, folder: str | Path | None = None, *, create: bool = False, progress: Progress | None = None
) -> Data:
    """A public data set of 32x32 pixels, downloaded if it is missing; arguments and errors are those of `load_data`.

    `folder` may also be that of CIFAR's own files. Fashion-MNIST gets a black border and three equal channels.
    """
    home = expanded(folder) if folder else default_folder()
    if (folder or os.environ.get("SEEFAR_DATA")) and not create and not home.is_dir():
        size = sum(size for _, size in official.downloads.values())
        raise DataError(
            f"The folder {home}{'' if folder else ', set by SEEFAR_DATA,'} does not exist: choose the one that holds "
            f"{official.folder}, or create it and download {size // 10**6} MB: create=True, or `seefar data "
            f"{official.name} --data-dir {home}`."
        )
    with showing(progress) as shown:
        if official.name == "fashion_mnist":
            return read_fashion(home / official.folder, official, shown)
        return read_batches(find_batches(home, official, shown), official)


def read_fashion(folder: Path, official: Official = FASHION_MNIST, progress: Progress = SILENT) -> Data:
    """Read and check the four files in `folder`, which are downloaded if one is missing."""
    if not all((folder / name).exists() for name in official.files):
        official.fetch(folder, progress)
    arrays = [_read_idx(read_checked(folder / name, md5, official.name)) for name, md5 in official.files.items()]
    splits = []
    for images, labels in (arrays[:2], arrays[2:]):
        bordered = np.pad(images, ((0, 0), (BORDER, BORDER), (BORDER, BORDER)))
        splits.append(Split(np.repeat(bordered[..., None], 3, axis=3), labels.astype(np.int64), CLOTHES))
    return Data(official.name, splits[0], splits[1])


def _read_idx(content: bytes) -> NDArray[np.uint8]:
    """An array in the IDX format: two zeros, the type, the number of axes, their lengths, then the values."""
    plain = gzip.decompress(content)
    axes = np.frombuffer(plain, ">u4", plain[3], 4)
    return np.frombuffer(plain, np.uint8, offset=4 + 4 * len(axes)).reshape(axes)


def find_batches(folder: Path, official: Official = CIFAR10, progress: Progress = SILENT) -> Path:
    """The folder with CIFAR's batch files; they are unpacked from the archive, or downloaded first, if missing."""
    if any((folder / name).is_file() for name in official.files):
        return folder
    batches = folder / official.folder
    if not batches.exists():
        official.fetch(folder, progress)
        unpack(folder / next(iter(official.downloads)), batches, official)
    return batches


def unpack(archive: Path, target: Path, official: Official = CIFAR10) -> None:
    """Write the batch files of a checked archive, and no other, into a folder that gets its name at the end."""
    try:
        with tempfile.TemporaryDirectory(prefix=".part-", dir=archive.parent) as beside, tarfile.open(archive) as tar:
            unpacked = Path(beside, target.name)
            unpacked.mkdir()
            for name in official.files:
                member = tar.extractfile(f"{official.folder}/{name}")  # bytes of one file: the archive chooses no path
                assert member is not None
                (unpacked / name).write_bytes(member.read())
            os.replace(unpacked, target)
    except OSError as error:
        if not target.exists():  # another process may have unpacked it in the meantime
            raise DataError(
                f"{archive} cannot be unpacked ({error}): make room, or make its folder writable."
            ) from error


def read_batches(folder: Path, official: Official = CIFAR10) -> Data:
    """Read and check CIFAR's batch files in `folder`; the checksums guarantee the form of the content."""

    def read(name: str) -> Mapping[bytes, Any]:
        content = read_checked(folder / name, official.files[name], official.name)
        batch: Mapping[bytes, Any] = BatchUnpickler(io.BytesIO(content), encoding="bytes").load()
        return batch

    splits = []
    meta, *names = official.files
    kind = b"fine_" if official.name == "cifar100" else b""
    classes = tuple(name.decode() for name in read(meta)[kind + b"label_names"])
    for part in (names[:-1], names[-1:]):  # the last is the test part
        images, labels = [], []
        for name in part:
            batch = read(name)
            planes = batch[b"data"].reshape(-1, 3, 32 * 32)  # a row holds all red values, then green, then blue
            images.append(planes.transpose(0, 2, 1).reshape(-1, 32, 32, 3))
            labels += batch[kind + b"labels"]
        splits.append(Split(np.concatenate(images), np.array(labels), classes))
    return Data(official.name, splits[0], splits[1])


class BatchUnpickler(pickle.Unpickler):
    """Allows only the names that an array of numbers needs, so no other code can run."""

    def find_class(self, module: str, name: str) -> Any:
        """The object of that name, if a batch may use it."""
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
            ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],  # its name since numpy 2
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it imports {module}.{name}, which no CIFAR-10 batch needs")
        return allowed[module, name]
