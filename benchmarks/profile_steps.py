"""Where the time of a training step goes, by torch's profiler.

    python benchmarks/profile_steps.py > results/profile.json

Two trainings of `fast` on images of noise, one of 2 steps and one of 12: their difference is ten steps, without what
begins and ends a training. On a GPU the steps are not replayed, since a CUDA graph tells nothing of its parts; a part's
time is that of its kernels, and what the GPU waits for is in `rest`.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

import seefar
from lab.measuring import print_result
from seefar.data.batches import AugmentedBatches, Batch
from seefar.training import loop
from seefar.training.device import Compute, choose_compute
from throughput import FAST, noise

FEW, MANY = 2, 12  # steps
WITH_ALL_INSIDE = {
    "Optimizer.step#SGD.step": "optimizer",
    "augmentation": "augmentation",
}
OPERATIONS = {
    "aten::convolution_backward": "convolutions, backward",
    "aten::mkldnn_convolution": "convolutions, forward",
    "aten::cudnn_convolution": "convolutions, forward",
    "aten::native_batch_norm": "batch norm",
    "aten::native_batch_norm_backward": "batch norm",
    "aten::cudnn_batch_norm": "batch norm",
    "aten::cudnn_batch_norm_backward": "batch norm",
    "aten::clamp_min": "ReLU",
    "aten::threshold_backward": "ReLU",
    "aten::add": "additions of shortcuts and gradients",
    "aten::add_": "additions of shortcuts and gradients",
    "aten::copy_": "changes of precision and layout",
}


def part_of(event: Any) -> str:
    """The part of a step that an event's own time belongs to."""
    outer = event
    while outer is not None:
        if outer.key in WITH_ALL_INSIDE:
            return WITH_ALL_INSIDE[outer.key]
        outer = outer.cpu_parent
    return OPERATIONS.get(event.key, "rest")


@contextmanager
def in_turn(
    dataset: AugmentedBatches, positions: Sequence[tuple[int, int]], _pin_memory: bool
) -> Iterator[Iterator[Batch]]:
    """The training's batches without the thread that makes one ahead, so that their time is seen."""

    def make(position: tuple[int, int]) -> Batch:
        with record_function("augmentation"):
            return dataset[position]

    yield map(make, positions)


def measure(steps: int) -> Counter[str]:
    """Seconds of each part of a training of so many steps; they add up to the whole training."""
    recipe = replace(FAST, epochs=1, log_every=steps)
    data = noise(recipe.batch_size * steps)
    on_gpu = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
    not_replayed = patch.object(Compute, "records", False)
    with (
        not_replayed,
        patch.object(loop, "training_batches", in_turn),
        tempfile.TemporaryDirectory() as folder,
        profile(activities=activities) as profiled,
    ):
        started = time.perf_counter()
        seefar.train(recipe, data, f"{folder}/run", progress=seefar.SILENT)
        wall = time.perf_counter() - started
    seconds: Counter[str] = Counter()
    for event in profiled.events():
        if event.device_type == DeviceType.CPU:  # a GPU's own events tell the same time again
            own = event.self_device_time_total if on_gpu else event.self_cpu_time_total
            seconds[part_of(event)] += own / 1e6
    seconds["rest"] += wall - seconds.total()
    return seconds


def main() -> None:
    """Profile both trainings, after one that does not count, and print one JSON object."""
    measure(FEW)
    few, many = measure(FEW), measure(MANY)
    step = {part: (many[part] - few[part]) / (MANY - FEW) for part in many}
    whole = sum(step.values())
    parts = {
        part: {"milliseconds": 1000 * seconds, "share": seconds / whole}
        for part, seconds in sorted(step.items(), key=lambda item: -item[1])
    }
    about = {"compute": str(choose_compute()), "n": MANY - FEW}
    print_result({**about, "milliseconds": 1000 * whole, "parts": parts})


if __name__ == "__main__":
    main()
