"""What a caller puts in place of the recipe's augmentation and optimizer."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import albumentations
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_job import TINY, At

import seefar
from seefar.data import Data
from seefar.errors import Interrupted, RecipeError, RunError
from seefar.runs.arrays import load_tensors
from seefar.training.history import HistoryRow
from seefar.training.run import Run

Image = NDArray[np.uint8]


def darker(image: Image, random: np.random.Generator) -> Image:
    return (image * random.uniform(0.2, 1.0)).astype(np.uint8)


def adam(model: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=2e-3)


def quiet(few: Data, folder: Path, **changes: Any) -> Run:
    return seefar.train(TINY, few, folder, device="cpu", precision="float32", progress=seefar.SILENT, **changes)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_tensors(folder / "weights.safetensors")[0]


def differ(first: Path, second: Path) -> bool:
    one, other = weights(first), weights(second)
    return any(not torch.equal(one[name], other[name]) for name in one)


def test_each_change_makes_another_network_and_is_recorded(few: Data, tmp_path: Path) -> None:
    rows: list[HistoryRow] = []
    quiet(few, tmp_path / "plain", on_row=rows.append)
    assert [row.step for row in rows] == list(range(1, len(rows) + 1))
    assert rows[-1].epoch == TINY.epochs
    flips = albumentations.Compose([albumentations.VerticalFlip(p=0.5)])
    assert len(quiet(few, tmp_path / "flips", transform=flips).history) == len(rows)
    for name, change in {"transform": darker, "optimizer": adam}.items():
        quiet(few, tmp_path / name, **{name: change})
        assert differ(tmp_path / "plain", tmp_path / name)
        assert json.loads((tmp_path / name / "data.json").read_text())["changes"] == {name: change.__qualname__}
        with pytest.raises(RunError, match=change.__qualname__):
            quiet(few, tmp_path / name)
        with pytest.raises(RunError, match=change.__qualname__):
            quiet(few, tmp_path / "plain", **{name: change})
        assert seefar.verify(tmp_path / name) == []


@pytest.mark.parametrize("change", [{"transform": darker}, {"optimizer": adam}])
def test_an_interrupted_training_with_a_change_resumes_to_the_same_bits(
    few: Data, tmp_path: Path, change: dict[str, Callable[..., Any]]
) -> None:
    quiet(few, tmp_path / "whole", **change)
    stop = At(3, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted):
        seefar.train(TINY, few, tmp_path / "cut", device="cpu", precision="float32", progress=stop, **change)
    quiet(few, tmp_path / "cut", **change)
    assert not differ(tmp_path / "whole", tmp_path / "cut")


def test_a_transform_of_other_images_is_refused_before_the_first_step(few: Data, tmp_path: Path) -> None:
    for wrong in (lambda image, _: image[:8], lambda image, _: image / 255, lambda _image, _: None):
        with pytest.raises(RecipeError, match="transform must return"):
            quiet(few, tmp_path / "own", transform=wrong)
    assert not (tmp_path / "own").exists()
