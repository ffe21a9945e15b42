"""Taking the network elsewhere: onnxruntime and plain torch agree with it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from seefar.maps.formulas import class_maps
from seefar.model.adapt import adapt
from seefar.model.export import export_onnx
from seefar.model.resnet import ResNet18
from seefar.runs.arrays import save_tensors

CLASSES = ("a", "<b>", "ü", "d")
DOCS = Path(__file__).parents[2] / "docs" / "elsewhere.md"


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


@pytest.mark.slow
def test_onnxruntime_gives_the_logits_and_the_maps(
    make_net: Callable[..., ResNet18], pictures: np.ndarray, tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    net = make_net(width=8)
    path = export_onnx(net, tmp_path / "net.onnx", CLASSES)
    session = onnxruntime.InferenceSession(str(path))
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == list(CLASSES)
    for part in (pictures, pictures[:1]):  # the number of pictures is free
        logits, maps = session.run(None, {"images": part})
        expected, expected_maps = adapt(net).logits(part), class_maps(net, part).maps
        assert maps.shape == (len(part), 4, 8, 8)
        np.testing.assert_allclose(logits, expected, atol=1e-4)
        np.testing.assert_allclose(maps, expected_maps, atol=1e-4)


def test_plain_torch_reads_the_weights(
    make_net: Callable[..., ResNet18], pictures: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = make_net()
    save_tensors(tmp_path / "weights.safetensors", dict(net.state_dict()), {})
    monkeypatch.chdir(tmp_path)
    code = DOCS.read_text(encoding="utf-8").split("## Weights in plain torch")[1]
    shown = re.findall(r"```python\n(.*?)```", code, re.DOTALL)[0]
    assert "seefar" not in shown
    names: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {}
    exec(shown, names)
    found = names["network"](torch.from_numpy(pictures))
    np.testing.assert_allclose(found.numpy(), adapt(net).logits(pictures), atol=1e-5)
