"""A model of other make through evaluation, maps, occlusion test, figures and page, as docs/your-own-model.md shows."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from seefar.data import Data

PAGE = Path(__file__).parents[1] / "docs" / "your-own-model.md"


@pytest.mark.slow
def test_the_page_without_any_action(shapes: Data, in_folder: Path, coarse: None) -> None:
    """A small VGG as it was initialised; its answers are computed here without seefar."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first = nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)
        second = nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)
        classifier = nn.Sequential(nn.Flatten(), nn.Linear(32 * 64, 10))
        network = nn.Sequential(OrderedDict(features=nn.Sequential(*first, *second), classifier=classifier))
    test = shapes.test.take(np.arange(30))
    Image.fromarray(test.images[0]).save("picture.png")
    found: dict[str, Any] = {"network": network, "test": test}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, found)
    evaluation, explanation = found["evaluation"], found["explanation"]
    pictures = (torch.from_numpy(np.array(test.images)).permute(0, 3, 1, 2) / 255 - 0.45) / 0.25
    with torch.no_grad():
        logits = network(pictures).numpy()
    np.testing.assert_allclose(evaluation.predictions.logits, logits, atol=1e-4)
    assert {m.index for m in evaluation.mistakes} == set(np.flatnonzero(logits.argmax(1) != test.labels).tolist())
    assert explanation.contrast.shape == (len(evaluation.mistakes), 8, 8)
    assert explanation.layer == "features"
    assert len(explanation.damaged) > 0
    assert found["found"][0].predicted == logits[0].argmax()
    assert all((in_folder / name).exists() for name in ("map.png", "mistakes.png", "maps.png"))
    page = (in_folder / "report.html").read_text(encoding="utf-8")
    for words in ("my network", "shapes test set", "Calibration", "Hiding "):
        assert words in page
    for words in ("Recipe <b>", "To make it again", "All settings of the recipe", ">Training</a>"):
        assert words not in page


def test_the_table_of_other_models_is_that_of_the_results() -> None:
    measured = json.loads((PAGE.parents[1] / "results" / "other_models.json").read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    for one in measured["models"]:
        assert one["largest_difference"] < 1e-5, one["model"]
        rows, columns = one["cells"]
        assert f"| {one['model']} | `{one['layer']}` | {rows} x {columns} | {one['largest_difference']:.0e} |" in page
    assert len(measured["models"]) == page.count(" | `") >= 9
