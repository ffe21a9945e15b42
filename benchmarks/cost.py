"""How the cost of a training step grows with the size of the images, the width of the network and the batch.

    python benchmarks/cost.py [--rounds 3] > results/cost.json

Each row is the bare step of throughput.py with one thing changed. Epochs and the number of images need no
measurement: the loop does the same for each image.
"""

from __future__ import annotations

import argparse
import json
import statistics
from typing import Any

import seefar
from seefar.runs.provenance import provenance
from seefar.training.device import choose_compute, keep_freed_memory
from throughput import bare_step, noise

USUAL = {"size": 32, "width": 64, "batch": 128}
CHANGES = {"size": (16, 20, 24, 28, 48, 64), "width": (16, 32, 128), "batch": (4, 16, 32, 64, 256, 512)}


def main() -> None:
    """Time all rows in turn and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    keep_freed_memory()
    rows = [USUAL] + [{**USUAL, name: value} for name, values in CHANGES.items() for value in values]
    measured: list[list[float]] = [[] for _ in rows]
    for _ in range(rounds):
        for row, found in zip(rows, measured, strict=True):
            recipe = seefar.recipe("fast", width=row["width"], batch_size=row["batch"])
            found.append(bare_step(noise(row["batch"], row["size"]), recipe))
    results: list[dict[str, Any]] = [
        {**row, "images_per_second": {"best": max(found), "median": statistics.median(found), "n": rounds}}
        for row, found in zip(rows, measured, strict=True)
    ]
    about = {"command": "python benchmarks/cost.py", **provenance(), "compute": str(choose_compute())}
    print(json.dumps({**about, "results": results}, indent=2))


if __name__ == "__main__":
    main()
