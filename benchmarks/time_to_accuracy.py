"""How fast the recipes learn: seconds, images and FLOPs against accuracy on 5,000 held-out training images.

    python benchmarks/time_to_accuracy.py seed quick fast > results/time_to_accuracy.json

Trains each recipe on 45,000 images, in runs/RECIPE-held-out; runs that are there are read, and interrupted ones go on.
Of `seed`, whose rate is constant, so that its first epochs do not depend on how many follow, only two are trained.
FLOPs are those of the convolutions, forward and backward, at the size the images had: 6 * 0.556 GMAC * (size / 32)^2.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from typing import Any

import seefar
from seefar.data import load_data
from seefar.report.manifest import provenance
from seefar.training.history import HistoryRow
from seefar.training.recipe import RECIPES

HELD_OUT = 5000
FIRST_EPOCHS = {"seed": 2}
FLOP_AN_IMAGE = 3 * 2 * 0.556e9  # at 32 pixels and width 64


def curve(history: list[HistoryRow], images_an_epoch: int) -> list[dict[str, Any]]:
    """One point for each epoch's end."""
    ends = [row for row in history if row.held_out_accuracy is not None]
    flop, points = 0.0, []
    for number, row in enumerate(ends, start=1):
        flop += images_an_epoch * FLOP_AN_IMAGE * (row.image_size / 32) ** 2
        points.append(
            {
                "epoch": row.epoch,
                "seconds": row.seconds,
                "images": number * images_an_epoch,
                "flop": flop,
                "held_out_accuracy": row.held_out_accuracy,
            }
        )
    assert all(before["seconds"] < after["seconds"] for before, after in pairwise(points))
    return points


def main() -> None:
    """Train what is not there yet and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="+", choices=list(RECIPES))
    chosen = parser.parse_args()
    curves = {}
    for name in chosen.recipes:
        epochs = FIRST_EPOCHS.get(name, RECIPES[name].epochs)
        recipe = seefar.recipe(name, held_out=HELD_OUT, epochs=epochs)
        data = load_data(recipe.data, None, recipe.image_size)
        run = seefar.train(recipe, data, f"{name}-held-out")
        curves[name] = curve(run.history, len(data.train) - HELD_OUT)
    command = f"python benchmarks/time_to_accuracy.py {' '.join(chosen.recipes)}"
    print(json.dumps({"command": command, **provenance(), "held_out": HELD_OUT, "curves": curves}, indent=2))


if __name__ == "__main__":
    main()
