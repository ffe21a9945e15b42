"""What the benchmarks time, they time where they say: all contenders on the chosen device, read when it is done.

No GPU is needed: torch's meta device stands for one. It computes no numbers, and refuses to be mixed with the CPU.
"""

import importlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import seefar.training.device as device_module
from seefar.training.device import Compute

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
META = Compute(torch.device("meta"), torch.float32)
Load = Callable[[str, Compute], ModuleType]


class Convolutions(TorchDispatchMode):
    """Notes the device of each convolution, and answers `item()`, since the meta device has no numbers to tell."""

    def __init__(self) -> None:
        super().__init__()
        self.devices: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default:
            self.devices.append(args[0].device.type)
        if func is torch.ops.aten._local_scalar_dense.default:
            return 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Imports a benchmark anew, as on a machine that computes there."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    loaded = {"throughput"}  # maps takes a function from it

    def import_it(name: str, compute: Compute) -> ModuleType:
        monkeypatch.setattr(device_module, "choose_compute", lambda *_, **__: compute)
        loaded.add(name)
        return importlib.import_module(name)

    yield import_it
    for name in loaded:
        sys.modules.pop(name, None)


def run_contender(throughput: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few steps of it."""
    monkeypatch.setattr(throughput, "STEPS", 2)
    data = throughput.noise(throughput.BATCH)
    arguments = {"bare_step": (data,), "plain": (data, 4, 4), "convolution_peak": ()}[name]
    getattr(throughput, name)(*arguments)


@pytest.mark.parametrize("contender", [pytest.param("bare_step", marks=pytest.mark.slow), "convolution_peak"])
def test_each_contender_of_throughput_computes_on_the_device(
    load: Load, contender: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    throughput = load("throughput", META)

    with Convolutions() as seen:
        run_contender(throughput, contender, monkeypatch)

    assert set(seen.devices) == {"meta"}


@pytest.mark.parametrize("contender", ["net", pytest.param("captum", marks=pytest.mark.slow)])
def test_each_contender_of_maps_computes_on_the_device(load: Load, contender: str) -> None:
    contenders = load("maps", META).contenders()

    with Convolutions() as seen:
        contenders[contender]()

    assert set(seen.devices) == {"meta"}


def test_the_clock_is_read_when_the_device_is_done(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    throughput = load("throughput", META)
    clock, events = time.perf_counter, []

    def read_clock() -> float:
        events.append("clock")
        return clock()

    monkeypatch.setattr(throughput, "synchronize", lambda: events.append("done"))
    monkeypatch.setattr(throughput.time, "perf_counter", read_clock)
    run_contender(throughput, "convolution_peak", monkeypatch)

    assert events == ["done", "clock", "done", "clock"]
