"""Notes that the report exported, read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seefar.data.images import Split
from seefar.data.notes import Note, correct_labels, read_notes
from seefar.errors import DataError

HEAD = "index,tag,new_label,note\n"


def test_notes_are_read_with_quotes_and_without_the_mark_of_a_formula(tmp_path: Path) -> None:
    file = tmp_path / "notes.csv"
    file.write_text(HEAD + '3,blurred,,\n0,,dog,"\'=1, ""x""\ny"\n', encoding="utf-8")
    assert read_notes(file, ("cat", "dog"), 4) == [Note(3, "blurred", None, ""), Note(0, "", 1, '=1, "x"\ny')]


def test_corrected_labels_replace_those_of_the_split() -> None:
    split = Split(np.zeros((3, 8, 8, 3), np.uint8), [0, 0, 1], ["cat", "dog"])
    corrected = correct_labels(split, [Note(0, "", 1, ""), Note(2, "fine", None, "")])
    assert corrected.labels.tolist() == [1, 0, 1]
    assert split.labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("index,label\n", "index,tag,new_label,note"),
        ("", "columns"),
        (HEAD + "4,,,\n", "line 2"),
        (HEAD + "-1,,,\n", "line 2"),
        (HEAD + "1,,\n", "line 2"),
        (HEAD + "1,,frog,\n", "frog"),
        (HEAD + "1,,dog,\n1,,cat,\n", "image 1"),
    ],
)
def test_what_is_wrong_with_notes_is_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "notes.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=named):
        read_notes(tmp_path / "notes.csv", ("cat", "dog"), 4)
