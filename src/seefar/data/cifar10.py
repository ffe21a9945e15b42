"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): official files, downloaded once, checked, read without running code."""

from __future__ import annotations

import io
import os
import pickle
import secrets
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seefar.data.download import Remote, data_place, download_all, longest_transfer, read_checked
from seefar.data.images import Data, Split
from seefar.errors import DataError
from seefar.progress import SILENT, Progress, showing
from seefar.runs.store import locked

HOSTS = ("https://www.cs.toronto.edu/~kriz", "https://dataset.bj.bcebos.com/cifar")
"""The official host, and the copy that PaddlePaddle's data sets use, with the same checksums."""


@dataclass(frozen=True)
class Batches:
    """A data set that is an archive of pickled batches.

    Attributes:
        name: as `load_data` takes it.
        folder: of the files in the archive.
        archive: name of the archive on the hosts.
        checksum: its MD5.
        size: its bytes.
        train, test: files of the two parts.
        meta: the file with the names of the classes.
        names: key of the names in it.
        labels: key of the labels in the others.
        md5: checksums of all files.
        hosts: addresses of the folder of the archive, best first.
    """

    name: str
    folder: str
    archive: str
    checksum: str
    size: int
    train: tuple[str, ...]
    test: tuple[str, ...]
    meta: str
    names: bytes
    labels: bytes
    md5: Mapping[str, str]
    hosts: tuple[str, ...] = HOSTS


CIFAR10 = Batches(
    name="cifar10",
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    checksum="c58f30108f718f92721af3b95e74349a",
    size=170_498_071,
    train=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test=("test_batch",),
    meta="batches.meta",
    names=b"label_names",
    labels=b"labels",
    md5={
        "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
)
CIFAR100 = Batches(
    name="cifar100",
    folder="cifar-100-python",
    archive="cifar-100-python.tar.gz",
    checksum="eb9058c3a382ffc7106e4002c42a8d85",
    size=169_001_437,
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


def load_cifar10(folder: str | Path | None = None, *, create: bool = False, progress: Progress | None = None) -> Data:
    """CIFAR-10: 50,000 training and 10,000 test images of 32x32 pixels, 10 classes. Downloaded if missing.

    Args:
        folder: the folder of `cifar-10-batches-py/` or of the archive, or that folder itself. Default:
            SEEFAR_DATA, else the user's cache folder.
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
        return read_batches(find_batches(place, batches, shown), batches)


def find_batches(folder: Path, batches: Batches = CIFAR10, progress: Progress = SILENT) -> Path:
    """The folder with the batch files: as it is, else unpacked from the archive, else downloaded first.

    Raises:
        DataError: the folder has no files, and no address has the official archive.
    """
    if (folder / batches.meta).is_file() or (folder / batches.train[0]).is_file():
        return folder
    place = folder / batches.folder
    if not place.exists():
        with locked(folder, progress, wait=longest_transfer(batches.size)):
            if not place.exists():  # another process may have fetched them in the meantime
                progress.line(f"downloading {batches.archive} into {folder}")
                urls = tuple(f"{host}/{batches.archive}" for host in batches.hosts)
                download_all({batches.archive: Remote(urls, batches.checksum, batches.size)}, folder, progress)
                unpack(folder / batches.archive, place, batches)
    return place


def unpack(archive: Path, place: Path, batches: Batches = CIFAR10) -> None:
    """Write the batch files of a checked archive into `place`; its other members are not read.

    The files are written into a temporary folder that is renamed at the end, so a crash leaves no partial result.

    Raises:
        DataError: the files cannot be written.
    """
    beside = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
    try:
        beside.mkdir(parents=True)
        with tarfile.open(archive) as tar:
            for name in batches.md5:
                member = tar.extractfile(f"{batches.folder}/{name}")  # bytes of one file: the archive chooses no path
                assert member is not None
                (beside / name).write_bytes(member.read())
        os.replace(beside, place)
    except OSError as error:
        raise DataError(f"{archive} cannot be unpacked ({error}): make room, or make its folder writable.") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def read_batches(place: Path, batches: Batches = CIFAR10) -> Data:
    """Read and check the batch files in `place`.

    The checksums guarantee the form of the content, which is not validated again.

    Raises:
        DataError: a file is missing, or differs from its checksum.
    """

    def read(name: str) -> Mapping[bytes, Any]:
        content = read_checked(place / name, batches.md5[name], batches.name)
        found: Mapping[bytes, Any] = BatchUnpickler(io.BytesIO(content), encoding="bytes").load()
        return found

    def split(names: tuple[str, ...]) -> Split:
        images, labels = [], []
        for name in names:
            batch = read(name)
            planes = batch[b"data"].reshape(-1, 3, 32 * 32)  # a row holds all red values, then green, then blue
            images.append(planes.transpose(0, 2, 1).reshape(-1, 32, 32, 3))
            labels += batch[batches.labels]
        return Split(np.concatenate(images), np.array(labels), classes)

    classes = tuple(name.decode() for name in read(batches.meta)[batches.names])
    return Data(batches.name, split(batches.train), split(batches.test))


class BatchUnpickler(pickle.Unpickler):
    """Allows only the names that an array of numbers needs, so no other code can run."""

    def find_class(self, module: str, name: str) -> Any:
        """The thing of that name, if a batch may use it."""
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
            ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],  # its name since numpy 2
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it imports {module}.{name}, which no CIFAR-10 batch needs")
        return allowed[module, name]
