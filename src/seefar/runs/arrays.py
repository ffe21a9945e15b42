"""Arrays on disk: one `.npz` without pickle, whole or not there, checked when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seefar.errors import RunError
from seefar.runs.files import written_beside


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
        # Opened here, since numpy leaves a damaged archive open.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: np.asarray(archive[name]) for name in form}
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing: compute it and save it first.") from error
    except KeyError as error:
        raise RunError(f"{path} holds no {error.args[0]}: delete it and compute it anew.") from error
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


def _one_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
