"""What maps cost: all classes' maps from one pass of the dense twin, beside the net alone and beside captum.

    python benchmarks/maps.py [--rounds 3] [--run runs/fast] > results/maps.json

Each contender gets the same 1,000 images, in true float32 and batches of 100, on the same device, and they take turns
in each round; the time is read when the device is done:

- `net`: the logits, nothing else.
- `twin`: `seefar.class_maps`: logits, and the 8x8 maps of the predicted class, of another one, and their contrast.
- `captum`: its LayerGradCam at layer 3, the other way to 8x8 cells, called for both classes.

With --run, also the seconds that `seefar.explain` takes for all mistakes of that run: maps, occlusion test, controls.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from captum.attr import LayerGradCam

import seefar
from lab.measuring import arguments, peak_memory, print_result, seconds, spread, take_turns
from seefar.model.inference import true_float32
from seefar.model.resnet import ResNet18
from seefar.progress import SILENT
from seefar.training.device import choose_compute, keep_freed_memory
from seefar.training.run import load_for
from throughput import synchronize

IMAGES = 1000
BATCH = 100


def contenders() -> dict[str, Callable[[], object]]:
    """What is timed, by name; weights are as they are drawn, since they do not matter for speed."""
    compute = choose_compute()
    model = compute.place(ResNet18()).eval()
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8)
    first, second = random.integers(0, 10, (2, IMAGES))
    parts = [slice(start, start + BATCH) for start in range(0, IMAGES, BATCH)]
    theirs = LayerGradCam(model, model.layer3)

    def net() -> None:
        with torch.no_grad(), true_float32():
            for part in parts:
                model(compute.copy(torch.from_numpy(images[part])))

    def twin() -> None:
        maps = seefar.class_maps(model, images)
        maps.of(first), maps.of(second), maps.contrast(first, second)

    def captum() -> None:
        with true_float32():
            for part in parts:
                inputs = compute.copy(torch.from_numpy(images[part])).permute(0, 3, 1, 2) / 255
                for classes in (first, second):
                    theirs.attribute(inputs, target=compute.copy(torch.from_numpy(classes[part])))

    return {"net": net, "twin": twin, "captum": captum}


def explain_all(name: str) -> dict[str, Any]:
    """Seconds for explaining all mistakes of a run."""
    run = seefar.load_run(name)
    test = load_for(run.recipe).test
    predictions = seefar.predict(run.model, test)
    mistakes = len(seefar.find_mistakes(predictions))
    taken = seconds(lambda: seefar.explain(run.model, test, predictions, progress=SILENT))
    return {"recipe": run.recipe.name, "mistakes": mistakes, "seconds": taken}


def main() -> None:
    """Run all contenders in turn and print one JSON object."""
    chosen = arguments(__doc__, rounds=3, run=str)
    keep_freed_memory()
    timed = contenders()

    def take(call: Callable[[], object]) -> float:
        return seconds(lambda: (call(), synchronize()))

    for call in timed.values():
        take(call)  # once for nothing: first calls allocate
    measured = take_turns({name: partial(take, call) for name, call in timed.items()}, chosen.rounds)
    median = {name: statistics.median(values) for name, values in measured.items()}
    result: dict[str, Any] = {
        "device": choose_compute().device.type,
        "images": IMAGES,
        "seconds": {name: spread(values) for name, values in measured.items()},
        "shares": {"twin / net": median["twin"] / median["net"], "captum / twin": median["captum"] / median["twin"]},
    }
    if chosen.run:
        result["explain"] = explain_all(chosen.run)
    result["peak_memory_mib"] = peak_memory()
    print_result(result)


if __name__ == "__main__":
    main()
