"""Notes that the report exported, read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seefar.data.folder import correct_labels
from seefar.data.images import Split
from seefar.errors import DataError

HEAD = "index,tag,new_label,note\n"
SPLIT = Split(np.zeros((4, 8, 8, 3), np.uint8), [0, 0, 1, 1], ["cat", "=dog"])


def test_labels_are_corrected_without_the_mark_of_a_formula(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text(HEAD + '3,blurred,,\n0,,\'=dog,"\'=1, ""x""\ny"\n', encoding="utf-8")
    assert correct_labels(SPLIT, tmp_path / "notes.csv").labels.tolist() == [1, 0, 1, 1]
    assert SPLIT.labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("index,label\n", "index,tag,new_label,note"),
        ("", "columns"),
        (HEAD + "4,,,\n", "line 2"),
        (HEAD + "-1,,,\n", "line 2"),
        (HEAD + "9" * 5000 + ",,,\n", "line 2"),
        (HEAD + f"1,{'x' * 200_000},,\n", "notes.csv"),
        (HEAD + "1,,\n", "line 2"),
        (HEAD + "1,,frog,\n", "frog"),
        (HEAD + "1,,=dog,\n1,,cat,\n", "image 1"),
    ],
)
def test_what_is_wrong_with_notes_is_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "notes.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=named):
        correct_labels(SPLIT, tmp_path / "notes.csv")
