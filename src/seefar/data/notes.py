"""Labels that a person corrected on the page, read back from the CSV that the report exports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from seefar.data.images import Split
from seefar.errors import DataError
from seefar.runs.files import read_table

COLUMNS = ["index", "tag", "new_label", "note"]


def correct_labels(split: Split, notes: str | Path) -> Split:
    """The split with the labels that a file of notes, CSV with `COLUMNS`, corrects; `new_label` may be empty.

    Raises:
        DataError: the columns differ, an index or a class does not exist, or an image occurs twice.
    """
    rows = read_table(notes)
    if rows[:1] != [COLUMNS]:
        raise DataError(f"{notes} must have the columns {','.join(COLUMNS)}: export the notes from the report.")
    labels, seen, numbers = split.labels.copy(), set(), {str(index): index for index in range(len(split))}
    for number, row in enumerate(rows[1:], 2):
        where = f"{notes}, line {number}"
        if row[0] not in numbers:
            raise DataError(f"{where}: an index from 0 to {len(split) - 1} is required (got {row[0][:20]!r}).")
        index, name = numbers[row[0]], row[2]
        if name[:1] == "'" and name[1:].startswith(("=", "+", "-", "@", "\t", "\r")):
            name = name[1:]  # without the apostrophe that keeps spreadsheets from evaluating it as a formula
        if name and name not in split.classes:
            raise DataError(f"{where}: {name!r} is not a class; the classes are {', '.join(split.classes)}.")
        if index in seen:
            raise DataError(f"{where}: image {index} occurs twice: keep one of its lines.")
        seen.add(index)
        if name:
            labels[index] = split.classes.index(name)
    return replace(split, labels=labels)
