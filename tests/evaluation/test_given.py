"""Files of predictions from elsewhere: every form gives the same logits, matched by name where there are names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seefar.errors import DataError
from seefar.evaluation.predictions import read_predictions

CLASSES = ("cat", "dog", "frog")
PREDICTED = [0, 2, 1]
LOGITS = [[1.5, 0.0, -1.0], [0.0, -3.0, 4.0], [-1.0, 2.0, 1.9]]
FILES = ("cat/a.png", "cat/b.jpg", "dog/c d.png")


def write(path: Path, values: Any) -> Path:
    if path.suffix == ".npy":
        np.save(path, np.asarray(values))
    elif path.suffix == ".json":
        path.write_text(json.dumps(values))
    else:
        rows = [row if isinstance(row, list) else [row] for row in values]
        path.write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n")
    return path


@pytest.mark.parametrize("suffix", [".json", ".npy", ".csv"])
@pytest.mark.parametrize(
    "values", [PREDICTED, LOGITS, [0.0, 2.0, 1.0], ["cat", "frog", "Dog"]], ids=["classes", "logits", "floats", "names"]
)
def test_classes_and_logits_of_each_kind(suffix: str, values: list[object], tmp_path: Path) -> None:
    found, _ = read_predictions(write(tmp_path / f"mine{suffix}", values), CLASSES, 3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, LOGITS if values == LOGITS else np.eye(3)[PREDICTED], rtol=1e-6)


SCORES = {"b": [0, -3, 4], "c d": [-1, 2, 1.9], "a": [1.5, 0, -1], "more": [0, 0, 0]}
"""In another order than the images, and of one more."""
TABLES: dict[str, str] = {
    "titles.csv": "id,frog,cat,dog\n" + "".join(f"{k},{s[2]},{s[0]},{s[1]}\n" for k, s in SCORES.items()),
    "no_titles.csv": "".join(f"{k},{s[0]},{s[1]},{s[2]}\n" for k, s in SCORES.items()),
    "semicolons.csv": "".join(f"{s[0]};{s[1]};{s[2]};{k}\n" for k, s in SCORES.items()),
    "paths.csv": "".join(
        f"/data/all/{p},{s[0]},{s[1]},{s[2]}\n"
        for p, s in zip(("cat/b.jpg", "dog/c d.png", "cat/a.png"), SCORES.values(), strict=False)
    ),
    "object.json": json.dumps(SCORES),
    "archive.npz": "",
}


@pytest.mark.parametrize("name", TABLES)
def test_file_names_are_matched_and_never_positions(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(TABLES[name])
    if name == "archive.npz":
        scores = np.array(list(SCORES.values()))[:, [2, 0, 1]]
        np.savez_compressed(tmp_path / name, logits=scores, files=list(SCORES), classes=["frog", "cat", "dog"])
    found, how = read_predictions(tmp_path / name, CLASSES, 3, FILES)
    np.testing.assert_allclose(found, LOGITS, rtol=1e-6)
    assert how.startswith("matched by")


def test_a_kaggle_file_of_numbered_images(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,label\n3,dog\n1,cat\n2,frog\n")
    found, how = read_predictions(tmp_path / "a.csv", CLASSES, 3)
    assert found.argmax(1).tolist() == PREDICTED
    assert how == "matched by number"
    (tmp_path / "b.csv").write_text("true,predicted\n0,0\n1,2\n1,1\n1,1\n")  # neither column numbers the images
    assert read_predictions(tmp_path / "b.csv", CLASSES, 4)[0].argmax(1).tolist() == [*PREDICTED, 1]


def test_columns_without_a_name_of_a_class_are_taken_in_order_and_that_is_said(tmp_path: Path) -> None:
    rows = "".join(f"{file},{scores[0]},{scores[1]},{scores[2]}\n" for file, scores in zip(FILES, LOGITS, strict=True))
    for titles, said in (("file,a,b,c\n", True), ("file,cat,dog,frog\n", False), ("", False)):
        (tmp_path / "a.csv").write_text(titles + rows)
        found, how = read_predictions(tmp_path / "a.csv", CLASSES, 3, FILES)
        np.testing.assert_allclose(found, LOGITS, rtol=1e-6)
        assert ("order of the classes" in how) is said


def test_probabilities_become_their_logarithms_also_in_half_precision(tmp_path: Path) -> None:
    shares = np.array([[0.7, 0.2, 0.1], [0.0, 0.25, 0.75], [0.3, 0.4, 0.3]])
    np.save(tmp_path / "a.npy", shares.astype(np.float16))
    found, how = read_predictions(tmp_path / "a.npy", CLASSES, 3)
    np.testing.assert_allclose(np.exp(found), shares, atol=1e-3)
    assert "probabilities" in how
    np.save(tmp_path / "b.npy", np.eye(3))
    assert read_predictions(tmp_path / "b.npy", CLASSES, 3)[0].tolist() == np.eye(3).tolist()  # classes, no more


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("a.json", "[0, 2", "a.json"),
        ("a.json", "[[0, 1], [2]]", "a.json"),
        ("a.json", '{"a": 1}', "cat/b.jpg and 1 other"),
        ("a.json", '["cat", "dog", "bird"]', "bird for image 2"),
        ("a.json", '["cat", "dog", "dog", "dog"]', "4 images, but there are 3"),
        ("a.json", "[[0, 1], [1, 0], [1, 0]]", "3 classes"),
        ("a.json", "[0, 1, -1]", "got -1 for image 2"),
        ("a.json", "[[0, 1, 2], [0, NaN, 1], [0, 1, 2]]", "for image 1"),
        ("a.csv", "0\nbird\n1\n", "bird for image 1"),
        ("a.csv", "0,1,2\n0,1\n0,1,2\n", "line 2"),
        ("a.csv", "file,label\na.png,cat\nx.png,dog\nc d.png,dog\n", "cat/b.jpg"),
        ("a.csv", "file,label\na.png,cat\na.png,dog\nb.jpg,dog\nc d.png,dog\n", "a.png occurs more than once"),
        ("a.csv", "file,cat,dog,fox\na.png,1,2,3\nb.jpg,1,2,3\nc d.png,1,2,3\n", "got cat, dog, fox"),
        ("a.csv", "", "empty"),
        ("a.npy", "no array", "a.npy"),
        ("a.npz", "no archive", "a.npz"),
        ("a.txt", "0 1 2", ".csv, .json, .npy, .npz"),
    ],
)
def test_errors_are_named(name: str, content: str, named: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=named) as error:
        read_predictions(tmp_path / name, CLASSES, 3, FILES)
    assert str(tmp_path / name) in str(error.value)


def test_no_code_in_an_array_file_is_run(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}, {}, {}], dtype=object))
    np.savez(tmp_path / "a.npz", logits=np.array([{}, {}, {}], dtype=object))
    for name in ("a.npy", "a.npz", "missing.csv"):
        with pytest.raises(DataError, match=name):
            read_predictions(tmp_path / name, CLASSES, 3)
