"""A job of six steps that takes a second, something that happens in one of them, and the lines that it prints."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import seefar
from seefar.data import Data
from seefar.pipeline import Result
from seefar.progress import Progress

TINY = seefar.recipe("demo", width=2, epochs=2, batch_size=16, log_every=1, held_out=4)


class At(Progress):
    """Does something in a step of the training."""

    def __init__(self, step: int, what: Callable[[], object]) -> None:
        self.left, self.what = step, what

    def update(self, *_shown: object) -> None:
        self.left -= 1
        if self.left == 0:
            self.what()


class Lines(Progress):
    """Keeps the lines."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def line(self, text: str) -> None:
        self.found.append(text)


def content(folder: Path) -> dict[str, Any]:
    """What must be the same after any interruption, to the bit: all files, but for times and what names the machine."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    timed = ("history.csv", "log.txt", "manifest.json", "report.html", "figures/history.png", ".lock")
    parts: dict[str, Any] = {name: path.read_bytes() for name, path in found.items() if name not in timed}
    with (folder / "history.csv").open(newline="", encoding="utf-8") as file:
        parts["history.csv"] = [{**row, "seconds": ""} for row in csv.DictReader(file)]
    return parts | {name: None for name in timed if name in found and name not in parts and name != ".lock"}


def run_tiny(data: Data, folder: Path) -> Result:
    """The job with a checkpoint after each step, to the same bits on every machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seefar.report.style.DPI", 30)
        options = {"device": "cpu", "precision": "float32", "checkpoint_minutes": 0.0, "progress": seefar.SILENT}
        return seefar.run(TINY, data, folder, top=2, **options)
