"""Arrays, tensors and texts that are damaged or hostile: refused by name, before they take memory or run code."""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from seefar.errors import RunError
from seefar.runs.arrays import load_array, load_arrays, load_tensors, save_tensors

FORM: dict[str, tuple[str, tuple[int | str, ...]]] = {"a": ("float32", ("N",))}


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
        load_arrays(tmp_path / "a.npz", FORM)


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
            load_arrays(path, FORM)
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
