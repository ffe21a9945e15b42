"""Arrays and tensors on disk: `.npz` and `.npy` without pickle, safetensors with a checksum; written atomically."""

from __future__ import annotations

import hashlib
import json
import math
import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor, nn

from seefar.errors import RunError, not_read
from seefar.runs.files import FILE_LIMIT, open_regular, parse_json, read_bytes, written_beside


def save_arrays(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays, and plain strings or tuples of them, as one `.npz` under exactly this path."""
    with written_beside(Path(path)) as beside, beside.open("wb") as file:  # a name would get .npz appended
        np.savez(file, **arrays)


def load_arrays(path: str | Path, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Read these arrays of a file that `save_arrays` wrote; a `RunError` if it is missing or damaged.

    Their form is not checked: the file belongs to a run, whose manifest has its hash.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            return {name: read_member(archive, f"{name}.npy", packed=False) for name in names}
    except Exception as error:  # a damaged archive may raise anything at all
        raise RunError(f"{path} cannot be read ({_one_line(error)}): compute it again.") from error


def load_array(path: str | Path) -> NDArray[Any]:
    """Read one `.npy` file without pickle; OSError or ValueError: it cannot be read as one."""
    with open_regular(path) as file:
        return _read(file, os.fstat(file.fileno()).st_size)


def read_member(archive: zipfile.ZipFile, name: str, *, packed: bool = True) -> NDArray[Any]:
    """An array of an archive without pickle; it takes no more memory than the archive declares.

    KeyError or ValueError: it is missing, is not an array, or is compressed without `packed` or by bzip2 or LZMA.
    """
    member = archive.getinfo(name)
    if member.compress_type != zipfile.ZIP_STORED and not packed:  # so that nothing in it is larger than the file
        raise ValueError(f"{name} is compressed")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # zipfile unpacks others without a limit
        raise ValueError(f"{name} must be stored or deflated (got method {member.compress_type}): use np.savez")
    with archive.open(member) as file:
        return _read(file, member.file_size)


def _read(file: IO[bytes], size: int) -> NDArray[Any]:
    """The array in a `.npy` file of `size` bytes, whose header may promise more: numpy would reserve them."""
    try:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    except Exception as error:  # a damaged header may raise anything at all
        raise ValueError(f"not a header of an .npy file: {_one_line(error)}") from error
    promised, available = math.prod(shape) * dtype.itemsize, size - file.tell()
    if promised != available or any(length < 0 for length in shape):
        raise ValueError(f"{dtype} {shape} takes {promised} bytes, but the file has {available}")
    file.seek(0)
    array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _one_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def save_tensors(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Write tensors of any memory layout as safetensors, atomically, with plain values as metadata."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # One key, since safetensors writes several in an order that changes from one process to the next.
    metadata = {"seefar": json.dumps({**values, "sha256": _sha256(plain, values)})}
    with written_beside(path) as beside:
        beside.write_bytes(save(plain, metadata))  # save_file would make it readable for its owner only


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the metadata of a safetensors file; a `RunError` if it is missing or damaged, even by one bit."""
    try:
        content = read_bytes(path, FILE_LIMIT, follow=False)
    except OSError as error:
        raise not_read(path, error) from error
    try:
        tensors = load(content)
        header = parse_json(content[8 : 8 + int.from_bytes(content[:8], "little")])
        values = parse_json(header["__metadata__"]["seefar"])
        if values.pop("sha256") != _sha256(tensors, values):
            raise ValueError("its content does not match its checksum")
    except Exception as error:  # a damaged file may raise anything at all
        raise RunError(
            f"{path} is not an intact safetensors file ({_one_line(error)}): delete it and train again, or restore it "
            "from a copy."
        ) from error
    return tensors, values


def load_weights(path: Path, model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Put weights from `path` into `model`, also into one on torch's device `meta`; a `RunError` if they do not fit."""
    on_meta = any(tensor.is_meta for tensor in model.state_dict().values())
    try:
        model.load_state_dict(weights, assign=on_meta)
    except RuntimeError as error:
        first = str(error).split("\n\t")[1]
        raise RunError(f"{path} holds the weights of another network ({first}): choose another run.") from error


def _sha256(tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> str:
    """SHA-256 over names, types, shapes and values, and the metadata."""
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
