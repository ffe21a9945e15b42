"""Notes of a person on images, as the report exports them: tags and corrected labels, read back from CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from seefar.data.images import Split
from seefar.errors import DataError
from seefar.runs.files import read_bytes

COLUMNS = ["index", "tag", "new_label", "note"]


@dataclass(frozen=True)
class Note:
    """A note on the image at this index: tag, corrected class (None: the label is right) and text, maybe empty."""

    index: int
    tag: str
    new_label: int | None
    note: str


def read_notes(path: str | Path, classes: Sequence[str], count: int) -> list[Note]:
    """Notes on `count` images, from CSV with the columns `index`, `tag`, `new_label`, `note` as the report exports it.

    Raises:
        DataError: the columns differ, an index or a class does not exist, or an image occurs twice.
        OSError: the file cannot be read.
    """
    text = read_bytes(Path(path)).decode("utf-8-sig", "replace")
    rows = csv.reader(io.StringIO(text, newline=""))
    if next(rows, None) != COLUMNS:
        raise DataError(f"{path} must have the columns {','.join(COLUMNS)}: export the notes from the report.")
    notes: dict[int, Note] = {}
    for row in filter(None, rows):
        where = f"{path}, line {rows.line_num}"
        if len(row) != len(COLUMNS) or not (row[0].isascii() and row[0].isdigit() and int(row[0]) < count):
            raise DataError(f"{where}: an index from 0 to {count - 1} and three more columns are required.")
        index, (tag, label, note) = int(row[0]), map(_plain, row[1:])
        if label and label not in classes:
            raise DataError(f"{where}: there is no class {label!r}; the classes are {', '.join(classes)}.")
        if index in notes:
            raise DataError(f"{where}: image {index} occurs twice: keep one of its lines.")
        notes[index] = Note(index, tag, classes.index(label) if label else None, note)
    return list(notes.values())


def correct_labels(split: Split, notes: Sequence[Note]) -> Split:
    """The split with the labels that notes correct, to be trained on or evaluated with."""
    labels = split.labels.copy()
    for note in notes:
        if note.new_label is not None:
            labels[note.index] = note.new_label
    return replace(split, labels=labels)


def _plain(cell: str) -> str:
    """The text without the apostrophe that keeps spreadsheets from evaluating it as a formula."""
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(("=", "+", "-", "@", "\t", "\r")) else cell
