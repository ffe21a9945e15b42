"""Baselines and gradient-free maps of the benchmarks, by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lab.baselines import BASELINES, centre_blob, random_map, sobel_edges
from lab.gradient_free import GRADIENT_FREE, eigencam, scorecam
from seefar.maps.grid import map_status
from seefar.maps.sanity import randomized, rank_correlation
from seefar.model.resnet import ResNet18

MakeNet = Callable[..., ResNet18]
ALL = {**BASELINES, **GRADIENT_FREE}


class Toy(nn.Module):
    """The two channels of the input; class 0 is twice the mean of the first minus the mean of the second."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        means = self.cells(inputs).mean((2, 3))
        return torch.stack((2 * means[:, 0] - means[:, 1], means[:, 0]), dim=1)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ALL)
def test_each_is_called_like_gradcam(make_net: MakeNet, images: np.ndarray, name: str) -> None:
    net, method = make_net(width=2), ALL[name]
    maps = method(net, images, [0, 1, 2])
    assert (maps.shape, maps.dtype) == ((3, 8, 8), np.float32)
    assert method(net, images, 1, layer="layer2").shape == (3, 16, 16)


def test_gradient_free_maps_by_hand() -> None:
    """Eigen-CAM: the channels do not overlap, so the stronger one alone is the first singular vector.

    Score-CAM: shown alone, the first gives a logit of 2 * 3/36 = 1/6, the second one of -5/36.
    """
    inputs, expected = torch.zeros(1, 2, 6, 6), np.zeros((1, 6, 6))
    inputs[0, 0, 1, 2], inputs[0, 1, 4, 5] = 3.0, 5.0
    expected[0, 4, 5] = 5
    np.testing.assert_allclose(eigencam(Toy(), inputs, 0, layer="cells"), expected, atol=1e-6)
    first, second = np.exp([1 / 6, -5 / 36]) / np.exp([1 / 6, -5 / 36]).sum()
    expected[0, 1, 2], expected[0, 4, 5] = 3 * first, 5 * second
    np.testing.assert_allclose(scorecam(Toy(), inputs, 0, layer="cells"), expected, atol=1e-6)


def test_random_maps_are_drawn_from_the_stored_pixels(make_net: MakeNet, images: np.ndarray) -> None:
    """Not from normalised floats, whose last bits differ between devices."""
    maps = random_map(make_net(width=1), images)
    as_floats = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    np.testing.assert_array_equal(random_map(make_net(width=1, seed=1), as_floats), maps)
    assert len({map_.tobytes() for map_ in maps}) == 3


def test_the_blob_is_in_the_centre(make_net: MakeNet, images: np.ndarray) -> None:
    """A Gaussian of 2 cells: half a cell away in both directions it is exp(-(0.25**2 + 0.25**2) / 2)."""
    blob = centre_blob(make_net(width=1), images)[0]
    assert blob[3:5, 3:5] == pytest.approx(np.exp(-0.0625))


def test_edges_ignore_the_weights(make_net: MakeNet) -> None:
    """An edge detector fails Adebayo's sanity check, as it must."""
    net = make_net(width=1)
    inputs = torch.rand(2, 3, 32, 32)
    edges = sobel_edges(net, inputs)
    _, changed = list(randomized(net))[-1]
    assert rank_correlation(edges, sobel_edges(changed, inputs)) == pytest.approx(1)
    assert map_status(sobel_edges(net, torch.zeros(1, 3, 32, 32))[0]) == "flat"
