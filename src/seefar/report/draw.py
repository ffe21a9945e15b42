"""Figures written into files: PNG in a run folder, and PDF and SVG where a user names the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from seefar.errors import ChoiceError
from seefar.runs.files import check_place, written_beside

OPTIONS: dict[str, dict[str, Any]] = {
    # Level 3 rather than 6 takes two thirds of the time, and makes the file 7 % larger.
    ".png": {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": 3}},
    ".pdf": {"metadata": {"CreationDate": None}},
    ".svg": {"metadata": {"Date": None}},
}
"""Endings of the files that a figure can be written into, and how it is."""


def check_figure(path: Path) -> None:
    """Refuse, before any work, a path that no figure can be written to.

    Raises:
        ChoiceError: it has another ending, or is a folder.
        RunError: nothing can be written where it would lie.
    """
    if path.suffix.lower() not in OPTIONS:
        found = f"the ending {path.suffix!r}" if path.suffix else "no ending"
        raise ChoiceError(f"{path} has {found}: choose a file for the figure that ends with {' or '.join(OPTIONS)}.")
    if path.is_dir():
        raise ChoiceError(f"{path} is a folder: choose a file for the figure.")
    check_place(path.parent)


def save_figure(path: Path, figure: Figure | None) -> None:
    """Write a figure as PNG, PDF or SVG, whole or not at all; the same figure gives the same bytes.

    None takes away the one that is there, since it is of another choice.
    """
    if figure is None:
        path.unlink(missing_ok=True)
        return
    with written_beside(path) as beside, matplotlib.rc_context({"svg.hashsalt": "seefar"}):
        figure.savefig(beside, facecolor="white", **OPTIONS[path.suffix.lower()])
