"""What the benchmarks time, they time where they say: on the chosen device, read when it is done.

No GPU is needed: torch's meta device stands for one. It computes no numbers, and refuses to be mixed with the CPU.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import seefar.training.device as device_module
from seefar.training.device import Compute


class Convolutions(TorchDispatchMode):
    """Notes the device of each convolution, and answers `item()`, since the meta device has no numbers to tell."""

    def __init__(self) -> None:
        super().__init__()
        self.devices: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default:
            self.devices.add(args[0].device.type)
        return 1 if func is torch.ops.aten._local_scalar_dense.default else func(*args, **(kwargs or {}))


@pytest.fixture
def throughput(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark, imported as on a machine that computes on the meta device."""
    compute = Compute(torch.device("meta"), torch.float32)
    monkeypatch.setattr(device_module, "choose_compute", lambda *_, **__: compute)
    monkeypatch.delitem(sys.modules, "throughput", raising=False)
    loaded = importlib.import_module("throughput")
    monkeypatch.delitem(sys.modules, "throughput")
    monkeypatch.setattr(loaded, "STEPS", 2)
    return loaded


@pytest.mark.parametrize("contender", [pytest.param("bare_step", marks=pytest.mark.slow), "convolution_peak"])
def test_each_contender_computes_on_the_device(throughput: ModuleType, contender: str) -> None:
    with Convolutions() as seen:
        getattr(throughput, contender)(*[throughput.noise(throughput.BATCH)] * (contender == "bare_step"))
    assert seen.devices == {"meta"}


def test_the_clock_is_read_when_the_device_is_done(throughput: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    monkeypatch.setattr(throughput, "synchronize", lambda: events.append("done"))
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: events.append("clock") or len(events))
    throughput.convolution_peak()
    assert events == ["done", "clock", "done", "clock"]
