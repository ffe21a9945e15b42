"""Does `seefar compare OLD NEW --fail-if "broken > 30 and p < 0.01"` pass another seed, and stop a damaged network?

    python benchmarks/gate.py > results/gate.json

`demo` is trained with seven seeds: the 21 pairs of them must pass. Then half of the weights of one convolution, drawn
at random, are set to zero, three times in each network: each must fail beside the network that it was. Trainings are
kept in runs/gate-*, and read if they are there.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import combinations
from typing import Any

import torch
from torch import nn

import seefar
from lab.measuring import arguments, print_result
from seefar.data.shapes import load_shapes
from seefar.evaluation.comparison import compare, holds

CONDITION = "broken > 30 and p < 0.01"
SEEDS, DAMAGES, SHARE = range(7), 3, 0.5
RECIPE = seefar.recipe("demo")


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


def main() -> None:
    """Measure and print one JSON object."""
    arguments(__doc__)
    data = load_shapes()
    test = data.test
    runs = [seefar.train(replace(RECIPE, seed=seed), data, f"gate-{seed}", progress=seefar.SILENT) for seed in SEEDS]
    answers = [seefar.predict(run.model, test, progress=seefar.SILENT).predicted for run in runs]

    def outcome(old: Any, new: Any) -> dict[str, Any]:
        found = compare({"old": old, "new": new}, test.labels, test.classes)
        pair = found.pairs[0]
        return {"stopped": bool(holds(CONDITION, found)), "broken": len(pair.broken), "p": pair.p}

    seeds = [outcome(answers[a], answers[b]) for a, b in combinations(SEEDS, 2)]
    broken = [
        outcome(answers[seed], seefar.predict(damaged(runs[seed].model, one), test, progress=seefar.SILENT).predicted)
        for seed in SEEDS
        for one in range(DAMAGES)
    ]
    found = {
        "condition": CONDITION,
        "accuracies": [float((one == test.labels).mean()) for one in answers],
        "seeds": {"n": len(seeds), "stopped": sum(one["stopped"] for one in seeds), "pairs": seeds},
        "damaged": {"n": len(broken), "stopped": sum(one["stopped"] for one in broken), "pairs": broken},
    }
    print_result(found)


if __name__ == "__main__":
    main()
