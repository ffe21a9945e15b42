"""What larger batches and norms folded into convolutions save in inference: each alone, and both.

    python benchmarks/folding.py [--rounds 5] [--threads 1] [--run runs/fast] > results/folding.json

All contenders get the same 200 images in true float32 and take turns in each round. Seconds are those of the processor,
not of the clock, so that other work on the machine disturbs less. The explanation of a mistake is mostly such passes.

With --run, the weights are those of a run, and the images test images; else both are random.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import seefar
from seefar.data import load_data
from seefar.model.inference import true_float32
from seefar.model.resnet import BasicBlock, ResNet18, memory_format
from seefar.runs.provenance import provenance
from seefar.training.device import keep_freed_memory

IMAGES = 200
SMALL, LARGE = 20, 100


def folded(model: ResNet18) -> ResNet18:
    """A copy for inference only: each norm is part of the convolution before it, and nothing stands in its place."""
    copied = copy.deepcopy(model).eval()
    for module in list(copied.modules()):
        if isinstance(module, ResNet18 | BasicBlock):
            for number in ("1", "2"):
                if hasattr(module, f"conv{number}"):
                    convolution, norm = getattr(module, f"conv{number}"), getattr(module, f"bn{number}")
                    setattr(module, f"conv{number}", fuse_conv_bn_eval(convolution, norm))
                    setattr(module, f"bn{number}", nn.Identity())
        if isinstance(module, BasicBlock) and isinstance(module.downsample, nn.Sequential):
            module.downsample = nn.Sequential(fuse_conv_bn_eval(module.downsample[0], module.downsample[1]))
    return copied.to(memory_format=memory_format(torch.device("cpu")))


def logits(model: nn.Module, images: torch.Tensor, batch: int) -> torch.Tensor:
    """Logits of all images, `batch` at a time."""
    with torch.no_grad(), true_float32():
        return torch.cat([model(part) for part in torch.split(images, batch)])


def main() -> None:
    """Run all contenders in turn and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--run")
    chosen = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(chosen.threads)
    if chosen.run:
        run = seefar.load_run(chosen.run, "cpu")
        model, images = run.model, torch.from_numpy(load_data(run.recipe.data).test.images[:IMAGES])
    else:
        model = ResNet18().eval().to(memory_format=memory_format(torch.device("cpu")))
        images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8))
    fold = folded(model)
    timed: dict[str, Callable[[], torch.Tensor]] = {
        "today": lambda: logits(model, images, SMALL),
        "large_batches": lambda: logits(model, images, LARGE),
        "folded": lambda: logits(fold, images, SMALL),
        "both": lambda: logits(fold, images, LARGE),
    }
    found = {name: call() for name, call in timed.items()}  # once without a clock: first calls allocate
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(chosen.rounds):
        for name, call in timed.items():
            started = time.process_time()
            call()
            seconds[name].append(time.process_time() - started)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    result: dict[str, Any] = {
        "command": "python benchmarks/folding.py" + (f" --run {chosen.run}" if chosen.run else ""),
        **provenance(),
        "load": os.getloadavg(),
        "images": IMAGES,
        "batches": {"today": SMALL, "large": LARGE},
        "processor_seconds": {
            name: {"best": min(values), "median": median[name], "n": chosen.rounds} for name, values in seconds.items()
        },
        "shares": {name: median[name] / median["today"] for name in timed if name != "today"},
        "shares_of_best": {name: min(seconds[name]) / min(seconds["today"]) for name in timed if name != "today"},
        "largest_difference": {name: float((found[name] - found["today"]).abs().max()) for name in found},
        "other_predictions": {name: int((found[name].argmax(1) != found["today"].argmax(1)).sum()) for name in found},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
