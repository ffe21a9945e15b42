"""No mistake at all, or none of the chosen classes: every step and command works, and says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seefar
from seefar.cli.printing import print_evaluation, print_result
from seefar.data.shapes import load_shapes
from seefar.training.recipe import recipe

TINY = recipe("demo", width=2, epochs=6, batch_size=8, learning_rate=0.03)


def dark_or_light(split: seefar.Split) -> seefar.Split:
    """The images of a split, every second so light that no network mistakes it."""
    labels = (np.arange(len(split)) % 2).astype(np.int64)
    images = split.images // 12 + np.where(labels, 220, 10).astype(np.uint8)[:, None, None, None]
    return replace(split, images=images, labels=labels, classes=("dark", "light"), masks=None)


EASY = load_shapes(40, 20)
EASY = replace(EASY, train=dark_or_light(EASY.train), test=dark_or_light(EASY.test))


@pytest.mark.slow
@pytest.mark.usefixtures("coarse")
def test_a_run_without_mistakes_is_complete(tmp_path: Path, capsys: Any) -> None:
    faultless = seefar.run(TINY, EASY, tmp_path / "easy", progress=seefar.SILENT)
    folder = faultless.run.folder
    assert (faultless.evaluation.metrics.mistakes, len(faultless.explanation), faultless.shown) == (0, 0, [])
    assert seefar.verify(folder) == []
    assert len(folder.mistakes.read_text(encoding="utf-8").splitlines()) == 1
    repaired = json.loads(folder.explanation.read_text())["occlusion"]["repaired"]
    assert repaired == {"n": 0, "share": None, "interval": None}
    page, maps = folder.report.read_text(encoding="utf-8"), folder.maps.stat().st_mtime_ns
    assert "<h2>No mistakes</h2>" in page
    assert page.index("<div hidden>") < page.index('id="filters"') < page.index('id="tiles"')
    print_evaluation(faultless.evaluation)
    print_result(faultless, as_json=False)
    printed = capsys.readouterr().out
    assert "\n0 mistakes\n" in printed
    assert "seefar explain" not in printed
    again = seefar.explain_run(seefar.load_run(folder.path), EASY, true="dark", progress=seefar.SILENT)
    assert again.explanation.rates.repaired.n == 0
    assert folder.maps.stat().st_mtime_ns == maps
    assert seefar.verify(folder) == []
