"""Arrays on disk: `.npz` and `.npy` without pickle, whole or not there, checked before they take any memory."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from seefar.errors import RunError
from seefar.runs.files import open_regular, written_beside


def save_arrays(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays, and plain strings or tuples of them, as one `.npz` under exactly this path."""
    with written_beside(Path(path)) as beside, beside.open("wb") as file:  # a name would get .npz appended
        np.savez(file, **arrays)


def load_arrays(path: str | Path, form: Mapping[str, tuple[str, tuple[int | str, ...]]]) -> dict[str, NDArray[Any]]:
    """Read what `save_arrays` wrote, and check each array.

    Args:
        path: the file.
        form: for each array its type, such as `float32` or `str`, and its shape. A letter stands for any length, the
            same one wherever it appears.

    Raises:
        RunError: the file is missing, is damaged, or holds arrays of another form.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            arrays = {name: _member(archive, name) for name in form}
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing: compute it and save it first.") from error
    except KeyError as error:
        raise RunError(f"{path} holds not all of {', '.join(form)}: delete it and compute it anew.") from error
    except Exception as error:  # a damaged archive may raise anything at all
        raise RunError(f"{path} cannot be read ({_one_line(error)}): delete it and compute it anew.") from error
    lengths: dict[str, int] = {}
    for name, (dtype, shape) in form.items():
        found = arrays[name]
        kind_fits = found.dtype.kind == "U" if dtype == "str" else found.dtype == np.dtype(dtype)
        fits = kind_fits and found.ndim == len(shape)
        for wanted, length in zip(shape, found.shape, strict=False):
            fits &= length == (lengths.setdefault(wanted, length) if isinstance(wanted, str) else wanted)
        if not fits:
            wanted_shape = ", ".join(str(lengths.get(str(length), length)) for length in shape)
            raise RunError(
                f"{path}: {name} should be {dtype} ({wanted_shape}), {found.dtype} {found.shape} was found: "
                "delete it and compute it anew."
            )
    return arrays


def load_array(path: str | Path, mmap_mode: Literal["c"] | None = None) -> NDArray[Any]:
    """Read one `.npy` file without pickle.

    Args:
        path: the file.
        mmap_mode: see `numpy.load`.

    Raises:
        OSError: it is missing or cannot be read.
        ValueError: it is no `.npy` file of numbers or text, or its length is not what its header says.
    """
    with open_regular(path) as file:
        _check_header(file, os.fstat(file.fileno()).st_size)
    found: NDArray[Any] = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    _check_text(found)
    return found


def _member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    about = archive.getinfo(f"{name}.npy")
    if about.compress_type != zipfile.ZIP_STORED:  # so that nothing in it is larger than the file
        raise ValueError(f"{name} is compressed")
    with archive.open(about) as file:
        _check_header(file, about.file_size)
    with archive.open(about) as file:
        found = np.lib.format.read_array(file, allow_pickle=False)
    _check_text(found)
    return found


def _check_text(found: NDArray[Any]) -> None:
    """Refuse text with numbers in it that are no characters: Python fails at them wherever they are used first."""
    if found.dtype.kind == "U":
        points = np.frombuffer(found.tobytes(), f"{found.dtype.byteorder}u4")
        if ((points > 0x10FFFF) | ((points >= 0xD800) & (points < 0xE000))).any():  # the latter are halves of one
            raise ValueError("a text in it has characters that are none")


def _check_header(file: IO[bytes], size: int) -> None:
    """Refuse a header that promises another number of bytes than the `size` there are: numpy would reserve them."""
    try:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, dtype = read_header(file)
    except Exception as error:  # a damaged header may raise anything at all
        raise ValueError(f"no header of an .npy file: {_one_line(error)}") from error
    if dtype.hasobject:
        raise ValueError("Object arrays are not read, since they can run code")
    promised, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if promised != there or any(length < 0 for length in shape):
        raise ValueError(f"{dtype} {shape} takes {promised} bytes, it holds {there}")


def _one_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
