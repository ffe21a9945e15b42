"""On an NVIDIA GPU: the answers of the CPU, training in both half precisions, and float32 that is float32."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_job import At

from seefar import SILENT, Predictions, class_maps, load_run, predict, recipe, train
from seefar.choices import PrecisionName
from seefar.data import Data
from seefar.data.batches import BatchAugmentation, DeviceBatches
from seefar.data.shapes import load_shapes
from seefar.errors import Interrupted
from seefar.maps.formulas import METHODS
from seefar.model.inference import weights_fingerprint
from seefar.training.recipe import RECIPES
from seefar.training.run import Run

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, torch finds none here"),
]


@pytest.fixture(scope="module")
def on_gpu(trained: Run) -> Run:
    return load_run(trained.folder, "cuda")


def test_predictions_are_the_cpus_and_so_is_the_fingerprint(trained: Run, on_gpu: Run, shapes: Data) -> None:
    """In true float32; TF32, cuDNN's default on newer cards, would differ by about 1e-2."""
    found: list[Predictions] = [predict(run.model, shapes.test, progress=SILENT) for run in (trained, on_gpu)]
    np.testing.assert_allclose(found[1].logits, found[0].logits, atol=1e-4)
    assert found[0].predicted.tolist() == found[1].predicted.tolist()
    assert found[0].model == found[1].model == weights_fingerprint(on_gpu.model)
    found_maps = class_maps(on_gpu.model, shapes.test.images[:20])
    np.testing.assert_allclose(found_maps.logits, found[1].logits[:20], atol=1e-4)


@pytest.mark.parametrize("layer", [None, "layer2"])
@pytest.mark.parametrize("name", METHODS)
def test_gpu_maps_equal_cpu_maps(trained: Run, on_gpu: Run, shapes: Data, name: str, layer: str | None) -> None:
    images, classes = shapes.test.images[:4], np.array([0, 3, 3, 9])
    expected, found = (METHODS[name](run.model, images, classes, layer) for run in (trained, on_gpu))
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("largest", [0, 1 << 30])
def test_training_stops_and_resumes(
    shapes: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: PrecisionName, largest: int
) -> None:
    """Batches come from a thread where the images do not fit on the GPU, and are made there where they do."""
    monkeypatch.setattr("seefar.training.loop.LARGEST_ON_DEVICE", largest)
    if precision == "bfloat16" and torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this GPU has no bfloat16")
    small = recipe("demo", width=8, epochs=4, batch_size=16, learning_rate=0.03, crop_padding=0, flip="none")
    with pytest.raises(Interrupted, match="saved after step 50 of 152"):
        train(small, shapes, tmp_path / "run", device="cuda", precision=precision, progress=At(50, stop))
    run = train(small, shapes, tmp_path / "run", device="cuda", precision=precision, progress=SILENT)
    assert run.history[-1].step == 152
    assert run.history[-1].loss < 0.9 * run.history[0].loss
    assert next(run.model.parameters()).device.type == "cuda"


@pytest.mark.parametrize("name", list(RECIPES))
def test_gpu_batches_equal_cpu_batches(shapes: Data, name: str) -> None:
    plan = recipe(name, batch_size=23)
    settings = plan.crop_padding, plan.cutout, plan.cutout_probability, (1, 2, 3), plan.crop_border
    on_gpu, on_cpu = (
        DeviceBatches(shapes.train, BatchAugmentation(*settings), plan.flip, 23, plan.seed, torch.device(kind))
        for kind in ("cuda", "cpu")
    )
    for position in ((0, 0), (1, 3), (2, 26)):
        found, expected = on_gpu[position], on_cpu[position]
        assert found.images.device.type == found.labels.device.type == "cuda"
        assert found.images.cpu().equal(expected.images)
        assert found.labels.cpu().equal(expected.labels)


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_replayed_steps_are_the_steps_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: PrecisionName
) -> None:
    """Two image sizes, a smaller last batch, and a rate that changes in each step."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    data = load_shapes(6 * 16 + 10, 20)
    changes = {"epochs": 8, "batch_size": 16, "scales": (0.5, 1.0), "learning_rate": 0.02, "log_every": 1}
    small = recipe("demo", width=8, norm_bias_rate=4.0, **changes)
    runs = []
    for records in (True, False):
        if not records:
            monkeypatch.setattr("seefar.training.loop.RecordedStep", lambda step: step)
        runs.append(train(small, data, tmp_path / str(records), device="cuda", precision=precision, progress=SILENT))
    assert f"{precision}, steps replayed as CUDA graphs" in (tmp_path / "True" / "log.txt").read_text()
    replayed, themselves = ([row.loss for row in run.history] for run in runs)
    assert len(replayed) == 56
    np.testing.assert_allclose(replayed, themselves, atol=1e-4)
    for ours, theirs in zip(*(run.model.parameters() for run in runs), strict=True):
        assert (ours - theirs).norm() <= 1e-3 * theirs.norm()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.compile imports what torch calls old
def test_compiled_steps_are_recorded_and_learn(shapes: Data, tmp_path: Path) -> None:
    small = recipe("demo", width=8, epochs=2, batch_size=16, learning_rate=0.03)
    run = train(small, shapes, tmp_path / "run", device="cuda", compile=True, progress=SILENT)
    assert run.history[-1].loss < 0.9 * run.history[0].loss
    assert "compiled, steps replayed" in (tmp_path / "run" / "log.txt").read_text()
