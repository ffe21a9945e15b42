"""Damaged and hostile files are refused by name, before they take memory; each of these once got through."""

from __future__ import annotations

import io
import json
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from seefar.compared_runs import compare_runs
from seefar.data.cifar10 import unpack
from seefar.data.folder import load_folder
from seefar.data.pictures import read_picture
from seefar.errors import DataError, RecipeError, RunError
from seefar.evaluation.calibration import Calibration, measure_calibration
from seefar.evaluation.predictions import read_predicted
from seefar.progress import SILENT
from seefar.runs.arrays import load_array, load_arrays, save_arrays
from seefar.runs.tensors import load_tensors, save_tensors
from seefar.training.history import COLUMNS, read_history
from seefar.training.recipe import Recipe
from seefar.training.run import Run, load_run

FORM: dict[str, tuple[str, tuple[int | str, ...]]] = {"a": ("float32", ("N",))}


def npy(header: str, body: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + body


@pytest.mark.parametrize("shape", ["(99999999999,)", "(4611686018427387904,)", "(-1,)", "(2, -2)"])
def test_an_array_is_not_larger_than_its_file(tmp_path: Path, shape: str) -> None:
    content = npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n", bytes(16))
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"takes -?\d+ bytes, it holds 16"):
        load_array(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(RunError, match=r"a\.npz cannot be read .*it holds 16"):
        load_arrays(tmp_path / "a.npz", FORM)


def test_a_compressed_array_is_refused_unread(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(10**6, np.float32))
    with pytest.raises(RunError, match=r"a\.npz cannot be read \(a is compressed\)"):
        load_arrays(tmp_path / "a.npz", FORM)


@pytest.mark.parametrize("point", [0x110000, 0xFFFFFFFF, 0xD800])
def test_text_of_characters_that_are_none_is_refused(tmp_path: Path, point: int) -> None:
    text = np.array([97, point], "u4").view("U2")
    save_arrays(tmp_path / "a.npz", {"a": text})
    with pytest.raises(RunError, match=r"a\.npz cannot be read \(a text in it has characters that are none\)"):
        load_arrays(tmp_path / "a.npz", {"a": ("str", (1,))})
    np.save(tmp_path / "a.npy", text)
    with pytest.raises(ValueError, match="characters that are none"):
        load_array(tmp_path / "a.npy")


def test_a_header_that_python_cannot_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.npy").write_bytes(npy("(" * 100 + "\n"))
    with pytest.raises(DataError, match=r"p\.npy"):
        read_predicted(tmp_path / "p.npy", 3, 3)


def test_json_nested_without_end_is_refused(tmp_path: Path) -> None:
    deep = "[" * 200_000
    with pytest.raises(RecipeError, match="nested too deeply"):
        Recipe.from_json(deep)
    (tmp_path / "p.json").write_text(deep)
    with pytest.raises(DataError, match=r"p\.json.*nested too deeply"):
        read_predicted(tmp_path / "p.json", 3, 3)


@pytest.mark.parametrize("number", ["1" + "0" * 400, "-" + "9" * 5000])
def test_an_integer_that_no_float_holds_is_refused(number: str) -> None:
    text = measure_calibration(np.eye(4, dtype=np.float32), np.arange(4)).to_json()
    with pytest.raises(ValueError, match=r"n is .*, a whole number was wanted|integer string conversion"):
        Calibration.from_json(text.replace('"n": 4', f'"n": {number}', 1))


def test_a_recipe_that_is_no_text_is_named(run: Run) -> None:
    run.folder.recipe.write_bytes(b"\xff\xfe{}")
    with pytest.raises(RunError, match=r"recipe\.json cannot be read"):
        load_run(run.folder)


def test_one_flipped_bit_of_the_weights_is_found(run: Run) -> None:
    content = bytearray(run.folder.weights.read_bytes())
    content[-5] ^= 1
    run.folder.weights.write_bytes(content)
    with pytest.raises(RunError, match="not what its checksum says"):
        load_run(run.folder)


def test_one_changed_letter_beside_the_weights_is_found(run: Run) -> None:
    content = run.folder.weights.read_bytes()
    assert run.classes[0].encode() in content
    run.folder.weights.write_bytes(content.replace(run.classes[0].encode(), run.classes[0].upper().encode()))
    with pytest.raises(RunError, match="not what its checksum says"):
        load_run(run.folder)


def test_files_written_before_there_were_checksums_are_read(tmp_path: Path) -> None:
    from safetensors.torch import save

    for key in ("seefar", "position"):
        (tmp_path / "a").write_bytes(save({"w": torch.ones(2)}, {key: json.dumps({"step": 3})}))
        tensors, about = load_tensors(tmp_path / "a")
        assert tensors["w"].tolist() == [1, 1]
        assert about == {"step": 3}


def test_tensors_of_every_shape_and_type_come_back(tmp_path: Path) -> None:
    tensors = {"a": torch.tensor(3), "b": torch.zeros(0, 4), "c": torch.ones(2, 3).bfloat16().T}
    save_tensors(tmp_path / "a", tensors, {"x": 1.5})
    found, about = load_tensors(tmp_path / "a")
    assert about == {"x": 1.5}
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2,1,1,8,0.1,1,0.5,,", "1,1,1,8,0.1,1,0.5,,"),
        ("1,1,1,8,0.1,1,0.5,,", "1,1,1,8,0.1,1,0.5,,"),
        ("1,1,1,8,0.1,nan,0.5,,", "2,1,1,8,0.1,1,0.5,,"),
        ("1,1,1,8,0.1,1,1.5,,", "2,1,1,8,0.1,1,0.5,,"),
    ],
    ids=["backwards", "twice", "not finite", "no share"],
)
def test_a_history_that_no_training_writes_is_refused(tmp_path: Path, first: str, second: str) -> None:
    path = tmp_path / "history.csv"
    path.write_text("\n".join((",".join(COLUMNS), first, second, "")))
    with pytest.raises(RunError, match=r"history\.csv is no training history"):
        read_history(path)


def test_an_archive_damaged_within_its_compression_is_named(tmp_path: Path) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        member = tarfile.TarInfo("x")
        member.size = 10**5
        tar.addfile(member, io.BytesIO(bytes(range(256)) * 400))
    packed = bytearray(zlib.compress(plain.getvalue(), 6, 31))
    packed[len(packed) // 2 :] = b"\xff" * (len(packed) // 2)
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(packed)
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz cannot be unpacked"):
        unpack(path, tmp_path / "out")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_decoded_pictures_that_were_damaged_are_decoded_anew(tmp_path: Path) -> None:
    from PIL import Image

    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (20, 20), (number, 100, 200)).save(tmp_path / "data" / name / f"{number}.png")
    first = load_folder(tmp_path / "data", 16, cache=tmp_path / "cache", progress=SILENT).fingerprint
    kept = next((tmp_path / "cache").glob("*.raw"))
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    kept.write_bytes(content)
    assert load_folder(tmp_path / "data", 16, cache=tmp_path / "cache", progress=SILENT).fingerprint == first


def test_json_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="an object with temperature"):
        Calibration.from_json("true")


@pytest.mark.parametrize("runs", [(), ("one",)])
def test_fewer_than_two_runs_are_not_compared(runs: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="at least two"):
        compare_runs(runs)


def test_a_number_that_no_float_holds_is_refused() -> None:
    text = Recipe().to_json().replace('"momentum": 0.9', f'"momentum": {10**400}')
    with pytest.raises(RecipeError, match="momentum is 1000"):
        Recipe.from_json(text)


def test_no_code_in_an_npz_is_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, (f"open({str(tmp_path / 'hostile')!r}, 'w')",)

    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", pickle.dumps(Trap()))
    with pytest.raises(RunError, match=r"a\.npz cannot be read"):
        load_arrays(tmp_path / "a.npz", FORM)
    assert not (tmp_path / "hostile").exists()


def test_a_picture_whose_parts_are_longer_than_its_file_takes_no_memory(tmp_path: Path) -> None:
    """A box of a JPEG 2000 file says that it is 2 GB long; Pillow reads as many bytes as it says."""
    from PIL import Image

    path = tmp_path / "a.jp2"
    Image.new("RGB", (40, 30), "red").save(path)
    content = bytearray(path.read_bytes())
    header = content.index(b"jp2h") - 4
    content[header : header + 4] = struct.pack(">I", 0x7FFFFF00)
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"a\.jp2 cannot be read as a picture"):
            read_picture(path, 32)
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()
