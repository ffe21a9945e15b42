"""What `--compile` gains and costs: seconds to compile, images per second, and the epochs from which it is worth it.

    python benchmarks/compiling.py [--rounds 3] > results/gpu/compiling.json

`seefar.train` with the recipe `fast` on noise, two epochs, plain and compiled in turn. The second epoch gives the rate;
what the first takes longer than the second is the start, which for the compiled training includes the compiler. Each
training is a process of its own, since torch keeps what it has compiled.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from typing import Any

import seefar
from lab.measuring import arguments, print_result, take_turns
from seefar.training.device import choose_compute, keep_freed_memory

EPOCH = 50_000  # images


def train(images: int, width: int, compiles: bool) -> dict[str, float]:
    """Images per second, and seconds that the start takes."""
    from throughput import noise

    keep_freed_memory()
    recipe = seefar.recipe("fast", epochs=2, width=width, log_every=10**6)
    with tempfile.TemporaryDirectory() as folder:
        run = seefar.train(recipe, noise(images), f"{folder}/run", compile=compiles, progress=seefar.SILENT)
    first, second = (row.seconds for row in run.history)
    return {"rate": images / (second - first), "start": first - (second - first)}


def main() -> None:
    """Train plain and compiled in turn, and print one JSON object."""
    chosen = arguments(__doc__, rounds=3, images=EPOCH, width=64, worker=str)
    if chosen.worker:
        print(json.dumps(train(chosen.images, chosen.width, chosen.worker == "compiled")))
        return

    def started(name: str) -> dict[str, float]:
        words = [sys.executable, __file__, "--worker", name, "--images", str(chosen.images)]
        done = subprocess.run([*words, "--width", str(chosen.width)], stdout=subprocess.PIPE, check=True)
        rates: dict[str, float] = json.loads(done.stdout)
        return rates

    found = take_turns({name: partial(started, name) for name in ("plain", "compiled")}, chosen.rounds)
    median = {
        name: {key: statistics.median(one[key] for one in values) for key in ("rate", "start")}
        for name, values in found.items()
    }
    saved = EPOCH / median["plain"]["rate"] - EPOCH / median["compiled"]["rate"]  # seconds in each epoch
    cost = median["compiled"]["start"] - median["plain"]["start"]
    result: dict[str, Any] = {
        "compute": str(choose_compute()),
        "images": chosen.images,
        "width": chosen.width,
        "rounds": found,
        "images_a_second": {name: one["rate"] for name, one in median.items()},
        "seconds_to_compile": cost,
        "worth_it_from_epochs": cost / saved if saved > 0 else None,
    }
    print_result(result)


if __name__ == "__main__":
    main()
