"""Look for a better `fast`: 36 trainings in five stages, for one GPU and a quarter of an hour.

    python benchmarks/search.py results/gpu/search.jsonl                 # all stages; a second call resumes
    python benchmarks/search.py results/gpu/search.jsonl --stages 0 1 2  # of two calls the first

Each run is one line of the file, with its date and commit; runs that are there are not repeated. Figures are accuracy
on the same 5,000 held-out training images after the last epoch; only stage 4 trains on all images and reads the test
set, once a run. What a stage runs is computed from the lines of the stages before:

0. The recipe as it is, two seeds: is this loop the package's?
1. A 2^(8-4) screening design of resolution IV around it, a new seed for each run: a single difference of two runs has a
   standard error of 0.28 points, an effect over all 16 has 0.10. A + level is chosen if its effect is above 0.10.
2. Muon (Jordan 2024) on the 19 convolutions behind the stem with what stage 1 chose: three rates, then momentum 0.9.
3. The recipe as it is, the choice of stage 1, and that of stage 2 if it is not worse, three seeds each.
4. The best on all images, five seeds. It counts as better only if it leads by 0.25 points in stage 3.

This has not run on a GPU yet; the tests run it on the CPU with narrow networks.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn

import seefar
from seefar.data import load_data
from seefar.data.batches import BatchAugmentation, DeviceBatches
from seefar.data.images import Data
from seefar.model.inference import true_float32
from seefar.model.resnet import ResNet18
from seefar.runs.files import write_text
from seefar.runs.provenance import provenance
from seefar.training.device import Compute, RecordedStep, choose_compute
from seefar.training.loop import accuracy, build_model, build_optimizer, learning_rate, set_rate
from seefar.training.recipe import Recipe

HELD_OUT = 5_000
SMALLEST_EFFECT, NOT_WORSE, LEAD = 0.10, 0.10, 0.25  # points
FLOOR, AVERAGED = 0.1, 0.2
"""The rate's floor as a share of its peak, and the last share of the steps whose weights are averaged."""
MUON_RATES, MUON_MOMENTA = (0.05, 0.10, 0.20), (0.6, 0.9)


@dataclass(frozen=True)
class Trial:
    """A recipe, and what no recipe has: a rate floor with averaged weights, a whitened stem, Muon (rate 0: none)."""

    recipe: Recipe
    average: bool = False
    whitened: bool = False
    muon_rate: float = 0.0
    muon_momentum: float = 0.6


FACTORS: dict[str, dict[str, Any]] = {
    "A: Cutout 8 on all": {"cutout": 8, "cutout_probability": 1.0},
    "B: label smoothing 0.2": {"label_smoothing": 0.2},
    "C: peak 0.3": {"learning_rate": 0.3},
    "D: weight decay 8e-4": {"weight_decay": 8e-4},
    "E: norm biases at 4 times the rate": {"norm_bias_rate": 4.0},
    "F: rate floor with averaged weights": {"average": True},
    "G: warm-up 0.1": {"warm_up": 0.1},
    "H: whitened stem": {"whitened": True},
}


def design() -> list[tuple[int, ...]]:
    """The 16 rows of the 2^(8-4) design, -1 or 1 for each factor: E = BCD, F = ACD, G = ABC, H = ABD."""
    rows = product((-1, 1), repeat=4)
    return [(a, b, c, d, b * c * d, a * c * d, a * b * c, a * b * d) for a, b, c, d in rows]


def with_factors(base: Trial, levels: Sequence[int]) -> Trial:
    """The trial with every factor whose level is 1."""
    changes: dict[str, Any] = {}
    for change, level in zip(FACTORS.values(), levels, strict=True):
        changes |= change if level == 1 else {}
    own = {name: changes.pop(name) for name in ("average", "whitened") if name in changes}
    return replace(base, recipe=replace(base.recipe, **changes), **own)


def effects(figures: Sequence[float]) -> list[float]:
    """Of the 16 figures of the design: for each factor the mean at level 1 minus that at -1."""
    rows = design()
    return [
        statistics.mean(one * 2 * row[factor] for one, row in zip(figures, rows, strict=True))
        for factor in range(len(FACTORS))
    ]


# ---- The plan ----

Rows = list[dict[str, Any]]


def plan(stage: int, base: Trial, rows: Rows) -> Iterator[tuple[str, Trial]]:
    """The runs of a stage, each with its name; `rows` are those of the stages before, and grow between two runs."""

    def figures(stage: int, name: str = "") -> list[float]:
        return [row["accuracy"] for row in rows if row["stage"] == stage and row["name"].startswith(name)]

    def seeded(trial: Trial, seed: int) -> Trial:
        return replace(trial, recipe=replace(trial.recipe, seed=seed))

    if stage == 0:
        yield from ((f"as it is, {seed}", seeded(base, seed)) for seed in (1, 2))
        return
    if stage == 1:
        for number, levels in enumerate(design()):
            yield f"design {number}", seeded(with_factors(base, levels), 10 + number)
        return
    found = effects(figures(1))
    sgd = with_factors(base, [1 if effect > SMALLEST_EFFECT else -1 for effect in found])
    muon = replace(sgd, recipe=replace(sgd.recipe, batch_size=2 * base.recipe.batch_size))
    if stage == 2:
        for number, rate in enumerate(MUON_RATES):
            yield f"Muon {rate}", seeded(replace(muon, muon_rate=rate), 30 + number)
    best_rate = max(MUON_RATES, key=lambda rate: max(figures(2, f"Muon {rate}"), default=0))
    if stage == 2:
        second = replace(muon, muon_rate=best_rate, muon_momentum=MUON_MOMENTA[1])
        yield f"Muon {best_rate}, momentum {MUON_MOMENTA[1]}", seeded(second, 33)
        return
    predicted = statistics.mean(figures(1)) + sum(abs(effect) / 2 for effect in found if effect > SMALLEST_EFFECT)
    predicted -= sum(effect / 2 for effect in found if effect <= SMALLEST_EFFECT)
    contenders = {"as it is": base, "SGD": sgd}
    if max(figures(2)) >= predicted - NOT_WORSE:
        slow, fast = figures(2, f"Muon {best_rate}")
        contenders["Muon"] = replace(muon, muon_rate=best_rate, muon_momentum=MUON_MOMENTA[int(fast > slow)])
    if stage == 3:
        yield from ((f"{name}, {seed}", seeded(one, seed)) for seed in (40, 41, 42) for name, one in contenders.items())
        return
    means = {name: statistics.mean(figures(3, f"{name}, ")) for name in contenders}
    best = max(means, key=lambda name: means[name])
    best = best if means[best] >= means["as it is"] + LEAD else "as it is"
    everything = replace(contenders[best], recipe=replace(contenders[best].recipe, held_out=0))
    yield from ((f"{best}, all images, {seed}", seeded(everything, seed)) for seed in range(5))


# ---- One training ----


def train_once(trial: Trial, data: Data, compute: Compute, on_test: bool) -> dict[str, Any]:
    """Train, and measure accuracy in percent on the held-out images, or on the test images."""
    recipe = trial.recipe
    kept, held_out = data.hold_out(recipe.held_out, 0)  # the same images for all seeds
    fill = tuple(round(255 * value) for value in data.statistics[0])
    augment = BatchAugmentation(recipe.crop_padding, recipe.cutout, recipe.cutout_probability, fill, recipe.crop_border)
    batches = DeviceBatches(kept.train, augment, recipe.flip, recipe.batch_size, recipe.seed, compute.device)
    model = compute.place(build_model(recipe, kept)).train()
    if trial.whitened:
        whiten_stem(model, batches[0, 0].images)
    sgd, muon = build_optimizers(trial, model, compute.fuses)
    steps = recipe.epochs * len(batches)
    averaged = AveragedModel(model) if trial.average else None

    def learn(images: Tensor, labels: Tensor, _size: int) -> None:
        with compute.autocast():
            logits = model.classify(model.normalize(images))
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        sgd.step()
        if muon is not None:
            muon.step()

    take_step = RecordedStep(learn) if compute.fuses else learn
    started = time.perf_counter()
    with true_float32():
        for step in range(steps):
            rate = learning_rate(recipe, step + 1, steps)
            if trial.average and step >= recipe.warm_up * steps:
                rate = max(rate, FLOOR * recipe.learning_rate)
            set_rate(sgd, rate)
            if muon is not None:
                muon.rate.fill_(trial.muon_rate * (1 - step / steps))
            batch = batches[divmod(step, len(batches))]
            take_step(batch.images, batch.labels, data.image_size)
            if averaged is not None and step >= (1 - AVERAGED) * steps and (step + 1) % 10 == steps % 10:
                averaged.update_parameters(model)
        if averaged is not None:
            with torch.no_grad():
                update_bn((batches[recipe.epochs, number].images for number in range(len(batches))), averaged)
            model.load_state_dict(averaged.module.state_dict())
    if compute.device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    share = accuracy(model.eval(), data.test if on_test else held_out)
    return {"accuracy": 100 * share, "seconds": seconds, "images_per_second": steps * recipe.batch_size / seconds}


def build_optimizers(trial: Trial, model: ResNet18, fused: bool) -> tuple[torch.optim.SGD, Muon | None]:
    """SGD as in the package, without what is trained by Muon, and with a tenth of the rate for a whitened stem."""
    filters = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d) and m is not model.conv1]
    apart = {id(one) for one in filters} if trial.muon_rate else set()
    if trial.whitened:
        apart.add(id(model.conv1.weight))
    groups: list[dict[str, Any]] = [
        {**group, "params": [one for one in group["params"] if id(one) not in apart]}
        for group in build_optimizer(model, trial.recipe, fused).param_groups
    ]
    if trial.whitened:
        groups.append({**groups[0], "params": [model.conv1.weight], "rate_factor": 0.1})
        if fused:
            groups[-1]["lr"] = groups[0]["lr"].clone()
    sgd = torch.optim.SGD(groups, trial.recipe.learning_rate, fused=fused or None)
    return sgd, Muon(filters, trial.muon_momentum) if trial.muon_rate else None


class Muon:
    """Muon (Jordan 2024) for convolutions before a batch norm: momentum made orthogonal, filters of constant norm.

    It changes tensors in place and never waits for the device, so that a step can be a CUDA graph.
    """

    def __init__(self, filters: Sequence[Tensor], momentum: float) -> None:
        self.filters, self.momentum = list(filters), momentum
        self.buffers = [torch.zeros_like(one) for one in self.filters]
        self.rate = torch.zeros((), device=self.filters[0].device)

    @torch.no_grad()
    def step(self) -> None:
        """One step: the filters of each layer are brought to norm sqrt(out), and moved by rate times the update."""
        for weight, buffer in zip(self.filters, self.buffers, strict=True):
            assert weight.grad is not None
            buffer.mul_(self.momentum).add_(weight.grad)
            update = orthogonal(weight.grad.add(buffer, alpha=self.momentum).flatten(1)).view_as(weight)
            weight.mul_(len(weight) ** 0.5 / weight.norm())
            weight.sub_(update * self.rate)


def orthogonal(matrix: Tensor, iterations: int = 3) -> Tensor:
    """About U V^T of a matrix U S V^T, (out, in), by Newton-Schulz: singular values near 1, but for very small ones."""
    a, b, c = 3.4445, -4.7750, 2.0315  # Jordan's coefficients: steep at 0
    x = matrix.bfloat16() if matrix.is_cuda else matrix
    x = x / (x.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(iterations):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x.T if tall else x).to(matrix.dtype)


@torch.no_grad()
def whiten_stem(model: ResNet18, images: Tensor) -> None:
    """Each eigenvector of the images' 3x3 patches, and its negative, as a filter of the stem; the rest as drawn."""
    patches = F.unfold(model.normalize(images), 3)  # (N, 27, L)
    patches = patches.transpose(1, 2).flatten(0, 1).double()
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))  # ascending
    filters = (vectors / (values + 1e-2).sqrt()).T.flip(0)[: len(model.conv1.weight) // 2]  # the largest first
    filters *= model.conv1.weight.flatten(1).norm(dim=1).mean() / filters.norm(dim=1).mean()
    both = torch.cat((filters, -filters)).view(-1, 3, 3, 3)
    model.conv1.weight[: len(both)] = both.to(model.conv1.weight)


# ---- All of it ----


def search(path: Path, base: Trial, data: Data, compute: Compute, stages: Sequence[int]) -> Rows:
    """Run what the file does not have; its rows."""
    rows: Rows = []
    if path.exists():
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for stage in stages:
        for name, trial in plan(stage, base, rows):
            if any((row["stage"], row["name"]) == (stage, name) for row in rows):
                continue
            found = train_once(trial, data, compute, on_test=stage == 4)
            today, commit = datetime.date.today().isoformat(), provenance()["commit"]
            rows.append({"stage": stage, "name": name, **found, "date": today, "commit": commit, **asdict(trial)})
            write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    return rows


def log_entry(rows: Rows) -> str:
    """What was found, as an entry of `results/tuning.md`."""
    lines = [f"## {rows[-1]['date']}: search over eight factors and Muon", ""]
    first = [row["accuracy"] for row in rows if row["stage"] == 1]
    if len(first) == len(design()):
        for name, effect in zip(FACTORS, effects(first), strict=True):
            lines.append(f"- {name}: {effect:+.2f} points" + ("" if effect > SMALLEST_EFFECT else " (negative)"))
    for stage in (0, 2, 3, 4):
        for row in (row for row in rows if row["stage"] == stage):
            read_on = "test" if stage == 4 else "held out"
            lines.append(f"- stage {stage}, {row['name']}: {row['accuracy']:.2f}% ({read_on})")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Search, and print the entry for the log."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--stages", type=int, nargs="+", default=list(range(5)), choices=range(5))
    chosen = parser.parse_args()
    base = Trial(seefar.recipe("fast", held_out=HELD_OUT))
    print(log_entry(search(chosen.file, base, load_data("cifar10"), choose_compute(), chosen.stages)))


if __name__ == "__main__":
    main()
