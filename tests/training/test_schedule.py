from __future__ import annotations

import pytest
import torch

from seefar.data import Data
from seefar.training.loop import (
    build_model,
    build_optimizer,
    image_cost,
    image_size,
    learning_rate,
    resize,
    set_rate,
)
from seefar.training.recipe import recipe


def test_one_cycle_by_hand() -> None:
    """8 steps, a quarter of them rising to 0.4: 0.2, 0.4, then down in seven equal parts to one part above 0."""
    rates = [learning_rate(recipe("fast", learning_rate=0.4, warm_up=0.25), step, 8) for step in range(1, 9)]
    assert rates == pytest.approx([0.2, 0.4] + [0.4 * part / 7 for part in (6, 5, 4, 3, 2, 1)])
    rates = [learning_rate(recipe("fast", warm_up=0.0), step, 5) for step in range(1, 6)]
    assert rates == pytest.approx([0.2 * part / 6 for part in (5, 4, 3, 2, 1)])
    assert {learning_rate(recipe("seed"), step, 9) for step in range(1, 10)} == {0.001}


def test_decay_is_for_kernels_only_and_the_biases_of_norms_have_a_rate_of_their_own(shapes: Data) -> None:
    fast = recipe("fast", width=2, norm_bias_rate=16, weight_decay=0.01)
    model = build_model(fast, shapes)
    groups = build_optimizer(model, fast).param_groups
    assert [group["rate_factor"] for group in groups] == [1, 1, 16]
    assert [group["weight_decay"] for group in groups] == [0.01, 0, 0]
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, free, biases = ({names[id(parameter)] for parameter in group["params"]} for group in groups)
    kernels = {name for name in names.values() if "conv" in name or "downsample.0" in name}
    assert decayed == {*kernels, "fc.weight"}
    assert biases == {name for name in names.values() if name.endswith(".bias")} - {"fc.bias"}
    assert free == set(names.values()) - decayed - biases


def test_fused_sgd_takes_the_same_steps(shapes: Data) -> None:
    """As on CUDA, with the rates in tensors, which the kernel reads; parameters laid out as there."""
    small = recipe("fast", width=4)
    models = [build_model(small, shapes).to(memory_format=torch.channels_last) for _ in range(2)]
    optimizers = [build_optimizer(model, small, fused) for model, fused in zip(models, (False, True), strict=True)]
    generator = torch.Generator().manual_seed(0)
    for rate in (0.1, 0.3, 0.2):
        for one, other in zip(*(model.parameters() for model in models), strict=True):
            gradient = torch.randn(one.shape, generator=generator)
            one.grad, other.grad = torch.empty_like(one).copy_(gradient), torch.empty_like(other).copy_(gradient)
        for optimizer in optimizers:
            set_rate(optimizer, rate)
            optimizer.step()
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(one, other)
    there, plain = optimizers[1].param_groups[2]["lr"], optimizers[0].param_groups[2]["lr"]
    assert float(there) == pytest.approx(plain) == 3.2  # 16 times the rate of the others


def test_sizes_share_the_epochs_evenly(shapes: Data) -> None:
    def sizes(epochs: int, *scales: float) -> list[int]:
        changed = recipe("fast", epochs=epochs, scales=scales)
        return [image_size(changed, shapes, epoch) for epoch in range(epochs)]

    assert sizes(5, 0.5, 0.625, 0.75, 0.875, 1.0) == [16, 20, 24, 28, 32]
    assert sizes(3, 0.5, 0.75) == [16, 16, 24]
    assert sizes(2, 0.5, 0.625, 1.0) == [20, 32]  # the last epoch is at the last scale
    assert sizes(3, 0.25, 0.375, 0.5) == [12, 12, 16]  # 8 would leave the last stage one cell
    growing = recipe("fast", epochs=4, scales=(0.5, 1.0))
    assert [image_cost(growing, shapes, epoch) for epoch in range(4)] == [0.25, 0.25, 1, 1]  # convolutions, by pixels


def test_resize_averages_when_it_halves_and_leaves_its_own_size_alone() -> None:
    inputs = torch.arange(3 * 32 * 32, dtype=torch.float32).view(1, 3, 32, 32)
    assert resize(inputs, 32) is inputs
    flat = torch.full((1, 3, 32, 32), 0.7)
    torch.testing.assert_close(resize(flat, 20), torch.full((1, 3, 20, 20), 0.7))
    stripes = torch.zeros(1, 3, 32, 32)
    stripes[..., ::2] = 1  # finer than 16 pixels can show: antialiased to grey, not to black or white
    torch.testing.assert_close(resize(stripes, 16)[..., 2:-2], torch.full((1, 3, 16, 12), 0.5))
