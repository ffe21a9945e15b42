"""What larger batches and norms folded into convolutions save in inference: each alone, and both.

    python benchmarks/folding.py [--rounds 5] [--threads 1] [--run runs/fast] > results/folding.json

All contenders get the same 200 images in true float32 and take turns in each round. Seconds are those of the processor,
not of the clock, so that other work on the machine disturbs less. The explanation of a mistake is mostly such passes.

With --run, the weights are those of a run, and the images test images; else both are random.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import seefar
from lab.measuring import arguments, print_result, seconds, spread, take_turns
from seefar.data import load_data
from seefar.model.inference import true_float32
from seefar.model.resnet import BasicBlock, ResNet18, memory_format
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
    chosen = arguments(__doc__, rounds=5, threads=1, run=str)
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
    clocked = {name: partial(seconds, call, time.process_time) for name, call in timed.items()}
    taken = {name: spread(values) for name, values in take_turns(clocked, chosen.rounds).items()}
    result: dict[str, Any] = {
        "load": os.getloadavg(),
        "images": IMAGES,
        "batches": {"today": SMALL, "large": LARGE},
        "processor_seconds": taken,
        "shares": {name: one["median"] / taken["today"]["median"] for name, one in taken.items() if name != "today"},
        "shares_of_best": {
            name: one["best"] / taken["today"]["best"] for name, one in taken.items() if name != "today"
        },
        "largest_difference": {name: float((found[name] - found["today"]).abs().max()) for name in found},
        "other_predictions": {name: int((found[name].argmax(1) != found["today"].argmax(1)).sum()) for name in found},
    }
    print_result(result)


if __name__ == "__main__":
    main()
