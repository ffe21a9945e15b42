"""Special files, links and files of holes in folders and arguments of strangers are named, and never followed."""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import GifImagePlugin, Image, TiffImagePlugin

import seefar
from seefar.data import Data
from seefar.data.official import CIFAR10, find_batches, read_batches
from seefar.data.pictures import read_picture
from seefar.data.reference import find_files
from seefar.errors import RunError, SeefarError
from seefar.evaluation.audit import load_audit
from seefar.evaluation.predictions import read_predictions
from seefar.runs.arrays import load_array, load_arrays, load_tensors
from seefar.runs.files import open_to_append
from seefar.runs.folder import RunFolder, verify
from seefar.runs.store import file_entry
from seefar.training.run import Run

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def make_holes(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(5 << 40)


KINDS: dict[str, Callable[[Path], object]] = {
    "fifo": os.mkfifo,
    "socket": make_socket,
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "folder": Path.mkdir,
    "holes": make_holes,
}


CLASSES = ("cat", "dog", "horse")
(ARCHIVE,) = CIFAR10.downloads
READERS: dict[str, Callable[[Path], object]] = {
    "p.json": lambda path: read_predictions(path, "abc", 3),
    "p.csv": lambda path: read_predictions(path, "abc", 3),
    "p.npy": lambda path: read_predictions(path, "abc", 3),
    "b.npy": load_array,
    "a.npz": lambda path: load_arrays(path, ["a"]),
    "w.safetensors": load_tensors,
    "x.png": lambda path: read_picture(path, 32),
    "report.html": lambda path: seefar.show_report(path.parent),
    "audit.json": lambda path: load_audit(RunFolder(path.parent)),
    "batches.meta": lambda path: read_batches(path.parent),
    ARCHIVE: lambda path: find_batches(path.parent, replace(CIFAR10, hosts=("http://127.0.0.1:9",))),
    "cifar10h/cifar10h-counts.npy": lambda path: find_files(path.parents[1]),
}
"""Files that are not made by a training, each with a function that reads it."""


@pytest.mark.parametrize("name", READERS)
def test_irregular_and_oversized_files_are_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEEFAR_DATA", raising=False)  # a place where the reference data may be whole
    for number, make in enumerate(KINDS.values()):
        path = tmp_path / str(number) / name
        path.parent.mkdir(parents=True)
        make(path)
        with pytest.raises((SeefarError, OSError), match=re.escape(path.name)):
            READERS[name](path)


@pytest.mark.parametrize("kind", ["fifo", "socket", "link to a device", "link to itself"])
@pytest.mark.parametrize("name", ["data.json", "history.csv", "figures"])
def test_commands_refuse_a_run_folder_with_an_irregular_file(run: Run, few: Data, kind: str, name: str) -> None:
    path = run.folder.path / name
    path.unlink(missing_ok=True)
    KINDS[kind](path)
    with pytest.raises(RunError, match=name):
        seefar.evaluate_run(run, few, progress=seefar.SILENT)


@pytest.mark.parametrize("kind", [*KINDS, "hard link"])
def test_only_regular_files_with_one_name_are_appended_to(kind: str, tmp_path: Path) -> None:
    precious, path = tmp_path / "precious", tmp_path / "log.txt"
    precious.write_text("mine")
    KINDS.get(kind, lambda link: link.hardlink_to(precious))(path)
    with pytest.raises(OSError, match=r"log\.txt"):
        open_to_append(path)
    assert precious.read_text() == "mine"


@pytest.mark.parametrize("name", ["../precious", "deep/precious"])
def test_verify_opens_nothing_outside_of_the_folder(name: str, run: Run, tmp_path: Path) -> None:
    """The entry fits that file, but what it contains must not be found out by trying."""
    (tmp_path / "precious").write_text("mine")
    (run.folder.path / "deep").symlink_to(tmp_path)
    manifest = {"finished": True, "files": {name: file_entry(tmp_path / "precious")}}
    run.folder.manifest.write_text(json.dumps(manifest))
    assert f"{name} is missing" in verify(run.folder)


def test_verify_reads_no_file_of_another_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "holes").touch()
    os.truncate(tmp_path / "holes", 2 << 30)
    entry = {"bytes": 1, "sha256": ""}
    (tmp_path / "manifest.json").write_text(json.dumps({"finished": True, "files": {"holes": entry}}))
    monkeypatch.setattr("hashlib.file_digest", lambda *_: pytest.fail("read"))
    assert verify(tmp_path) == ["holes is changed"]


@contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()


def test_an_archive_that_unpacks_to_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "p.npz", logits=np.zeros((10, 2_000_000), np.float32))
    with little_memory(), pytest.raises(SeefarError, match="80,000"):
        read_predictions(tmp_path / "p.npz", CLASSES, 10)


@pytest.mark.parametrize("name", ["p.csv", "p.json"])
def test_one_long_cell_does_not_multiply_the_memory(name: str, tmp_path: Path) -> None:
    rows = [100_000 * "x", *1000 * ["cat"]]
    (tmp_path / name).write_text("\n".join(rows) if name == "p.csv" else json.dumps(rows))
    with little_memory(), pytest.raises(SeefarError, match="xxx") as caught:
        read_predictions(tmp_path / name, CLASSES, 1001)
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_is_only_unpacked_by_a_method_with_a_limit(method: int, tmp_path: Path) -> None:
    """4 KB of bzip2 can be gigabytes, whatever size the archive declares."""
    np.savez(tmp_path / "stored.npz", predicted=np.zeros(3, np.int64))
    with zipfile.ZipFile(tmp_path / "stored.npz") as stored, zipfile.ZipFile(tmp_path / "p.npz", "w", method) as packed:
        packed.writestr("predicted.npy", stored.read("predicted.npy"))
    with pytest.raises(SeefarError, match=str(method)):
        read_predictions(tmp_path / "p.npz", CLASSES, 3)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG"])
def test_the_frames_of_a_picture_are_not_counted(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of 17 MB can have a million."""
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    frames[0].save(tmp_path / "a", kind, save_all=True, append_images=frames[1:])
    for reader in (GifImagePlugin.GifImageFile, TiffImagePlugin.TiffImageFile):
        monkeypatch.setattr(reader, "n_frames", property(lambda _picture: pytest.fail("counted")))
    assert read_picture(tmp_path / "a", 8).notes == ("the first of several frames",)


@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded(kind: str, tmp_path: Path) -> None:
    """100 KB of them would take a minute at 50 megapixels; a film behind a photograph is none."""
    Image.new("L", (1000, 1000), 128).save(tmp_path / "a", kind, progressive=True)
    content = (tmp_path / "a").read_bytes()
    assert read_picture(content + np.random.default_rng(0).bytes(20_000_000), 8).original == (1000, 1000)
    scan = content[content.rindex(b"\xff\xda") : content.rindex(b"\xff\xd9")]
    with pytest.raises(SeefarError, match="2,00"):
        read_picture(content[:-2] + 2000 * scan + content[-2:], 8)


def test_a_picture_whose_parts_are_longer_than_its_file_takes_no_memory(tmp_path: Path) -> None:
    """A box of a JPEG 2000 file claims to be 2 GB long; Pillow reads as many bytes as it claims."""
    path = tmp_path / "a.jp2"
    Image.new("RGB", (40, 30), "red").save(path)
    content = bytearray(path.read_bytes())
    header = content.index(b"jp2h") - 4
    content[header : header + 4] = struct.pack(">I", 0x7FFFFF00)
    path.write_bytes(content)
    with little_memory(), pytest.raises(SeefarError, match=r"a\.jp2"):
        read_picture(path, 32)
