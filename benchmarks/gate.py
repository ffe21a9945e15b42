"""Does `seefar compare OLD NEW --fail-if CONDITION` pass another seed, and stop a damaged network?

    python benchmarks/gate.py > results/gate.json

`demo`, narrower and with more epochs so that all seeds converge, is trained with seven seeds: the 42 ordered pairs of
them must pass. Then half of the weights of one convolution, drawn at random, are set to zero, twelve times in each
network: each must fail beside the network that it was if that cost it `REAL` of its accuracy. 2,000 test images. The
margin of two points was chosen on the seeds 0 to 6. Trainings are kept in runs/gate-*, and read if they are there.

`spread` is the rule with a margin of three standard deviations of three seeds instead of a fixed one: for each choice
of three seeds, one of them is compared with each of the other four. `cifar10` holds the same conditions, with a margin
of one point, on results/fast and published networks of neighbouring sizes, in both directions.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import torch
from torch import nn

import seefar
from lab.measuring import arguments, count_of, print_result
from seefar.data.images import Labels
from seefar.data.shapes import load_shapes
from seefar.evaluation.comparison import Comparison, compare, holds
from seefar.evaluation.predictions import Predictions

CONDITIONS = ("broken > 30 and p < 0.01", "lost > 0.02 and p < 0.01")
ON_CIFAR10 = ("broken > 30 and p < 0.01", "lost > 0.01 and p < 0.01")
SEEDS, DAMAGES, SHARE, REAL = range(7, 14), 12, 0.5, 0.03
RECIPE = seefar.recipe("demo", width=8, epochs=8)
RESULTS = Path(__file__).parents[1] / "results"
NEIGHBOURS = (
    ("fast", "resnet_basic_110"),
    ("fast", "wrn_28_10"),
    ("resnet_basic_44", "resnet_basic_56"),
    ("resnet_basic_56", "resnet_basic_110"),
    ("resnext_29_4x64d", "resnext_29_8x64d"),
    ("shake_shake_26_2x64d_SSI", "shake_shake_26_2x96d_SSI"),
)


def damaged(network: nn.Module, seed: int) -> nn.Module:
    """A copy with a share of the weights of one convolution of the first two stages set to zero."""
    changed = copy.deepcopy(network)
    random = torch.Generator().manual_seed(seed)
    convolutions = [module for name, module in changed.named_modules() if name.startswith(("layer1", "layer2"))]
    convolutions = [module for module in convolutions if isinstance(module, nn.Conv2d)]
    chosen = convolutions[int(torch.randint(len(convolutions), (), generator=random))]
    with torch.no_grad():
        chosen.weight[torch.rand(chosen.weight.shape, generator=random) < SHARE] = 0
    return changed


def lost(found: Comparison) -> float:
    """The accuracy that the second of two runs lost."""
    return found.runs[0].accuracy - found.runs[1].accuracy


def stopped(condition: str, found: Iterable[Comparison]) -> dict[str, Any]:
    """How many comparisons a condition stops."""
    outcomes = [holds(condition, one) for one in found]
    return count_of(sum(outcomes), len(outcomes))


def of_spread(seeds: Mapping[tuple[int, int], Comparison], accuracies: Mapping[int, float]) -> dict[str, Any]:
    """How many pairs are stopped with a margin of three standard deviations of three seeds."""
    outcomes = []
    for three in combinations(SEEDS, 3):
        margin = 3 * statistics.stdev(accuracies[seed] for seed in three)
        condition = f"lost > {margin:.6f} and p < 0.01"
        outcomes += [holds(condition, seeds[three[0], new]) for new in SEEDS if new not in three]
    return count_of(sum(outcomes), len(outcomes))


def on_cifar10() -> list[dict[str, Any]]:
    """Each pair in both directions: the accuracy that is lost, and what each condition says."""
    reference = seefar.load_reference(fetch=False)
    fast = Predictions.load(RESULTS / "fast" / "predictions.npz")
    predicted: dict[str, Labels] = {"fast": fast.predicted}
    predicted |= dict(zip(reference.nets, reference.predictions, strict=True))
    found = []
    for old, new in (pair for one in NEIGHBOURS for pair in (one, one[::-1])):
        one = compare({old: predicted[old], new: predicted[new]}, fast.labels, reference.classes)
        outcome = {condition: holds(condition, one) for condition in ON_CIFAR10}
        found.append({"old": old, "new": new, "lost": lost(one), "p": one.pairs[0].p, "stopped": outcome})
    return found


def main() -> None:
    """Measure and print one JSON object."""
    arguments(__doc__)
    data = load_shapes()
    test = load_shapes(test=2000).test
    models = {
        seed: seefar.train(replace(RECIPE, seed=seed), data, f"gate-{seed}", progress=seefar.SILENT).model
        for seed in SEEDS
    }

    def answers(model: nn.Module) -> Labels:
        return seefar.predict(model, test, progress=seefar.SILENT).predicted

    def compared(old: Labels, new: Labels) -> Comparison:
        return compare({"old": old, "new": new}, test.labels, test.classes)

    intact = {seed: answers(model) for seed, model in models.items()}
    seeds = {(a, b): compared(intact[a], intact[b]) for a, b in permutations(SEEDS, 2)}
    harmed = [compared(intact[seed], answers(damaged(models[seed], one))) for seed in SEEDS for one in range(DAMAGES)]
    real = [one for one in harmed if lost(one) >= REAL]
    small = [one for one in harmed if lost(one) < REAL]
    groups: dict[str, list[Comparison]] = {"seeds": [*seeds.values()], "real_damage": real, "small_damage": small}
    accuracies = {seed: float((predicted == test.labels).mean()) for seed, predicted in intact.items()}
    result = {
        "recipe": {"width": RECIPE.width, "epochs": RECIPE.epochs, "test_images": len(test)},
        "accuracies": list(accuracies.values()),
        "real_damage_costs": REAL,
        "lost_by_damage": sorted(round(lost(one), 4) for one in harmed),
        "stopped": {
            condition: {name: stopped(condition, found) for name, found in groups.items()} for condition in CONDITIONS
        },
        "spread": of_spread(seeds, accuracies),
        "cifar10": on_cifar10(),
    }
    print_result(result)


if __name__ == "__main__":
    main()
