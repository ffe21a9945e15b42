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

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from captum.attr import LayerGradCam

import seefar
from seefar.data import load_data
from seefar.model.inference import true_float32
from seefar.model.resnet import ResNet18
from seefar.progress import SILENT
from seefar.runs.provenance import provenance
from seefar.training.device import choose_compute, keep_freed_memory
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
    test = load_data(run.recipe.data, None, run.recipe.image_size).test
    predictions = seefar.predict(run.model, test)
    started = time.perf_counter()
    explanation = seefar.explain(run.model, test, predictions, progress=SILENT)
    seconds = time.perf_counter() - started
    return {"recipe": run.recipe.name, "mistakes": len(explanation), "seconds": seconds}


def main() -> None:
    """Run all contenders in turn and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run")
    chosen = parser.parse_args()
    keep_freed_memory()
    timed = contenders()
    measured: dict[str, list[float]] = {name: [] for name in timed}
    for call in timed.values():
        call()  # once for nothing: first calls allocate
        synchronize()
    for _ in range(chosen.rounds):
        for name, call in timed.items():
            started = time.perf_counter()
            call()
            synchronize()
            measured[name].append(time.perf_counter() - started)
    median = {name: statistics.median(seconds) for name, seconds in measured.items()}
    result: dict[str, Any] = {
        "command": "python benchmarks/maps.py",
        **provenance(),
        "device": choose_compute().device.type,
        "images": IMAGES,
        "seconds": {
            name: {"best": min(seconds), "median": median[name], "n": chosen.rounds}
            for name, seconds in measured.items()
        },
        "shares": {"twin / net": median["twin"] / median["net"], "captum / twin": median["captum"] / median["twin"]},
    }
    if chosen.run:
        result["explain"] = explain_all(chosen.run)
    result["peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
