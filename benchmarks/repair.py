"""The occlusion test of all mistakes of a run, with each of the three things that can take the place of pixels.

    python benchmarks/repair.py [--run runs/fast] > results/repair.json

Beside the two controls of every explanation, each with the same four tries: pixels chosen by the mask of another
mistake, which lies where evidence usually lies, and by the baselines that a map must beat. The same test is then made
with the maps of other methods at layer 2, whose removal scores come near the default's.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, get_args

import numpy as np

import seefar
from lab.baselines import BASELINES
from lab.measuring import arguments, print_result
from seefar.choices import HideName, MethodName
from seefar.data.images import Split
from seefar.evaluation.metrics import Rate, mcnemar
from seefar.evaluation.predictions import Predictions
from seefar.explanation.occlusion import occlude_progressively
from seefar.maps.grid import rank_pixels, to_pixels
from seefar.model.adapt import adapt
from seefar.training.run import Run, load_for

OTHERS: tuple[MethodName, ...] = ("hirescam", "layercam")


def rates_and_rivals(run: Run, test: Split, predictions: Predictions, how: HideName) -> dict[str, Any]:
    """The rates of the explanation, and how often hiding something else repairs the answer, with McNemar's p."""
    explanation = seefar.explain(run.model, test, predictions, hide=how)
    index = [mistake.index for mistake in explanation.mistakes]
    images, predicted, true = test.images[index], predictions.predicted[index], predictions.labels[index]
    size = images.shape[1]
    ranks = {"another": np.roll(rank_pixels(to_pixels(explanation.contrast, size, explanation.grid)), 1, axis=0)}
    for name, method in BASELINES.items():
        ranks[name] = rank_pixels(to_pixels(method(run.model, images, predicted), size))
    repaired = np.array([repair.outcome == "repaired" for repair in explanation.repairs])
    rivals = {}
    for name, order in ranks.items():
        trial = occlude_progressively(adapt(run.model).logits, images, predicted, order, goal=true, how=how)
        by_rival = trial.predicted == true
        rivals[name] = {**asdict(Rate.of(by_rival)), "p": mcnemar(repaired, by_rival)}
    return {**asdict(explanation.rates), "rivals": rivals}


def main() -> None:
    """Explain the mistakes and print one JSON object."""
    name = arguments(__doc__, run="runs/fast").run
    run = seefar.load_run(name)
    test = load_for(run.recipe).test
    evaluation = seefar.evaluate(run.model, test)
    predictions = evaluation.predictions
    rates = {how: rates_and_rivals(run, test, predictions, how) for how in get_args(HideName)}
    layer2 = {
        method: asdict(seefar.explain(run.model, test, predictions, method=method, layer="layer2").rates)
        for method in OTHERS
    }
    about = {
        "run": {"recipe": run.recipe.name, "seed": run.recipe.seed, "accuracy": evaluation.metrics.accuracy},
    }
    print_result({**about, "hide": rates, "layer2": layer2})


if __name__ == "__main__":
    main()
