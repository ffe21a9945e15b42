"""Where the time of a training step goes, by torch's profiler.

python benchmarks/profile_steps.py > results/profile.json
"""

from __future__ import annotations

import json
import tempfile

import torch
from torch.profiler import ProfilerActivity, profile

import seefar
from seefar.report.manifest import provenance
from seefar.training.device import choose_compute
from throughput import noise

STEPS = 10
ROWS = 15


def main() -> None:
    """Profile a few steps of `fast` on images of noise and print one JSON object."""
    recipe = seefar.recipe("fast", epochs=1, scales=(1.0,), log_every=STEPS)
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as folder, profile(activities=activities) as profiled:
        seefar.train(recipe, noise(recipe.batch_size * STEPS), f"{folder}/run", quiet=True)
    field = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    events = sorted(profiled.key_averages(), key=lambda event: -getattr(event, field))
    total = sum(getattr(event, field) for event in events)
    shares = [
        {"operation": event.key, "share": getattr(event, field) / total, "calls": event.count}
        for event in events[:ROWS]
    ]
    about = {"command": "python benchmarks/profile_steps.py", **provenance(), "compute": str(choose_compute())}
    print(json.dumps({**about, "steps": STEPS, "time": field, "operations": shares}, indent=2))


if __name__ == "__main__":
    main()
