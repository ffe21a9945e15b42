"""CIFAR-10 (Krizhevsky 2009): the official files, fetched once, checked, read without running code."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seefar.data.download import download, user_cache
from seefar.data.images import Data, Labels, Split
from seefar.errors import DataError
from seefar.progress import SILENT, Progress, showing

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


def default_folder() -> Path:
    """Where data sets are kept: the environment variable SEEFAR_DATA, else the user's cache folder."""
    return Path(os.environ.get("SEEFAR_DATA") or user_cache())


def load_cifar10(folder: str | Path | None = None, *, create: bool = False, progress: Progress | None = None) -> Data:
    """CIFAR-10: 50,000 training and 10,000 test images of 32x32 pixels, 10 classes. Fetched if it is not there.

    Args:
        folder: the folder that holds `cifar-10-batches-py/` or the archive, or is to hold them; that folder itself
            is taken too. Default: `default_folder()`.
        create: make the folder if it does not exist. Without it one that does not exist is taken to be mistyped; only
            the user's cache folder is made in any case.
        progress: see `seefar.progress`.

    Raises:
        DataError: the data can be neither found nor fetched, or a file is not the official one.
    """
    chosen = folder or os.environ.get("SEEFAR_DATA")
    place = Path(folder).expanduser() if folder else default_folder()
    if chosen and not create and not place.is_dir():
        named = "" if folder else ", which SEEFAR_DATA names,"
        raise DataError(
            f"The folder {place}{named} does not exist: choose the one that holds {FOLDER}, or make it for the 170 MB "
            f"to be fetched into: create=True, or `seefar data cifar10 --data-dir {place}`."
        )
    with showing(progress) as shown:
        return read_batches(find_batches(place, progress=shown))


def find_batches(
    folder: Path, urls: tuple[str, ...] = URLS, archive_md5: str = ARCHIVE_MD5, progress: Progress = SILENT
) -> Path:
    """The folder with the seven batch files: as it lies, else unpacked from the archive, else fetched first.

    Raises:
        DataError: nothing was there, and no address gave the official archive.
    """
    if (folder / META_FILE).exists() or (folder / TRAIN_FILES[0]).exists():
        return folder
    batches = folder / FOLDER
    if not batches.exists():
        archive = folder / ARCHIVE
        download(urls, archive, archive_md5, ARCHIVE_BYTES, progress)
        unpack(archive, batches)
    return batches


def unpack(archive: Path, batches: Path) -> None:
    """Write the seven files of the archive into `batches`; whatever else it holds is never touched.

    The files are written beside their place and moved there whole, so that a kill leaves nothing half made.

    Raises:
        DataError: the archive cannot be read or lacks one of the files.
    """
    beside = batches.with_name(f".{batches.name}.{os.getpid()}")
    beside.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive) as tar:
            for name in MD5:
                member = tar.extractfile(f"{FOLDER}/{name}")  # bytes of one named file: no path of the archive's choice
                if member is None:
                    raise KeyError(name)
                (beside / name).write_bytes(member.read())
        os.replace(beside, batches)
    except (KeyError, EOFError, OSError, ValueError, tarfile.TarError, zlib.error) as error:
        raise DataError(
            f"{archive} cannot be unpacked ({error}): it should hold {FOLDER}/ with {', '.join(MD5)}. "
            "Delete it and run the command again to fetch it anew."
        ) from error
    finally:
        if beside.exists():
            for path in beside.iterdir():
                path.unlink()
            beside.rmdir()


def read_batches(batches: Path, checksums: Mapping[str, str] = MD5) -> Data:
    """Read and check the seven files of `batches`.

    Args:
        batches: the folder `cifar-10-batches-py`.
        checksums: the MD5 each file must have.

    Raises:
        DataError: a file is missing, differs from its checksum, or holds something other than a batch.
    """
    names = (META_FILE, *TRAIN_FILES, *TEST_FILES)
    with ThreadPoolExecutor(1, "batches") as pool:  # it reads and checks a file while the one before is decoded
        contents = pool.map(lambda name: _checked_content(batches / name, checksums[name]), names)
        meta = unpickle_batch(next(contents), batches / META_FILE)
        try:
            classes = tuple(name.decode() for name in meta[b"label_names"])
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{batches / META_FILE} holds no label_names: it is not CIFAR-10's.") from error
        train = _split([batches / name for name in TRAIN_FILES], contents, classes)
        test = _split([batches / name for name in TEST_FILES], contents, classes)
    return Data("cifar10", train, test)


def _split(paths: Sequence[Path], contents: Iterator[bytes], classes: tuple[str, ...]) -> Split:
    """One split of the next batches, each brought into its place as soon as it is decoded."""
    most = sum(path.stat().st_size // 3072 for path in paths if path.exists())  # images, and some
    images, labels = np.empty((most, 32, 32, 3), np.uint8), []
    end = 0
    for path in paths:
        planes, its_labels = _planes(next(contents), path)
        own = images[end : end + len(planes)]
        for channel in range(3):  # one at a time: numpy copies three bytes at a time slowly
            own[..., channel] = planes[:, channel]
        end += len(planes)
        labels.append(its_labels)
    return Split(images[:end], np.concatenate(labels), classes)


def _planes(content: bytes, path: Path) -> tuple[NDArray[np.uint8], Labels]:
    """Images of a batch as they lie in the file, (N, 3, 32, 32), and labels (N,)."""
    batch = unpickle_batch(content, path)
    try:
        planes = np.asarray(batch[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
        labels = np.asarray(batch[b"labels"], dtype=np.int64)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} holds no batch of 32x32 colour images with labels ({error}).") from error
    if len(planes) != len(labels):
        raise DataError(f"{path} holds {len(planes)} images and {len(labels)} labels: it should hold as many of each.")
    return planes, labels


def _checked_content(path: Path, md5: str) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is missing: a CIFAR-10 folder holds {', '.join(MD5)}. "
            f"Delete {path.parent} and run `seefar data cifar10` to fetch it anew, or choose another folder."
        ) from error
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise DataError(
            f"{path} is not the official file: MD5 {md5} was wanted, {found} found ({len(content):,} bytes). "
            f"It is damaged or another file under this name; delete {path.parent} and run `seefar data cifar10`."
        )
    return content


class _BatchUnpickler(pickle.Unpickler):
    """Admits the names that an array of numbers needs, and nothing else: no other code can be reached."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
            ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],  # its name since numpy 2
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR-10 batch needs")
        return allowed[module, name]


def unpickle_batch(content: bytes, path: Path) -> Mapping[bytes, Any]:
    """The dictionary in a batch file, read so that a hostile file can run nothing.

    Raises:
        DataError: the content is not a pickled dictionary of plain values and arrays of numbers.
    """
    try:
        batch = _BatchUnpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle may raise anything at all
        raise DataError(f"{path} cannot be read as a CIFAR-10 batch: {error}. Nothing in it was run.") from error
    if not isinstance(batch, dict):
        raise DataError(f"{path} holds a {type(batch).__name__}, a CIFAR-10 batch is a dictionary.")
    return batch
