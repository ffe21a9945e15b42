"""A library leaves the process of its caller as it was."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_job import TINY

import seefar
from seefar import SILENT
from seefar.data import Data
from seefar.training.run import Run


def state() -> dict[str, Any]:
    """What a caller would notice."""
    algorithm, keys, *rest = np.random.get_state()
    return {
        "random": random.getstate(),
        "numpy": (algorithm, keys.tolist(), *rest),
        "torch": torch.get_rng_state().tolist(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "dtype": torch.get_default_dtype(),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "precision": torch.get_float32_matmul_precision(),
        "warnings": list(warnings.filters),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "logging": (logging.root.level, list(logging.root.handlers), logging.root.disabled),
        "figures": dict(mpl.rcParams),
        "environment": dict(os.environ),
        "folder": Path.cwd(),
    }


def predict_pictures(run: Run, data: Data, folder: Path) -> object:
    folder.mkdir()
    Image.fromarray(data.test.images[0]).save(folder / "one.png")
    return seefar.predict_pictures(run.model, [folder / "one.png"], run.classes, progress=SILENT)


USES: dict[str, Callable[[Run, Data, Path], object]] = {
    "run": lambda _run, data, folder: seefar.run(TINY, data, folder, top=2, progress=SILENT),
    "load_run": lambda run, _data, _folder: seefar.load_run(run.folder.path),
    "predict_pictures": predict_pictures,
    "report_run": lambda run, data, _folder: seefar.report_run(run, data, progress=SILENT),
    "gradcam": lambda run, data, _folder: seefar.gradcam(run.model, data.test.images[:2], data.test.labels[:2]),
    "plot_history": lambda run, _data, _folder: seefar.plot_history(run.history),
}


LONG = ("run", "report_run")


@pytest.mark.parametrize("use", [pytest.param(use, marks=pytest.mark.slow) if use in LONG else use for use in USES])
@pytest.mark.usefixtures("coarse")
def test_the_callers_process_is_unchanged(use: str, run: Run, few: Data, tmp_path: Path) -> None:
    USES[use](run, few, tmp_path / "warm-up")  # what is imported at the first use may add, say, filters of warnings
    random.seed(5)
    np.random.seed(6)
    torch.manual_seed(7)
    before, threads, training = state(), threading.active_count(), run.model.training
    USES[use](run, few, tmp_path / "new")
    after = state()
    assert [name for name in before if before[name] != after[name]] == []
    assert threading.active_count() <= threads
    assert run.model.training == training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in run.model.parameters())
