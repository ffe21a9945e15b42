"""Files are written atomically and durably; hostile arrays are refused."""

from __future__ import annotations

import os
import pickle
import secrets
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from seefar.errors import RunError
from seefar.runs.arrays import load_array, load_arrays, load_tensors, save_tensors
from seefar.runs.files import write_text, written_beside
from seefar.runs.folder import verify


def test_a_file_is_replaced_atomically(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail_halfway() -> None:
        with written_beside(path) as beside:
            beside.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_nothing_is_written_through_a_link_with_the_temporary_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _count: "0" * 16)
    outside, folder = tmp_path / "outside", tmp_path / "run"
    folder.mkdir()
    (folder / f".part-{'0' * 16}-a.txt").symlink_to(outside)
    with pytest.raises(RunError, match=r"a\.txt"):
        write_text(folder / "a.txt", "text")
    assert not outside.exists()


def test_content_and_rename_are_on_the_disk_when_writing_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def record(file: int) -> None:
        calls.append("folder" if os.path.isdir(f"/proc/self/fd/{file}") else "file")
        fsync(file)

    monkeypatch.setattr(os, "fsync", record)
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("rename"), replace(*paths)))
    write_text(tmp_path / "a.txt", "text")
    assert calls == ["file", "rename", "folder"]


def npy(header: str, body: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + body


@pytest.mark.parametrize("shape", ["(99999999999,)", "(4611686018427387904,)", "(-1,)", "(2, -2)"])
def test_an_array_is_not_larger_than_its_file(tmp_path: Path, shape: str) -> None:
    content = npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n", bytes(16))
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match="16"):
        load_array(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(RunError, match=r"a\.npz"):
        load_arrays(tmp_path / "a.npz", ["a"])


class Trap:
    """Unpickled without care it makes the file `hostile` in the working folder."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("open('hostile', 'w')",)


def test_archives_that_are_compressed_pickled_or_incomplete_are_refused(in_folder: Path) -> None:
    path = in_folder / "a.npz"
    np.savez_compressed(path, a=np.zeros(10**6, np.float32))
    contents = [path.read_bytes(), b"", b"no zip"]
    for member in (pickle.dumps(Trap()), npy("(" * 100 + "\n"), None):
        with zipfile.ZipFile(path, "w") as archive:
            if member is not None:
                archive.writestr("a.npy", member)
        contents.append(path.read_bytes())
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(RunError, match=r"a\.npz"):
            load_arrays(path, ["a"])
    assert not Path("hostile").exists()


def test_tensors_of_every_shape_and_type_come_back_and_no_bit_may_differ(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = {"a": torch.tensor(3), "b": torch.zeros(0, 4), "c": torch.ones(2, 3).bfloat16().T}
    save_tensors(path, tensors, {"x": 1.5})
    found, about = load_tensors(path)
    assert about == {"x": 1.5}
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    content = path.read_bytes()
    for position in (0, 20, content.index(b"1.5"), len(content) - 1):
        changed = bytearray(content)
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises(RunError, match=r"a\.safetensors"):
            load_tensors(path)


RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*/manifest.json")), ids=lambda path: path.parent.name)
def test_shipped_results_match_their_manifests(path: Path) -> None:
    assert verify(path.parent) == []
