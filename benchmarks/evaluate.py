"""What predicting the whole test set of a run costs, and its accuracy with one and with two views.

    python benchmarks/evaluate.py --run runs/fast [--rounds 3] > results/evaluate.json

`single` is `seefar.predict`, as everything in seefar does it. `two_views` averages the probabilities for the image and
its mirror image, which costs twice as much; its accuracy is reported here and nowhere else.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time

import numpy as np

import seefar
from lab.views import predict_two_views
from seefar.data import load_data
from seefar.evaluation.metrics import wilson_interval
from seefar.runs.provenance import provenance
from seefar.training.device import keep_freed_memory


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="runs/fast")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    keep_freed_memory()
    run = seefar.load_run(chosen.run)
    test = load_data(run.recipe.data, None, run.recipe.image_size).test
    seconds = []
    for _ in range(chosen.rounds):
        started = time.perf_counter()
        single = seefar.predict(run.model, test)
        seconds.append(time.perf_counter() - started)
    two_views = predict_two_views(run.model, test, single).log_probabilities

    def accuracy(answers: np.ndarray) -> dict[str, object]:
        right = int((answers.argmax(1) == test.labels).sum())
        return {"accuracy": right / len(test), "interval": wilson_interval(right, len(test))}

    result = {
        "command": f"python benchmarks/evaluate.py --run {chosen.run}",
        **provenance(),
        "run": {"recipe": run.recipe.name, "seed": run.recipe.seed},
        "images": len(test),
        "single": accuracy(single.logits),
        "two_views": accuracy(two_views),
        "seconds": {"best": min(seconds), "median": statistics.median(seconds), "n": chosen.rounds},
        "images_per_second": len(test) / statistics.median(seconds),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
