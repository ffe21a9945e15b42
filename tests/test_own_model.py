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
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from seefar.data import Data

PAGE = Path(__file__).parents[1] / "docs" / "your-own-model.md"


def small_vgg() -> nn.Module:
    """Three convolutions and two poolings, then two linear layers: nothing that a ResNet has."""
    layers: list[nn.Module] = []
    for channels, made in ((3, 16), (16, 32), (32, 32)):
        layers += [nn.Conv2d(channels, made, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(32 * 64, 64), nn.ReLU(), nn.Linear(64, 10))
    return nn.Sequential(OrderedDict(features=nn.Sequential(*layers[:-1]), classifier=classifier))


def normalised(images: np.ndarray) -> Tensor:
    return (torch.from_numpy(np.array(images)).permute(0, 3, 1, 2) / 255 - 0.45) / 0.25


@pytest.fixture(scope="module")
def network(shapes: Data) -> nn.Module:
    """Trained for 40 steps on the built-in shapes, normalised by 0.45 and 0.25."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = small_vgg()
        inputs = normalised(shapes.train.images)
        labels = torch.from_numpy(np.array(shapes.train.labels))
        optimizer = torch.optim.Adam(network.parameters(), 2e-3)
        for _ in range(40):
            rows = torch.randperm(len(labels))[:100]
            optimizer.zero_grad()
            F.cross_entropy(network(inputs[rows]), labels[rows]).backward()
            optimizer.step()
    return network


@pytest.mark.slow
def test_the_page_without_any_action(network: nn.Module, shapes: Data, in_folder: Path, coarse: None) -> None:
    test = shapes.test.take(np.arange(30))
    Image.fromarray(test.images[0]).save("picture.png")
    found: dict[str, Any] = {"network": network, "test": test}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, found)
    evaluation, explanation = found["evaluation"], found["explanation"]
    # The network's own answers: computed here without seefar.
    with torch.no_grad():
        logits = network(normalised(test.images)).numpy()
    np.testing.assert_allclose(evaluation.predictions.logits, logits, atol=1e-4)
    assert {m.index for m in evaluation.mistakes} == set(np.flatnonzero(logits.argmax(1) != test.labels).tolist())
    assert len(explanation) == len(evaluation.mistakes) >= 3
    assert explanation.contrast.shape == (len(explanation), 8, 8)
    assert explanation.layer == "features"
    assert len(explanation.damaged) > 0
    assert found["found"][0].predicted == logits[0].argmax()
    for name in ("map.png", "mistakes.png", "maps.png"):
        with Image.open(in_folder / name) as figure:
            assert min(figure.size) > 50
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
