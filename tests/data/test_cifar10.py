from __future__ import annotations

import hashlib
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from seefar.data import cifar10, load_data
from seefar.data.cifar10 import (
    ARCHIVE,
    FOLDER,
    MD5,
    TEST_FILES,
    TRAIN_FILES,
    default_folder,
    find_batches,
    read_batches,
    unpickle_batch,
)
from seefar.data.images import Data
from seefar.errors import DataError

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def write_batches(folder: Path) -> dict[str, str]:
    """Seven small files of the official form, three images each; gives their MD5 sums."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name in (*TRAIN_FILES, *TEST_FILES):
        batch = {b"data": random.integers(0, 256, (3, 3072), dtype=np.uint8), b"labels": [1, 2, 9]}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=3))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [c.encode() for c in CLASSES]}, protocol=3))
    return checksums(folder)


def checksums(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_pixels_and_labels_land_where_the_format_says(tmp_path: Path) -> None:
    md5 = write_batches(tmp_path / FOLDER)
    data = read_batches(tmp_path / FOLDER, md5)
    assert data.classes == tuple(CLASSES)
    assert data.train.images.shape == (15, 32, 32, 3)
    assert data.test.images.shape == (3, 32, 32, 3)
    # A row holds 1024 red values row by row, then green, then blue.
    row = pickle.loads((tmp_path / FOLDER / "data_batch_2").read_bytes())[b"data"][1]
    np.testing.assert_array_equal(
        data.train.images[4, 5, 7], [row[5 * 32 + 7], row[1024 + 5 * 32 + 7], row[2048 + 5 * 32 + 7]]
    )
    assert data.train.labels.tolist() == [1, 2, 9] * 5


def test_a_changed_file_is_named_with_both_checksums(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    md5 = write_batches(folder)
    content = (folder / "data_batch_3").read_bytes()
    (folder / "data_batch_3").write_bytes(content[:-40])  # truncated
    with pytest.raises(DataError, match="data_batch_3 is not the official file") as error:
        read_batches(folder, md5)
    assert md5["data_batch_3"] in str(error.value)
    assert hashlib.md5(content[:-40]).hexdigest() in str(error.value)
    assert "seefar data cifar10" in str(error.value)


def test_swapped_files_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    md5 = write_batches(folder)
    (folder / "test_batch").rename(tmp_path / "aside")
    (folder / "data_batch_1").rename(folder / "test_batch")
    (tmp_path / "aside").rename(folder / "data_batch_1")
    with pytest.raises(DataError, match="data_batch_1 is not the official file"):
        read_batches(folder, md5)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    md5 = write_batches(folder)
    (folder / "test_batch").unlink()
    with pytest.raises(DataError, match="test_batch cannot be read"):
        read_batches(folder, md5)


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return os.system, (f"touch {self.path}",)


def test_a_hostile_pickle_runs_nothing(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    content = pickle.dumps({b"data": Hostile(proof)}, protocol=3)
    with pytest.raises(DataError, match=r"it imports (posix|nt)\.system.*Nothing in it was run"):
        unpickle_batch(content, Path("data_batch_1"))
    assert not proof.exists()
    pickle.loads(content)  # the file would have run its command under the ordinary unpickler
    assert proof.exists()


@pytest.mark.parametrize("content", [b"", b"no pickle at all", b"\x80\x02]q\x00(", b"cbuiltins\neval\n(S'1'\ntR."])
def test_what_is_no_pickle_of_a_batch_gives_a_clear_error(content: bytes) -> None:
    with pytest.raises(DataError, match="cannot be read as a CIFAR-10 batch"):
        unpickle_batch(content, Path("data_batch_1"))


def pack(folder: Path, archive: Path, extra: dict[str, bytes] | None = None) -> None:
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, FOLDER)
        for name, content in (extra or {}).items():
            (archive.parent / "extra").write_bytes(content)
            tar.add(archive.parent / "extra", name)


def test_the_archive_is_unpacked_and_nothing_else_of_it(tmp_path: Path) -> None:
    md5 = write_batches(tmp_path / "source")
    home = tmp_path / "home" / "data"
    home.mkdir(parents=True)
    pack(tmp_path / "source", home / ARCHIVE, {"../escaped": b"x", f"{FOLDER}/surplus": b"y"})
    archive_md5 = hashlib.md5((home / ARCHIVE).read_bytes()).hexdigest()
    batches = find_batches(home, urls=("http://127.0.0.1:9/not-asked",), archive_md5=archive_md5)
    assert len(read_batches(batches, md5).train) == 15
    assert sorted(path.name for path in batches.iterdir()) == sorted(MD5)
    assert sorted(path.name for path in home.iterdir()) == sorted([".lock", ARCHIVE, FOLDER, "extra"])
    assert not (tmp_path / "home" / "escaped").exists()


def test_an_archive_without_a_batch_leaves_nothing_half_made(tmp_path: Path) -> None:
    write_batches(tmp_path / "source")
    (tmp_path / "source" / "data_batch_4").unlink()
    pack(tmp_path / "source", tmp_path / ARCHIVE)
    archive_md5 = hashlib.md5((tmp_path / ARCHIVE).read_bytes()).hexdigest()
    with pytest.raises(DataError, match="cannot be unpacked"):
        find_batches(tmp_path, urls=("http://127.0.0.1:9/not-asked",), archive_md5=archive_md5)
    assert not (tmp_path / FOLDER).exists()
    assert not list(tmp_path.glob(f".{FOLDER}*"))


def official_data() -> Data:
    if (default_folder() / FOLDER / "batches.meta").exists():
        return load_data("cifar10")
    pytest.skip("the official CIFAR-10 batches are not on this machine: set SEEFAR_DATA to their folder")


@pytest.mark.slow
def test_the_official_files() -> None:
    data = official_data()
    assert data.train.images.shape == (50_000, 32, 32, 3)
    assert data.test.images.shape == (10_000, 32, 32, 3)
    assert data.classes == tuple(CLASSES)
    assert np.bincount(data.train.labels).tolist() == [5000] * 10
    assert np.bincount(data.test.labels).tolist() == [1000] * 10
    mean, deviation = data.statistics
    np.testing.assert_allclose(mean, (0.4914, 0.4822, 0.4465), atol=5e-5)
    np.testing.assert_allclose(deviation, (0.2470, 0.2435, 0.2616), atol=5e-5)
    # The often copied constants are the mean deviation within single images, which is another thing.
    within = (data.train.images[:2000] / 255).std((1, 2)).mean(0)
    np.testing.assert_allclose(within, (0.2023, 0.1994, 0.2010), atol=5e-3)


def test_a_mistyped_folder_is_refused_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10, "find_batches", lambda *_, **__: pytest.fail("fetched"))
    with pytest.raises(DataError, match=r"nowhere does not exist.*create=True"):
        load_data("cifar10", tmp_path / "nowhere")
    monkeypatch.setenv("SEEFAR_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="nowhere, set by SEEFAR_DATA, does not exist"):
        load_data("cifar10")
    assert not (tmp_path / "nowhere").exists()


def test_a_new_folder_is_made_where_that_is_wished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    md5 = write_batches(tmp_path / "source")
    monkeypatch.setattr(cifar10, "find_batches", lambda folder, **_: tmp_path / "source")
    monkeypatch.setattr(cifar10, "read_batches", lambda place, **_: read_batches(place, md5))
    assert len(load_data("cifar10", tmp_path / "new", create=True).train) == 15
