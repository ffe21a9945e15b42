"""Test accuracy of a recipe over several seeds: the figure, and how far it can be trusted.

    python benchmarks/seeds.py quick --seeds 3 > results/quick.json

Trains and evaluates one run for each seed, in runs/RECIPE-seed-N; runs that are there are read, not repeated, and
interrupted ones go on. The cost is told in epochs of full-size images: an image of half the size counts a quarter.
"""

from __future__ import annotations

import argparse
import json
import statistics

import seefar
from seefar.data import Data, load_data
from seefar.evaluation.evaluate import evaluate
from seefar.report.manifest import provenance
from seefar.training.recipe import RECIPES, Recipe
from seefar.training.setup import image_size


def full_size_epochs(recipe: Recipe, data: Data) -> float:
    """Pixels of the whole training, in epochs of images at their own size."""
    sizes = [image_size(recipe, data, epoch) for epoch in range(recipe.epochs)]
    return sum(size**2 for size in sizes) / data.image_size**2


def main() -> None:
    """Train, evaluate and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", choices=list(RECIPES))
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    runs = []
    for seed in range(chosen.seeds):
        recipe = seefar.recipe(chosen.recipe, seed=seed)
        data = load_data(recipe.data, None, recipe.image_size)
        run = seefar.train(recipe, data, f"{recipe.name}-seed-{seed}")
        metrics = evaluate(run, data.test).metrics
        seconds = run.history[-1].seconds
        runs.append({"seed": seed, "accuracy": metrics.accuracy, "interval": metrics.interval, "seconds": seconds})
    accuracies = [one["accuracy"] for one in runs]
    result = {
        "command": f"python benchmarks/seeds.py {chosen.recipe} --seeds {chosen.seeds}",
        **provenance(),
        "recipe": json.loads(recipe.to_json()),
        "full_size_epochs": full_size_epochs(recipe, data),
        "mean": statistics.mean(accuracies),
        "standard_deviation": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "n": len(runs),
        "runs": runs,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
