from __future__ import annotations

import pytest
import torch

from seefar.errors import ChoiceError
from seefar.model.inference import device_errors
from seefar.training.device import choose_compute


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [({"avx2": True, "avx512_bf16": False}, torch.float32), ({"avx512_bf16": True}, torch.bfloat16)],
)
def test_the_cpu_computes_in_bfloat16_only_where_it_has_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert choose_compute().precision == dtype
    assert choose_compute(precision="bfloat16").precision == torch.bfloat16
    assert str(choose_compute("cpu", "float32")) == f"cpu ({torch.get_num_threads()} threads), float32"


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16)])
def test_cuda_is_preferred_and_its_cores_decide(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    compute = choose_compute()
    assert (compute.device.type, compute.precision) == ("cuda", dtype)


def test_a_device_that_this_machine_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ChoiceError, match="cuda"):
        choose_compute("cuda")
    with pytest.raises(ChoiceError, match="float16"):
        choose_compute("cpu", "float16")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried\nmore"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: no kernel image is available for execution on the device\n"),
    ],
)
def test_a_full_or_unknown_device_says_what_to_do(error: RuntimeError) -> None:
    with pytest.raises(ChoiceError, match="device cpu"), device_errors():
        raise error
    with pytest.raises(RuntimeError, match="something else"), device_errors():
        raise RuntimeError("something else")
