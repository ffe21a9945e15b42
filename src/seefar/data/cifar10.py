"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): official files, downloaded once, checked, read without running code."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import secrets
import shutil
import tarfile
import threading
import time
import warnings
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seefar.data.images import Data, Split
from seefar.errors import DataError
from seefar.progress import SILENT, Progress, showing
from seefar.runs.files import expanded, open_regular, open_to_append, read_bytes

if TYPE_CHECKING:
    from requests import Response

FOLDER = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
ARCHIVE_BYTES = 170_498_071
# The official host first; the second is the copy that PaddlePaddle's data sets use, with the same checksum.
URLS = (
    f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}",
    f"https://dataset.bj.bcebos.com/cifar/{ARCHIVE}",
)
TRAIN_FILES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_FILES = ("test_batch",)
META_FILE = "batches.meta"
MD5 = {
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}


@dataclass(frozen=True)
class Batches:
    """A data set that is an archive of pickled batches.

    Attributes:
        name: as `load_data` takes it.
        folder: of the files in the archive.
        archive: name of the archive.
        archive_md5: its checksum.
        size: its bytes.
        urls: addresses of byte-identical copies, best first.
        train, test: files of the two parts.
        meta: the file with the names of the classes.
        names: key of the names in it.
        labels: key of the labels in the others.
        md5: checksums of all files.
    """

    name: str
    folder: str
    archive: str
    archive_md5: str
    size: int
    urls: tuple[str, ...]
    train: tuple[str, ...]
    test: tuple[str, ...]
    meta: str
    names: bytes
    labels: bytes
    md5: Mapping[str, str]


CIFAR10 = Batches(
    "cifar10", FOLDER, ARCHIVE, ARCHIVE_MD5, ARCHIVE_BYTES, URLS, TRAIN_FILES, TEST_FILES, META_FILE, b"label_names",
    b"labels", MD5,
)  # fmt: skip
CIFAR100 = Batches(
    name="cifar100",
    folder="cifar-100-python",
    archive="cifar-100-python.tar.gz",
    archive_md5="eb9058c3a382ffc7106e4002c42a8d85",
    size=169_001_437,
    urls=tuple(url.replace("cifar-10-", "cifar-100-") for url in URLS),
    train=("train",),
    test=("test",),
    meta="meta",
    names=b"fine_label_names",
    labels=b"fine_labels",
    md5={
        "meta": "7973b15100ade9c7d40fb424638fde48",
        "train": "16019d7e3df5f24257cddd939b257f8d",
        "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    },
)


def default_folder() -> Path:
    """The folder of data sets: the environment variable SEEFAR_DATA, else the user's cache folder."""
    return Path(os.environ.get("SEEFAR_DATA") or user_cache())


def load_cifar10(folder: str | Path | None = None, *, create: bool = False, progress: Progress | None = None) -> Data:
    """CIFAR-10: 50,000 training and 10,000 test images of 32x32 pixels, 10 classes. Downloaded if missing.

    Args:
        folder: the folder of `cifar-10-batches-py/` or of the archive, or that folder itself. Default:
            `default_folder()`.
        create: create the folder if it does not exist. Otherwise a missing folder is an error; only the user's
            cache folder is always created.
        progress: see `seefar.progress`.

    Raises:
        DataError: the data can be neither found nor downloaded, or a file is not the official one.
    """
    return _load(CIFAR10, folder, create, progress)


def load_cifar100(folder: str | Path | None = None, *, create: bool = False, progress: Progress | None = None) -> Data:
    """CIFAR-100: 50,000 training and 10,000 test images of 32x32 pixels, 100 classes; see `load_cifar10`."""
    return _load(CIFAR100, folder, create, progress)


def _load(batches: Batches, folder: str | Path | None, create: bool, progress: Progress | None) -> Data:
    place = data_place(folder, batches.name, batches.folder, batches.size, create)
    with showing(progress) as shown:
        return read_batches(find_batches(place, progress=shown, batches=batches), batches=batches)


def data_place(folder: str | Path | None, name: str, holds: str, size: int, create: bool) -> Path:
    """The folder of a data set, also for a download.

    Raises:
        DataError: the chosen folder does not exist.
    """
    chosen = folder or os.environ.get("SEEFAR_DATA")
    place = expanded(folder) if folder else default_folder()
    if chosen and not create and not place.is_dir():
        named = "" if folder else ", set by SEEFAR_DATA,"
        raise DataError(
            f"The folder {place}{named} does not exist: choose the one that holds {holds}, or create it and "
            f"download {size // 10**6} MB: create=True, or `seefar data {name} --data-dir {place}`."
        )
    return place


def find_batches(
    folder: Path,
    urls: tuple[str, ...] | None = None,
    archive_md5: str | None = None,
    progress: Progress = SILENT,
    *,
    batches: Batches = CIFAR10,
) -> Path:
    """The folder with the batch files: as it is, else unpacked from the archive, else downloaded first.

    Raises:
        DataError: the folder has no files, and no address has the official archive.
    """
    if (folder / batches.meta).is_file() or (folder / batches.train[0]).is_file():
        return folder
    place = folder / batches.folder
    if not place.exists():
        from seefar.runs.store import locked  # imports torch

        archive = folder / batches.archive
        with locked(folder, progress, wait=longest_transfer(batches.size)):
            if not place.exists():  # another process may have fetched them in the meantime
                download(urls or batches.urls, archive, archive_md5 or batches.archive_md5, batches.size, progress)
                unpack(archive, place, batches)
    return place


def unpack(archive: Path, place: Path, batches: Batches = CIFAR10) -> None:
    """Write the batch files of the archive into `place`; its other members are not read.

    The files are written into a temporary folder that is renamed at the end, so a crash leaves no partial result.

    Raises:
        DataError: the archive cannot be read or lacks one of the files.
    """
    beside = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
    try:
        beside.mkdir(parents=True)
        with tarfile.open(archive) as tar:
            for name in batches.md5:
                member = tar.extractfile(
                    f"{batches.folder}/{name}"
                )  # bytes of one named file: the archive chooses no path
                if member is None:
                    raise KeyError(name)
                (beside / name).write_bytes(member.read())
        os.replace(beside, place)
    except (KeyError, EOFError, OSError, ValueError, tarfile.TarError, zlib.error) as error:
        raise DataError(
            f"{archive} cannot be unpacked ({error}): it should hold {batches.folder}/ with {', '.join(batches.md5)}. "
            "Delete it and run the command again to download it again."
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def read_batches(place: Path, checksums: Mapping[str, str] | None = None, *, batches: Batches = CIFAR10) -> Data:
    """Read and check the batch files in `place`.

    The checksums guarantee the form of the content, which is not validated again.

    Raises:
        DataError: a file is missing, differs from its checksum, or would run code.
    """

    def read(name: str) -> Mapping[bytes, Any]:
        return unpickle_batch(
            checked_content(place / name, (checksums or batches.md5)[name], batches.name), place / name
        )

    def split(names: Sequence[str]) -> Split:
        images, labels = [], []
        for name in names:
            batch = read(name)
            planes = batch[b"data"].reshape(-1, 3, 32 * 32)  # a row holds all red values, then green, then blue
            images.append(planes.transpose(0, 2, 1).reshape(-1, 32, 32, 3))
            labels += batch[batches.labels]
        return Split(np.concatenate(images), np.array(labels), classes)

    classes = tuple(name.decode() for name in read(batches.meta)[batches.names])
    return Data(batches.name, split(batches.train), split(batches.test))


def checked_content(path: Path, md5: str, name: str) -> bytes:
    """The bytes of a file of the data set of this name.

    Raises:
        DataError: it cannot be read, or has another checksum.
    """
    again = f"delete {path.parent} and run `seefar data {name}` to download it again"
    try:
        content = read_bytes(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): {again}, or choose another folder.") from error
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise DataError(
            f"{path} is not the official file: its MD5 must be {md5} (got {found}, {len(content):,} bytes). "
            f"It is damaged or a different file; {again}."
        )
    return content


class _BatchUnpickler(pickle.Unpickler):
    """Allows only the names that an array of numbers needs, so no other code can run."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
            ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],  # its name since numpy 2
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it imports {module}.{name}, which no CIFAR-10 batch needs")
        return allowed[module, name]


def unpickle_batch(content: bytes, path: Path) -> Mapping[bytes, Any]:
    """The dictionary in a batch file, read so that a hostile file can run nothing.

    Raises:
        DataError: the content is no pickle, or needs more than an array of numbers.
    """
    try:
        batch: Mapping[bytes, Any] = _BatchUnpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle may raise anything at all
        raise DataError(f"{path} cannot be read as a CIFAR-10 batch: {error}. Nothing in it was run.") from error
    return batch


CHUNK_BYTES = 1 << 18
TIMEOUT_SECONDS = 3.05, 30.0
"""Timeouts of the connection, and of each wait for more bytes. Without a network the first one takes 3 seconds."""
MOST_BYTES = 1 << 30
"""Size limit of a file of unknown length."""
SLOWEST = 50_000
"""Bytes per second below which a transfer is stopped; the received bytes are kept for the next try."""


def user_cache() -> Path:
    """The folder for seefar in the user's cache folder; it may not exist yet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm's, which pooch imports, in notebooks without widgets
        import pooch

        return Path(pooch.os_cache("seefar"))


def download(urls: tuple[str, ...], path: Path, md5: str, size: int = MOST_BYTES, progress: Progress = SILENT) -> None:
    """Download `path` from the first address that has the right file, unless it exists already.

    A transfer that breaks off leaves `<path>.part`, and the next try (of any address, in this process or a later
    one) fetches only the rest. The file gets its name when its checksum is right.

    `urls` are addresses of byte-identical copies, best first. No more than `size` bytes are fetched.

    Raises:
        DataError: no address has the file; the message lists the failure of each, and whether `path` is a damaged file.
    """
    damaged = ""
    if path.exists():
        found = _md5(path)
        if found == md5:
            return
        damaged = f"The file there is damaged or a different one: its MD5 is {found}.\n"
    progress.line(f"downloading {path.name} into {path.parent}")
    part = path.with_name(f"{path.name}.part")
    failures = []
    for url in urls:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            transfer(url, part, size, progress)
            found = _md5(part)
            if found == md5:
                os.replace(part, path)
                return
            part.unlink()  # the next address starts from the first byte
            failures.append(f"{url}: a different file (its MD5 is {found})")
        except OSError as error:
            failures.append(f"{url}: {failure(error)}")
    tried = "\n  ".join(failures)
    raise DataError(
        f"{path} could not be downloaded (its MD5 must be {md5}):\n  {tried}\n{damaged}"
        f"Try again to resume, or put the file at {path} by hand."
    )


def _md5(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def longest_transfer(size: int) -> float:
    """Seconds after which a transfer of so many bytes is stopped."""
    return sum(TIMEOUT_SECONDS) + size / SLOWEST


def transfer(url: str, part: Path, most: int, progress: Progress = SILENT) -> None:
    """Complete the file `part` by an HTTP range, or download it from the beginning if the host does not support ranges.

    After `most` bytes nothing more is read: the checksum will refuse the file.

    Raises:
        OSError: the host cannot be reached, has no such file, ended the connection early, or takes too long. All errors
            of requests are of this type.
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
                    if total:
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


def failure(error: OSError) -> str:
    """The reason in a few words; requests reports a lost connection as a paragraph of class names."""
    import requests

    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return str(error)
