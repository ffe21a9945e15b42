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


def test_a_gpu_is_named_with_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout="550.54\n"))
    found = provenance()["machine"]["gpu"]
    assert (found["name"], found["driver"]) == ("NVIDIA H100", "550.54")
