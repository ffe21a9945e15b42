"""Test accuracy of a recipe over several seeds: the figure, and how far it can be trusted.

    python benchmarks/seeds.py quick --seeds 3 > results/quick.json

Trains and evaluates one run for each seed, in runs/RECIPE-seed-N; runs that are there are read, not repeated, and
interrupted ones go on. The cost is told in epochs of full-size images, by time and by multiply-adds. For the time,
such an epoch is what 50,000 images take at the bare step's rate, taken before each run.
"""

from __future__ import annotations

import argparse
import json
import statistics

import seefar
from seefar.data import load_data
from seefar.evaluation.evaluate import evaluate
from seefar.runs.provenance import provenance
from seefar.training.device import choose_compute, keep_freed_memory
from seefar.training.loop import image_cost
from seefar.training.recipe import RECIPES
from throughput import bare_step, noise


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
        keep_freed_memory()
        full_size_epoch = len(data.train) / bare_step(noise(recipe.batch_size), recipe)  # in seconds
        run = seefar.train(recipe, data, f"{recipe.name}-seed-{seed}")
        metrics = evaluate(run.model, data.test).metrics
        seconds = run.history[-1].seconds
        runs.append(
            {
                "seed": seed,
                "accuracy": metrics.accuracy,
                "interval": metrics.interval,
                "seconds": seconds,
                "full_size_epochs": seconds / full_size_epoch,
            }
        )
    accuracies = [one["accuracy"] for one in runs]
    result = {
        "command": f"python benchmarks/seeds.py {chosen.recipe} --seeds {chosen.seeds}",
        **provenance(),
        "compute": str(choose_compute()),
        "recipe": json.loads(recipe.to_json()),
        "full_size_epochs": {
            "multiply-adds": sum(image_cost(recipe, data, epoch) for epoch in range(recipe.epochs)),
            "time": statistics.mean(one["full_size_epochs"] for one in runs),
        },
        "mean": statistics.mean(accuracies),
        "standard_deviation": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "n": len(runs),
        "runs": runs,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
