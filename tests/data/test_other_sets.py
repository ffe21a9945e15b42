"""CIFAR-100 and Fashion-MNIST: small files of their forms, from a host on loopback."""

from __future__ import annotations

import functools
import gzip
import hashlib
import pickle
import struct
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import seefar
from seefar.data import cifar10
from seefar.data.cifar10 import CIFAR10, CIFAR100, find_batches, read_batches
from seefar.data.fashion_mnist import CLASSES, FILES, FOLDER, HOSTS, load_fashion_mnist
from seefar.errors import DataError
from seefar.progress import SILENT


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address that serves it."""
    (tmp_path / "served").mkdir()
    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tmp_path / "served", f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def small_cifar100(folder: Path, address: str) -> cifar10.Batches:
    """An archive of three files of the official form, served at the address."""
    source = folder / CIFAR100.folder
    source.mkdir()
    random = np.random.default_rng(0)
    names = [b"class%d" % number for number in range(100)]
    (source / "meta").write_bytes(pickle.dumps({b"fine_label_names": names, b"coarse_label_names": []}, protocol=3))
    for name, labels in (("train", [0, 99, 7, 7]), ("test", [50, 3])):
        data = random.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        batch = {b"data": data, b"fine_labels": labels, b"coarse_labels": [0] * len(labels), b"filenames": [b"x.png"]}
        (source / name).write_bytes(pickle.dumps(batch, protocol=3))
    archive = folder / CIFAR100.archive
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source, CIFAR100.folder)
    return replace(
        CIFAR100,
        archive_md5=md5(archive),
        size=archive.stat().st_size,
        urls=(f"{address}/missing", f"{address}/{CIFAR100.archive}"),
        md5={path.name: md5(path) for path in source.iterdir()},
    )


def test_cifar100_is_fetched_unpacked_and_read(served: tuple[Path, str], tmp_path: Path) -> None:
    batches = small_cifar100(*served)
    home = tmp_path / "home"
    home.mkdir()
    place = find_batches(home, progress=SILENT, batches=batches)
    data = read_batches(place, batches=batches)
    assert (data.name, len(data.train), len(data.test), len(data.classes)) == ("cifar100", 4, 2, 100)
    assert data.train.labels.tolist() == [0, 99, 7, 7]
    row = pickle.loads((place / "test").read_bytes(), encoding="bytes")[b"data"][1]
    np.testing.assert_array_equal(data.test.images[1, 5, 7], row[[5 * 32 + 7, 1024 + 5 * 32 + 7, 2048 + 5 * 32 + 7]])
    (place / "train").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"train is not the official file.*seefar data cifar100"):
        read_batches(place, batches=batches)


def test_the_two_archives_do_not_take_each_other_for_theirs(served: tuple[Path, str], tmp_path: Path) -> None:
    batches = small_cifar100(*served)
    find_batches(tmp_path, progress=SILENT, batches=batches)
    assert {CIFAR10.folder, CIFAR100.folder} & {path.name for path in tmp_path.iterdir()} == {CIFAR100.folder}
    assert not {*CIFAR10.urls} & {*CIFAR100.urls}
    assert all(url.endswith(CIFAR100.archive) for url in CIFAR100.urls)


def small_fashion(folder: Path) -> dict[str, tuple[str, int]]:
    random = np.random.default_rng(0)
    files = {}
    for name in FILES:
        count = 3 if name.startswith("train") else 2
        shape = (count, 28, 28) if "images" in name else (count,)
        values = random.integers(0, 256 if "images" in name else 10, shape, dtype=np.uint8)
        header = struct.pack(">BBBB", 0, 0, 8, len(shape)) + struct.pack(f">{len(shape)}I", *shape)
        (folder / name).write_bytes(gzip.compress(header + values.tobytes()))
        files[name] = md5(folder / name), (folder / name).stat().st_size
    return files


def test_fashion_mnist_is_fetched_from_the_mirror_and_read(served: tuple[Path, str], tmp_path: Path) -> None:
    files = small_fashion(served[0])
    home = tmp_path / "home"
    home.mkdir()
    hosts = (f"{served[1]}/nothing-here", served[1])
    data = load_fashion_mnist(home, progress=SILENT, hosts=hosts, files=files)
    assert (data.name, data.classes, len(data.train), len(data.test)) == ("fashion_mnist", CLASSES, 3, 2)
    assert data.image_size == 32
    plain = gzip.decompress((served[0] / "t10k-images-idx3-ubyte.gz").read_bytes())
    expected = np.frombuffer(plain, np.uint8, offset=16).reshape(2, 28, 28)
    np.testing.assert_array_equal(data.test.images[:, 2:30, 2:30], np.repeat(expected[..., None], 3, axis=3))
    assert data.test.images[:, :2].max() == data.test.images[:, :, 30:].max() == 0
    again = load_fashion_mnist(home, progress=SILENT, hosts=("http://127.0.0.1:9",), files=files)  # nothing is fetched
    assert again.fingerprint == data.fingerprint
    path = home / FOLDER / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match=r"train-labels.*seefar data fashion_mnist"):
        load_fashion_mnist(home, progress=SILENT, hosts=hosts, files=files)


def test_a_file_in_another_form_is_named(served: tuple[Path, str], tmp_path: Path) -> None:
    files = small_fashion(served[0])
    name = "t10k-labels-idx1-ubyte.gz"
    (served[0] / name).write_bytes(gzip.compress(b"\0\0\x08\x01" + bytes(2)))
    files[name] = md5(served[0] / name), 100
    with pytest.raises(DataError, match=r"t10k-labels.*not an IDX file"):
        load_fashion_mnist(tmp_path, progress=SILENT, hosts=(served[1],), files=files)


@pytest.mark.parametrize("name", ["cifar100", "fashion_mnist"])
def test_both_are_loaded_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"nowhere does not exist.*seefar data {name}"):
        seefar.load_data(name, tmp_path / "nowhere")


def test_the_official_files_have_32_hexadecimal_digits() -> None:
    sums = [CIFAR100.archive_md5, *CIFAR100.md5.values(), *(checksum for checksum, _ in FILES.values())]
    assert all(len(checksum) == 32 and int(checksum, 16) for checksum in sums)
    assert len({*sums}) == len(sums)
    assert all(host.startswith("http") for host in HOSTS)
