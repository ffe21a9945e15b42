"""How the cost of a training step grows with the size of the images, the width of the network and the batch.

    python benchmarks/cost.py [--rounds 3] > results/cost.json

Each row is the bare step of throughput.py with one thing changed. Epochs and the number of images need no
measurement: the loop does the same for each image.
"""

from __future__ import annotations

from functools import partial

import seefar
from lab.measuring import arguments, print_result, spread, take_turns
from seefar.training.device import choose_compute, keep_freed_memory
from throughput import bare_step, noise

USUAL = {"size": 32, "width": 64, "batch": 128}
CHANGES = {"size": (16, 20, 24, 28, 48, 64), "width": (16, 32, 128), "batch": (4, 16, 32, 64, 256, 512)}


def main() -> None:
    """Time all rows in turn and print one JSON object."""
    rounds = arguments(__doc__, rounds=3).rounds
    keep_freed_memory()
    rows = [USUAL] + [{**USUAL, name: value} for name, values in CHANGES.items() for value in values]

    def rate(row: dict[str, int]) -> float:
        recipe = seefar.recipe("fast", width=row["width"], batch_size=row["batch"])
        return bare_step(noise(row["batch"], row["size"]), recipe)

    measured = take_turns({str(row): partial(rate, row) for row in rows}, rounds)
    results = [{**row, "images_per_second": spread(measured[str(row)], max)} for row in rows]
    print_result({"compute": str(choose_compute()), "results": results})


if __name__ == "__main__":
    main()
