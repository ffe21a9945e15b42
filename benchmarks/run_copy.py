"""What several benchmarks begin with: a finished run that they may write to."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import seefar
from seefar.data import load_data
from seefar.data.images import Split
from seefar.evaluation.evaluate import Evaluation, evaluate
from seefar.training.run import Run


@contextmanager
def copied_run(name: str) -> Iterator[tuple[Run, Split, Evaluation]]:
    """A copy of a run's folder, its test images and what the network says of them; the copy is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "run"
        shutil.copytree(seefar.load_run(name).folder.path, copy)
        run = seefar.load_run(copy)
        test = load_data(run.recipe.data, None, run.recipe.image_size).test
        yield run, test, evaluate(run.model, test)
