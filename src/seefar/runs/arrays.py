"""Arrays on disk: `.npz` and `.npy` without pickle, whole or not there, checked before they take any memory."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

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


def load_array(path: str | Path) -> NDArray[Any]:
    """Read one `.npy` file without pickle.

    Raises:
        OSError: it is missing or cannot be read.
        ValueError: it is no `.npy` file of numbers or text, or its length is not what its header says.
    """
    with open_regular(path) as file:
        return _read(file, os.fstat(file.fileno()).st_size)


def _member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    about = archive.getinfo(f"{name}.npy")
    if about.compress_type != zipfile.ZIP_STORED:  # so that nothing in it is larger than the file
        raise ValueError(f"{name} is compressed")
    with archive.open(about) as file:
        return _read(file, about.file_size)


def _read(file: IO[bytes], size: int) -> NDArray[Any]:
    """The array in a `.npy` file of `size` bytes, whose header may promise more: numpy would reserve them."""
    try:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    except Exception as error:  # a damaged header may raise anything at all
        raise ValueError(f"no header of an .npy file: {_one_line(error)}") from error
    promised, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if promised != there or any(length < 0 for length in shape):
        raise ValueError(f"{dtype} {shape} takes {promised} bytes, it holds {there}")
    file.seek(0)
    array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _one_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
