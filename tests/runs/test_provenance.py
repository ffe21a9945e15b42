"""What made a result: the code, its packages, the machine; and that what ships is what its manifests say."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from seefar.runs.folder import verify
from seefar.runs.provenance import provenance

RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*/manifest.json")), ids=lambda path: path.parent.name)
def test_what_results_ship_is_what_their_manifests_say(path: Path) -> None:
    assert verify(path.parent) == []


def test_packages_threads_and_instructions_are_named() -> None:
    found = provenance()
    assert found["packages"]["torch"] == torch.__version__
    assert found["machine"]["threads"] == torch.get_num_threads()
    assert found["machine"]["instructions"] in torch.__config__.show()  # "CPU capability usage: AVX2"


def test_a_gpu_is_named_with_its_driver_and_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = SimpleNamespace(name="NVIDIA H100", total_memory=80 << 30, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _number: gpu)

    def run(_words: list[str], **_options: object) -> SimpleNamespace:
        return SimpleNamespace(stdout="550.54\n")

    monkeypatch.setattr(subprocess, "run", run)
    found = provenance()["machine"]["gpu"]
    about = [found[name] for name in ("name", "memory_mib", "capability", "driver")]
    assert about == ["NVIDIA H100", 80 * 1024, "9.0", "550.54"]
    assert found["float32_convolutions"] in ("tf32", "ieee")
