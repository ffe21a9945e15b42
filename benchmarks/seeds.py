"""Test accuracy of a recipe over several seeds: the figure, and how far it can be trusted.

    python benchmarks/seeds.py quick --seeds 3 > results/quick.json

Trains and evaluates one run for each seed, in runs/RECIPE-seed-N; runs that are there are read, not repeated, and
interrupted ones go on. The cost is told in epochs of full-size images, by time and by multiply-adds. For the time,
such an epoch is what 50,000 images take at the bare step's rate, taken before each run.
"""

from __future__ import annotations

import json
import statistics

import seefar
from lab.measuring import arguments, print_result
from seefar.data import load_data
from seefar.evaluation.evaluate import evaluate
from seefar.training.device import choose_compute, keep_freed_memory
from seefar.training.loop import image_cost
from throughput import bare_step, noise


def main() -> None:
    """Train, evaluate and print one JSON object."""
    chosen = arguments(__doc__, "recipe", seeds=3)
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
    print_result(result)


if __name__ == "__main__":
    main()
