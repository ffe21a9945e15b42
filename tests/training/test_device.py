from __future__ import annotations

from pathlib import Path

import pytest
import torch

from seefar.errors import ChoiceError
from seefar.model.inference import device_errors
from seefar.model.resnet import ResNet18, memory_format
from seefar.training import device
from seefar.training.device import Compute, choose_compute, core_count


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


def test_steps_are_fused_on_cuda_without_a_loss_scaler() -> None:
    kinds = [
        (device, precision) for device in ("cpu", "cuda", "mps") for precision in ("float32", "bfloat16", "float16")
    ]
    fused = [kind for kind in kinds if Compute(torch.device(kind[0]), getattr(torch, kind[1])).fuses]
    assert fused == [("cuda", "float32"), ("cuda", "bfloat16")]


def test_a_device_that_this_machine_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ChoiceError, match="cuda"):
        choose_compute("cuda")
    with pytest.raises(ChoiceError, match="float16"):
        choose_compute("cpu", "float16")


CPU, CUDA, MPS = (Compute(torch.device(kind), torch.float32) for kind in ("cpu", "cuda", "mps"))


def test_cores_are_those_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: set(range(12)), raising=False)
    assert core_count() == 12  # as with taskset -c 0-11
    monkeypatch.delattr("os.sched_getaffinity")
    assert core_count() == 64


@pytest.mark.parametrize(
    ("lines", "native"),
    [
        ("flags\t\t: fpu sse2 avx512_bf16 avx512_vnni\n", True),
        ("Features\t: fp asimd bf16 i8mm\n", True),
        ("model name\t: made up avx512_bf16\nflags\t\t: fpu avx2\n", False),
    ],
)
def test_bfloat16_is_found_where_torch_does_not_tell(monkeypatch: pytest.MonkeyPatch, lines: str, native: bool) -> None:
    """torch.cpu.get_capabilities came with torch 2.11."""
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(Path, "read_text", lambda *_args, **_words: lines)
    assert device._has_native_bfloat16() is native


def test_memory_format_and_copies_suit_the_device() -> None:
    """Channels last is wrong on MPS, and a copy that is not waited for is, from memory that is not pinned."""
    assert memory_format(CPU.device) == memory_format(CUDA.device) == torch.channels_last
    assert memory_format(MPS.device) == torch.contiguous_format
    assert [compute.pins for compute in (CPU, CUDA, MPS)] == [False, True, False]
    asked = []

    class Batch:
        def to(self, device: torch.device, *, non_blocking: bool) -> None:
            asked.append((device.type, non_blocking))

    for compute in (CPU, CUDA, MPS):
        compute.copy(Batch())  # type: ignore[arg-type]
    assert asked == [("cpu", False), ("cuda", True), ("mps", False)]
    placed = CPU.place(ResNet18(width=2))
    assert placed.layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried\nmore"), "out of memory. Tried.: choose a smaller batch"),
        (RuntimeError("MPS backend out of memory (1 GB)"), "device cpu"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
            "can't allocate memory.: choose a smaller batch size or width",
        ),
        (RuntimeError("CUDA error: no kernel image is available for execution on the device\n"), "choose device cpu"),
    ],
)
def test_a_full_or_unknown_gpu_says_what_to_do(error: RuntimeError, message: str) -> None:
    with pytest.raises(ChoiceError, match=message), device_errors():
        raise error
    with pytest.raises(RuntimeError, match="something else"), device_errors():
        raise RuntimeError("something else")


def test_it_is_said_in_one_line() -> None:
    assert str(choose_compute("cpu", "float32")) == f"cpu ({torch.get_num_threads()} threads), float32"
