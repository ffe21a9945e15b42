"""What predicting the whole test set of a run costs, and its accuracy with one and with two views.

    python benchmarks/evaluate.py --run runs/fast [--rounds 3] > results/evaluate.json

`single` is `seefar.predict`, as everything in seefar does it. `two_views` averages the probabilities for the image and
its mirror image, which costs twice as much; its accuracy is reported here and nowhere else.
"""

from __future__ import annotations

import numpy as np

import seefar
from lab.measuring import arguments, peak_memory, print_result, share, spread, timed
from lab.views import predict_two_views
from seefar.training.device import keep_freed_memory
from seefar.training.run import load_for


def main() -> None:
    """Measure and print one JSON object."""
    chosen = arguments(__doc__, run="runs/fast", rounds=3)
    keep_freed_memory()
    run = seefar.load_run(chosen.run)
    test = load_for(run.recipe).test
    measured = [timed(lambda: seefar.predict(run.model, test)) for _ in range(chosen.rounds)]
    single, seconds = measured[0][0], spread([taken for _, taken in measured])
    two_views = predict_two_views(run.model, test, single).log_probabilities

    def accuracy(answers: np.ndarray) -> dict[str, object]:
        accuracy, interval = share(int((answers.argmax(1) == test.labels).sum()), len(test)).values()
        return {"accuracy": accuracy, "interval": interval}

    result = {
        "run": {"recipe": run.recipe.name, "seed": run.recipe.seed},
        "images": len(test),
        "single": accuracy(single.logits),
        "two_views": accuracy(two_views),
        "seconds": seconds,
        "images_per_second": len(test) / seconds["median"],
        "peak_memory_mib": peak_memory(),
    }
    print_result(result)


if __name__ == "__main__":
    main()
