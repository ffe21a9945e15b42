"""Images per second of one training step and of whole training loops, all in one run.

    python benchmarks/throughput.py [--rounds 5] > results/throughput.json

Contenders take turns in each round, so that a change of the machine's clock meets all of them alike; all compute on
the same device, and the time is read when it is done. On a GPU a round takes more steps, since the DataLoader makes
batches ahead: those that are ready when the clock starts must not count for much. Each number is
of `fast`'s network, width 64, at 32x32 pixels:

- `bare_step`: forward, loss, backward, step, on one batch of 128 that lies in memory, in the machine's best precision.
- `loop`: `seefar.train` with the recipe `fast` in batches of 128, end to end: augmentation, log, history.
- `plain_128`: the loop of most tutorials: float32 (as torch computes it by default: TF32 on newer GPUs), channels
  first, torch DataLoader (beside a GPU with a process for each core but one, at most 8), the same augmentation, batch
  128.
- `plain_4`: the same with batch 4, as in the recipe `seed`.
- `bare_4`: the bare step with batch 4; on a GPU only, as the next two.
- `replayed_step`, `replayed_4`: the bare step as the loop takes it there, replayed as a CUDA graph.

`convolution_peak` is the best rate of one large convolution, forward and backward, in the same precision.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import seefar
from lab.measuring import arguments, print_result, spread, take_turns
from seefar.data import Data, Split
from seefar.data.batches import pipeline
from seefar.training.device import WARM_UP, RecordedStep, choose_compute, core_count, keep_freed_memory
from seefar.training.loop import build_model, build_optimizer
from seefar.training.recipe import Recipe

BATCH = 128  # as in most loops that it is compared with; the recipe itself has 256
FAST = seefar.recipe("fast", batch_size=BATCH)
STEPS = 8 if choose_compute().device.type == "cpu" else 400  # timed in each round
GFLOP_AN_IMAGE = 3 * 2 * 0.556  # forward and backward; 0.556 GMAC forward


def noise(count: int, size: int = 32) -> Data:
    """Images of noise: their content does not matter for speed."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    split = Split(images, random.integers(0, 10, count), tuple("abcdefghij"))
    return Data("noise", split, split)


def bare_step(data: Data, recipe: Recipe = FAST, replayed: bool = False) -> float:
    """Images per second of the step alone, on a GPU also as a CUDA graph."""
    compute, batch = choose_compute(), recipe.batch_size
    model = compute.place(build_model(recipe, data)).train()
    scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.precision == torch.float16)
    optimizer = build_optimizer(model, recipe, compute.fuses)
    inputs = model.normalize(compute.copy(torch.from_numpy(data.train.images[:batch])))
    labels = compute.copy(torch.from_numpy(data.train.labels[:batch]))

    def step(inputs: Tensor, labels: Tensor, _size: int) -> None:
        with compute.autocast():
            logits = model.classify(inputs)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    take_step = RecordedStep(step) if replayed else step
    return batch / seconds_a_call(lambda: take_step(inputs, labels, data.image_size))


def loop(data: Data) -> float:
    """Images per second of `seefar.train` after its first fifth: two steps on a CPU."""
    recipe = replace(FAST, epochs=1, log_every=(STEPS + 2) // 5)
    with tempfile.TemporaryDirectory() as folder:
        history = seefar.train(recipe, data, f"{folder}/run", progress=seefar.SILENT).history
    first, last = history[0], history[-1]
    return (last.step - first.step) * BATCH / (last.seconds - first.seconds)


class Augmented(Dataset[tuple[torch.Tensor, int]]):
    """One augmented image at a time, as most tutorials do it."""

    def __init__(self, split: Split) -> None:
        self.split = split
        self.transform = pipeline(32, 4, hole=0, cutout_probability=0.0, cutout_fill=(0, 0, 0), border="reflected")

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = self.transform(image=self.split.images[index])["image"]
        return torch.from_numpy(image).permute(2, 0, 1).float() / 127.5 - 1, int(self.split.labels[index])


def plain(data: Data, batch_size: int, steps: int) -> float:
    """Images per second of a plain loop: float32, channels first, a torch DataLoader."""
    compute = choose_compute(precision="float32")
    model = seefar.ResNet18().to(compute.device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    workers = 0 if compute.device.type == "cpu" else min(8, core_count() - 1)
    batches = DataLoader(Augmented(data.train), batch_size, shuffle=True, num_workers=workers, pin_memory=compute.pins)
    for done, (images, labels) in enumerate(batches):
        inputs, targets = compute.copy(images), compute.copy(labels)
        optimizer.zero_grad()
        criterion(model.classify(inputs), targets).backward()
        optimizer.step()
        if done == steps // 4:  # the steps so far do not count
            synchronize()
            started = time.perf_counter()
        if done == steps + steps // 4:
            break
    synchronize()
    return steps * batch_size / (time.perf_counter() - started)


def convolution_peak() -> float:
    """GFLOP/s of the best of a few calls of a 3x3 convolution of 256 channels on 8x8 cells, forward and backward."""
    compute = choose_compute()
    convolution = nn.Conv2d(256, 256, 3, padding=1, bias=False, device=compute.device, dtype=compute.precision)
    convolution = convolution.to(memory_format=torch.channels_last)
    inputs = torch.randn(BATCH, 256, 8, 8, device=compute.device, dtype=compute.precision)
    inputs = inputs.to(memory_format=torch.channels_last).requires_grad_()
    call = seconds_a_call(lambda: convolution(inputs).sum().backward())
    return 3 * 2 * BATCH * 64 * 256 * 256 * 9 / call / 1e9


def seconds_a_call(call: Callable[[], object]) -> float:
    """Mean seconds of a call, after those that do not count; with the last of these a graph is recorded."""
    for _ in range(WARM_UP + 1):
        call()
    synchronize()
    started = time.perf_counter()
    for _ in range(STEPS):
        call()
    synchronize()
    return (time.perf_counter() - started) / STEPS


def synchronize() -> None:
    """Wait for the device to be done."""
    kind = choose_compute().device.type
    if kind == "cuda":
        torch.cuda.synchronize()
    elif kind == "mps":
        torch.mps.synchronize()


def main() -> None:
    """Run all contenders in turn and print one JSON object."""
    rounds = arguments(__doc__, rounds=5).rounds
    keep_freed_memory()
    data = noise(BATCH * (STEPS + 2))
    contenders: dict[str, Callable[[], float]] = {
        "bare_step": lambda: bare_step(data),
        "loop": lambda: loop(data),
        "plain_128": lambda: plain(data, BATCH, STEPS // 2),
        "plain_4": lambda: plain(data, 4, max(100, STEPS)),
        "convolution_peak": convolution_peak,
    }
    if choose_compute().fuses:
        four = replace(FAST, batch_size=4)
        contenders |= {
            "replayed_step": lambda: bare_step(data, replayed=True),
            "bare_4": lambda: bare_step(data, four),
            "replayed_4": lambda: bare_step(data, four, replayed=True),
        }
    found = {name: spread(values, max) for name, values in take_turns(contenders, rounds).items()}
    results = {
        name: {"unit": "GFLOP/s" if name == "convolution_peak" else "images/s", **rates}
        for name, rates in found.items()
    }
    peak = found["bare_step"]["best"] * GFLOP_AN_IMAGE / found["convolution_peak"]["best"]
    shares = {
        f"loop / {name}": found["loop"]["median"] / found[name]["median"]
        for name in ("bare_step", "plain_128", "plain_4")
    }
    shares["bare_step / convolution_peak"] = peak
    print_result({"compute": str(choose_compute()), "results": results, "shares": shares})


if __name__ == "__main__":
    main()
