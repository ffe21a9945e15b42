"""How fast a recipe learns: seconds, images and FLOPs against accuracy on 5,000 held-out training images.

    python benchmarks/time_to_accuracy.py quick > results/time_to_accuracy/quick.json

Trains it on 45,000 images, in runs/RECIPE-held-out; a run that is there is read, and an interrupted one goes on.
Of `seed`, whose rate is constant, so that its first epochs do not depend on how many follow, only two are trained.
FLOPs are those of the convolutions, forward and backward, at the size the images had: at 32 pixels 6 * 0.556 GFLOP.
"""

from __future__ import annotations

from typing import Any

import seefar
from lab.measuring import arguments, print_result
from seefar.data import Data, load_data
from seefar.training.device import choose_compute
from seefar.training.loop import image_cost
from seefar.training.recipe import RECIPES, Recipe
from seefar.training.state import HistoryRow

HELD_OUT = 5000
FIRST_EPOCHS = {"seed": 2}
FLOP_AN_IMAGE = 3 * 2 * 0.556e9  # at 32 pixels and width 64


def curve(history: list[HistoryRow], recipe: Recipe, data: Data) -> list[dict[str, Any]]:
    """One point for each epoch's end."""
    images = len(data.train) - HELD_OUT
    ends = [row for row in history if row.held_out_accuracy is not None]
    flop, points = 0.0, []
    for row in ends:
        flop += images * FLOP_AN_IMAGE * image_cost(recipe, data, row.epoch - 1)
        points.append(
            {
                "epoch": row.epoch,
                "seconds": row.seconds,
                "images": row.epoch * images,
                "flop": flop,
                "held_out_accuracy": row.held_out_accuracy,
            }
        )
    return points


def main() -> None:
    """Train the recipe if it is not there yet, and print one JSON object."""
    name = arguments(__doc__, "recipe").recipe
    epochs = FIRST_EPOCHS.get(name, RECIPES[name].epochs)
    recipe = seefar.recipe(name, held_out=HELD_OUT, epochs=epochs)
    data = load_data(recipe.data, None, recipe.image_size)
    run = seefar.train(recipe, data, f"{name}-held-out")
    about = {
        "compute": str(choose_compute()),
        "held_out": HELD_OUT,
    }
    print_result({**about, "recipe": name, "points": curve(run.history, recipe, data)})


if __name__ == "__main__":
    main()
