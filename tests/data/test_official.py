"""CIFAR-10, CIFAR-100 and Fashion-MNIST: small files of their forms, read, checked, and downloaded from loopback."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_host import Host, serve

from seefar.data import load_data
from seefar.data.official import (
    CIFAR10,
    CIFAR100,
    FASHION_MNIST,
    BatchUnpickler,
    Official,
    find_batches,
    load_official,
    read_batches,
    read_fashion,
)
from seefar.errors import DataError
from seefar.progress import SILENT

NOBODY = ("http://127.0.0.1:9",)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_batches(folder: Path, official: Official) -> Official:
    """Files of the official form with three images each in `folder`, and the archive of them beside it."""
    folder.mkdir(parents=True)
    random, kind = np.random.default_rng(0), b"fine_" if official is CIFAR100 else b""
    meta, *names = official.files
    classes = [b"class%d" % number for number in range(100 if kind else 10)]
    (folder / meta).write_bytes(pickle.dumps({kind + b"label_names": classes, b"coarse_label_names": []}, protocol=3))
    for name in names:
        batch = {b"data": random.integers(0, 256, (3, 3072), dtype=np.uint8), kind + b"labels": [1, 2, 9]}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=3))
    (name,) = official.downloads
    archive = folder.parent / name
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, official.folder)
        for surplus in ("../escaped", f"{official.folder}/surplus"):
            tar.add(folder / meta, surplus)
    files = {name: md5(folder / name) for name in official.files}
    return replace(official, hosts=NOBODY, downloads={name: (md5(archive), archive.stat().st_size)}, files=files)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """A folder, and its address."""
    (tmp_path / "served").mkdir()
    return tmp_path / "served", serve(tmp_path / "served", monkeypatch)


@pytest.mark.parametrize("official", [CIFAR10, CIFAR100], ids=lambda one: one.name)
def test_only_known_files_of_the_archive_are_unpacked(
    official: Official, served: tuple[Path, str], tmp_path: Path
) -> None:
    small = write_batches(served[0] / official.folder, official)
    home = tmp_path / "home" / "data"
    home.mkdir(parents=True)
    small = replace(small, hosts=(f"{served[1]}/nothing-here", served[1]))
    place = find_batches(home, small, SILENT)
    assert {path.name for path in place.iterdir()} == set(official.files)
    assert {path.name for path in home.iterdir()} == {".lock", official.folder, *official.downloads}
    assert not (home.parent / "escaped").exists()
    data = read_batches(find_batches(home, replace(small, hosts=())), small)
    assert (data.name, len(data.classes)) == (official.name, 100 if official is CIFAR100 else 10)
    assert data.train.labels.tolist() == [1, 2, 9] * (len(official.files) - 2)
    assert data.test.images.shape == (3, 32, 32, 3)
    # A row holds 1024 red values row by row, then green, then blue.
    row = pickle.loads((place / list(official.files)[-2]).read_bytes())[b"data"][1]
    np.testing.assert_array_equal(data.train.images[-2, 5, 7], row[5 * 32 + 7 :: 1024])


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return os.system, (f"touch {self.path}",)


def test_a_hostile_pickle_runs_no_code(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    content = pickle.dumps({b"data": Hostile(proof)}, protocol=3)
    for hostile in (content, b"cbuiltins\neval\n(S'1'\ntR."):
        with pytest.raises(pickle.UnpicklingError, match="imports"):
            BatchUnpickler(io.BytesIO(hostile), encoding="bytes").load()
    assert not proof.exists()
    pickle.loads(content)  # the file would have run its command under the ordinary unpickler
    assert proof.exists()


def test_parallel_downloads_fetch_the_archive_once_and_all_succeed(tmp_path: Path) -> None:
    small = write_batches(tmp_path / "served" / CIFAR10.folder, CIFAR10)
    host = Host((tmp_path / "served" / "cifar-10-python.tar.gz").read_bytes())
    small = replace(small, hosts=(host.url("slow"),))
    home, found = tmp_path / "home", list[Path]()
    threads = [threading.Thread(target=lambda: found.append(find_batches(home, small, SILENT))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    host.close()
    assert found == [home / CIFAR10.folder] * 4
    assert host.asked == [("slow", 0)]


def test_fashion_mnist_is_fetched_from_the_mirror_and_read(served: tuple[Path, str], tmp_path: Path) -> None:
    downloads = {}
    for name in FASHION_MNIST.files:
        shape = (3 if name.startswith("train") else 2, 28, 28)[: 3 if "images" in name else 1]
        values = np.random.default_rng(0).integers(0, 256 if "images" in name else 10, shape, dtype=np.uint8)
        header = struct.pack(">BBBB", 0, 0, 8, len(shape)) + struct.pack(f">{len(shape)}I", *shape)
        (served[0] / name).write_bytes(gzip.compress(header + values.tobytes()))
        downloads[name] = md5(served[0] / name), (served[0] / name).stat().st_size
    files = {name: checksum for name, (checksum, _) in downloads.items()}
    hosts = (f"{served[1]}/nothing-here", served[1])
    small = replace(FASHION_MNIST, hosts=hosts, downloads=downloads, files=files)
    data = load_official(small, tmp_path, progress=SILENT)
    assert (data.name, len(data.train), len(data.test), data.image_size) == ("fashion_mnist", 3, 2, 32)
    plain = gzip.decompress((served[0] / "t10k-images-idx3-ubyte.gz").read_bytes())
    expected = np.frombuffer(plain, np.uint8, offset=16).reshape(2, 28, 28)
    np.testing.assert_array_equal(data.test.images[:, 2:30, 2:30], np.repeat(expected[..., None], 3, axis=3))
    assert data.test.images[:, :2].max() == data.test.images[:, :, 30:].max() == 0
    place = tmp_path / FASHION_MNIST.folder
    again = read_fashion(place, replace(small, hosts=NOBODY))  # nothing is fetched
    assert again.train.fingerprint == data.train.fingerprint
    path = place / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match=r"train-labels.*seefar data fashion_mnist"):
        read_fashion(place, small)


def test_a_mistyped_folder_is_refused_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Official, "fetch", lambda *_: pytest.fail("fetched"))
    with pytest.raises(DataError, match=r"nowhere does not exist.*seefar data cifar100"):
        load_data("cifar100", tmp_path / "nowhere")
    monkeypatch.setenv("SEEFAR_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="nowhere, set by SEEFAR_DATA, does not exist"):
        load_data("cifar100")
    assert not (tmp_path / "nowhere").exists()
