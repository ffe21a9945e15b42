from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from seefar.errors import DataError
from seefar.evaluation.predictions import read_predicted

CLASSES = [0, 2, 1]
LOGITS = [[1.5, 0.0, -1.0], [0.0, -3.0, 4.0], [-1.0, 2.0, 1.9]]


def write(path: Path, values: object) -> Path:
    if path.suffix == ".npy":
        np.save(path, np.asarray(values))
    elif path.suffix == ".json":
        path.write_text(json.dumps(values))
    else:
        rows = [row if isinstance(row, list) else [row] for row in values]
        path.write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n")
    return path


@pytest.mark.parametrize("suffix", [".json", ".npy", ".csv", ".JSON"])
@pytest.mark.parametrize(
    "values", [CLASSES, LOGITS, [float(one) for one in CLASSES]], ids=["classes", "logits", "floats"]
)
def test_classes_and_logits_of_each_kind(suffix: str, values: list[object], tmp_path: Path) -> None:
    path = write(tmp_path / f"mine{suffix.lower()}", values).rename(tmp_path / f"mine{suffix}")
    found = read_predicted(path, 3, 3)
    assert found.tolist() == CLASSES
    assert found.dtype == np.int64


def test_a_csv_may_have_titles_and_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("\ufeffclass\r\n0\r\n2\r\n\r\n1\r\n", encoding="utf-8")
    assert read_predicted(path, 3, 3).tolist() == CLASSES


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "[0, 2", "cannot be read"),
        ("a.json", "[[0, 1], [2]]", "cannot be read"),
        ("a.json", '{"a": 1}', "found object"),
        ("a.json", '["cat", "dog", "frog"]', "found str"),
        ("a.json", "[true, false, true]", "found bool"),
        ("a.json", "NaN", r"of shape \(\)"),
        ("a.json", "[0, 1]", r"of shape \(2,\)"),
        ("a.json", "[[0, 1], [1, 0], [1, 0]]", r"of shape \(3, 2\)"),
        ("a.json", "[0, 1, 3]", "found 3 for image 2"),
        ("a.json", "[0, 1, -1]", "found -1 for image 2"),
        ("a.json", "[0, 1, 1.5]", "found 1.5 for image 2"),
        ("a.json", "[[0, 1, 2], [0, NaN, 1], [0, 1, 2]]", "for image 1"),
        ("a.csv", "0\ncat\n1\n", "line 2: could not convert"),
        ("a.csv", "0,1,2\n0,1\n0,1,2\n", "cannot be read"),
        ("a.npy", "no array", "cannot be read"),
        ("a.txt", "0 1 2", "one of these kinds: .json, .npy, .csv"),
    ],
)
def test_what_is_wrong_is_told_with_the_files_name(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message) as error:
        read_predicted(tmp_path / name, 3, 3)
    assert str(tmp_path / name) in str(error.value)


def test_no_code_in_an_array_file_is_run(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}, {}, {}], dtype=object))
    with pytest.raises(DataError, match=r"a\.npy"):
        read_predicted(tmp_path / "a.npy", 3, 3)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is missing"):
        read_predicted(tmp_path / "a.json", 3, 3)
