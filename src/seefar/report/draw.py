"""Figures written into a run folder as PNG files."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from seefar.runs.files import written_beside


def save_figure(path: Path, figure: Figure | None) -> None:
    """Write a figure as a PNG file, whole or not at all; the same figure gives the same bytes.

    None takes away the one that is there, since it is of another choice.
    """
    if figure is None:
        path.unlink(missing_ok=True)
        return
    with written_beside(path) as beside:
        # Level 3 rather than 6 takes two thirds of the time, and makes the file 7 % larger.
        figure.savefig(beside, metadata={"Software": None}, facecolor="white", pil_kwargs={"compress_level": 3})
