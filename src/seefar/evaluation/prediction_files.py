"""Predictions of any model from a file: classes or logits as .json, .npy or .csv."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from seefar.data.images import Labels
from seefar.errors import DataError
from seefar.evaluation.triage import check_classes
from seefar.runs.arrays import load_array
from seefar.runs.files import parse_json

SUFFIXES = (".json", ".npy", ".csv")


def read_predicted(path: str | Path, count: int, num_classes: int) -> Labels:
    r"""The predicted class of each image, from a file of classes or of logits.

    Args:
        path: `.json`, a list; `.npy`, an array; `.csv`, a line an image, with or without a line of titles. One class
            from 0 to K-1 for each image, or K logits or probabilities, of which the largest counts.
        count: N, how many images there are.
        num_classes: K.

    Returns:
        int64 (N,).

    Raises:
        DataError: the file is missing or cannot be read, or holds something else.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "logits.csv"
        ...     _ = path.write_text("cat,dog\n0.5,-1\n-2,3.5\n")
        ...     read_predicted(path, count=2, num_classes=2)
        array([0, 1])
    """
    path = Path(path).expanduser()
    wanted = f"{path} should hold {count:,} classes from 0 to {num_classes - 1}, or logits ({count:,}, {num_classes})"
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path} should be a file of one of these kinds: {', '.join(SUFFIXES)}.")
    try:
        values = np.asarray(_read(path))
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing: give a file of predictions ({', '.join(SUFFIXES)}).") from error
    except (
        OSError,
        EOFError,
        ValueError,
        csv.Error,
    ) as error:  # ValueError: no JSON, no array, lines of different lengths
        raise DataError(f"{wanted}; it cannot be read: {error}") from error
    if values.dtype.kind not in "iuf":
        raise DataError(f"{wanted}; found {values.dtype.name} of shape {values.shape}, not numbers.")
    if values.shape not in ((count,), (count, 1), (count, num_classes)):
        raise DataError(f"{wanted}; found shape {values.shape}.")
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise DataError(f"{wanted}; found a number that is not finite for image {row}.")
    if values.shape == (count, num_classes):
        return np.asarray(values.argmax(1), dtype=np.int64)
    if (values != np.round(values)).any():
        row = int(np.argwhere(values != np.round(values))[0][0])
        raise DataError(f"{wanted}; found {values.reshape(-1)[row]} for image {row}, which is no class.")
    classes = values.reshape(-1).astype(np.int64)
    try:
        check_classes(classes, count, num_classes)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return classes


def _read(path: Path) -> Any:
    if path.suffix.lower() == ".npy":
        return load_array(path)
    text = path.read_text(encoding="utf-8-sig")
    return parse_json(text) if path.suffix.lower() == ".json" else _numbers(text)


def _numbers(text: str) -> list[list[float]]:
    """The lines of a CSV as numbers; a first line of titles and empty lines are left out."""
    rows = []
    for number, cells in enumerate(csv.reader(text.splitlines()), start=1):
        try:
            row = [float(cell) for cell in cells]
        except ValueError as error:
            if number == 1:
                continue
            raise ValueError(f"line {number}: {error}") from error
        if row:
            rows.append(row)
    return rows
