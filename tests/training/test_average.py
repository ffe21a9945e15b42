from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from seefar.data.shapes import load_shapes
from seefar.errors import RunError
from seefar.progress import SILENT
from seefar.training.average import WeightAverage, renew_statistics
from seefar.training.device import choose_compute
from seefar.training.loop import build_batches, build_model, train
from seefar.training.recipe import Recipe, recipe

SMALL = recipe("fast", width=2, epochs=2, batch_size=16, log_every=2, scales=(0.5,), average=0.5, final_rate=0.1)


def linear(*values: float) -> nn.Linear:
    layer = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([values]))
    return layer


def test_the_average_is_the_mean_of_what_was_added() -> None:
    """(1, 0), (2, 3) and (6, 6) have the mean (3, 3)."""
    average, empty = WeightAverage(), linear(5.0, 7.0)
    average.put_into(empty)
    assert empty.weight.tolist() == [[5, 7]]
    for values in ((1.0, 0.0), (2.0, 3.0), (6.0, 6.0)):
        average.add(linear(*values))
    average.put_into(empty)
    torch.testing.assert_close(empty.weight, torch.tensor([[3.0, 3.0]]))
    assert average.count == 3


def test_an_average_of_another_network_is_refused() -> None:
    average = WeightAverage()
    average.add(linear(1.0, 2.0))
    with pytest.raises(RunError, match="another network: weight does not fit"):
        average.put_into(nn.Linear(3, 1, bias=False))


def test_statistics_are_the_means_over_augmented_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the first norm: mean and unbiased variance of the stem's outputs, averaged over the first three batches."""
    monkeypatch.setattr("seefar.training.average.IMAGES", 40)
    data = load_shapes(train=70, test=20)
    model, dataset = build_model(SMALL, data).train(), build_batches(SMALL, data)
    with torch.no_grad():
        stems = [model.conv1(model.normalize(dataset[2, number].images)) for number in range(3)]
    renew_statistics(model, dataset, 2, choose_compute("cpu", "float32"))
    means = torch.stack([stem.mean((0, 2, 3)) for stem in stems]).mean(0)
    variances = torch.stack([stem.transpose(0, 1).flatten(1).var(1) for stem in stems]).mean(0)
    torch.testing.assert_close(model.bn1.running_mean, means)
    torch.testing.assert_close(model.bn1.running_var, variances)
    assert model.training
    assert model.bn1.momentum == 0.1


def test_a_run_ends_with_the_mean_of_its_last_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten steps, of which the last five are averaged; the weights after each are taken in the optimizer's step."""
    seen: list[torch.Tensor] = []
    step = torch.optim.SGD.step

    def watched(self: torch.optim.SGD, *arguments: object) -> None:
        step(self)
        seen.append(self.param_groups[0]["params"][3].detach().clone())

    monkeypatch.setattr(torch.optim.SGD, "step", watched)
    data = load_shapes(train=70, test=20)
    averaged = train(SMALL, data, tmp_path / "averaged", device="cpu", progress=SILENT)
    assert len(seen) == 10
    weight = [parameter for parameter in averaged.model.parameters() if parameter.ndim > 1][3]
    torch.testing.assert_close(weight, torch.stack(seen[5:]).mean(0))
    assert not torch.allclose(weight, seen[-1])


def test_held_out_accuracy_of_the_last_epoch_is_of_the_average(tmp_path: Path) -> None:
    data = load_shapes(train=120, test=20)
    run = train(_held_out(), data, tmp_path / "run", device="cpu", progress=SILENT)
    held_out = data.hold_out(50, 0)[1]
    with torch.no_grad():
        right = (run.model(torch.from_numpy(held_out.images)).argmax(1).numpy() == held_out.labels).mean()
    assert run.history[-1].held_out_accuracy == pytest.approx(right)


def _held_out() -> Recipe:
    return recipe("demo", width=4, epochs=2, batch_size=16, average=0.5, held_out=50)
