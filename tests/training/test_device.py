from __future__ import annotations

import pytest
import torch

from seefar.errors import DeviceError
from seefar.training import device
from seefar.training.device import Compute, choose_compute, worker_count


def test_the_cpu_computes_in_bfloat16_only_where_it_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(device, "_has_native_bfloat16", lambda: True)
    assert choose_compute().precision == torch.bfloat16
    monkeypatch.setattr(device, "_has_native_bfloat16", lambda: False)
    assert choose_compute().precision == torch.float32
    assert choose_compute(precision="bfloat16").precision == torch.bfloat16


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)]
)
def test_cuda_is_preferred_and_its_cores_decide(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    compute = choose_compute()
    assert (compute.device.type, compute.precision) == ("cuda", dtype)


def test_what_is_not_there_is_refused_with_what_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="no cuda for torch"):
        choose_compute("cuda")
    with pytest.raises(DeviceError, match="float16 needs CUDA"):
        choose_compute("cpu", "float16")


def test_workers_are_for_gpus_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    cpu, cuda = (Compute(torch.device(kind), torch.float32) for kind in ("cpu", "cuda"))
    assert worker_count(None, cpu) == 0
    assert worker_count(2, cpu) == 2
    assert worker_count(None, cuda) == 3
    assert worker_count(0, cuda) == 0
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert worker_count(None, cuda) == 8
    with pytest.raises(DeviceError, match="--workers of 0 or more"):
        worker_count(-1, cpu)


def test_it_is_said_in_one_line() -> None:
    assert str(choose_compute("cpu", "float32")) == f"cpu ({torch.get_num_threads()} threads), float32"
