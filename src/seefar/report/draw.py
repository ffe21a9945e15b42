"""Figures written into a run folder as PNG files."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from seefar.runs.files import written_beside


def save_figure(path: Path, figure: Figure) -> None:
    """Write a figure as a PNG file, whole or not at all; the same figure gives the same bytes."""
    with written_beside(path) as beside:
        figure.savefig(beside, metadata={"Software": None}, facecolor="white")
