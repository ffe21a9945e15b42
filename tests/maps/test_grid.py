from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from seefar.errors import ChoiceError
from seefar.maps.formulas import fine_twin, grid_of
from seefar.maps.grid import Grid, map_status, rank_pixels, to_pixels
from seefar.model.resnet import ResNet18, dense_twin


def test_smooth_is_the_usual_bilinear_enlargement_and_else_cells_are_blocks() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 8, 8)).astype(np.float32)
    usual = torch.nn.functional.interpolate(torch.from_numpy(maps)[None], (32, 32), mode="bilinear")[0]
    maps.flags.writeable = False
    np.testing.assert_allclose(to_pixels(maps, 32), usual.numpy(), atol=1e-6)
    np.testing.assert_array_equal(to_pixels(maps, 16, smooth=False)[1], np.kron(maps[1], np.ones((2, 2))))


def test_cells_are_where_the_grid_places_the_first_one() -> None:
    """8x8 cells on 32 pixels are 4 pixels apart: with the first at 3.5 the third is centred at 11.5."""
    fine = np.zeros((1, 8, 8), np.float32)
    fine[0, :, 2] = 1
    grid = Grid((8, 8), 4.0, 3.5)
    row = to_pixels(fine, 32, grid)[0, 0]
    np.testing.assert_allclose(row[8:16], [0.125, 0.375, 0.625, 0.875, 0.875, 0.625, 0.375, 0.125])
    assert np.flatnonzero(to_pixels(fine, 32, grid, smooth=False)[0, 0]).tolist() == [10, 11, 12, 13]
    np.testing.assert_array_equal(to_pixels(fine, 32, Grid((8, 8), 4.0, 1.5)), to_pixels(fine, 32))


def only_the_middle(net: ResNet18) -> ResNet18:
    """Each convolution passes on its middle tap alone, so a cell sees the one pixel that it is centred on."""
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.zero_()
                middle = module.kernel_size[0] // 2
                module.weight[:, :, middle, middle] = 1
    return net.eval()


@pytest.mark.parametrize("size", [21, 32, 50])
@pytest.mark.parametrize("doublings", range(4))
def test_a_resnets_cells_are_powers_of_two_apart_at_every_image_size(size: int, doublings: int) -> None:
    """At 50 pixels 13 cells are 4 pixels apart, not 50 / 13 = 3.85: what a cell sees is measured."""
    twin = only_the_middle(dense_twin(ResNet18(2, width=1), doublings))
    inputs = torch.rand(1, 3, size, size).requires_grad_()
    features = twin.features(inputs)
    cells = (features.shape[2], features.shape[3])
    grid = grid_of(twin, cells, size)
    for row, column in ((0, 0), (0, 1), (cells[0] - 1, cells[1] - 1)):
        (gradient,) = torch.autograd.grad(features[0, :, row, column].sum(), inputs, retain_graph=True)
        seen = gradient[0].abs().sum(0).nonzero().tolist()
        assert seen == [[row * grid.spacing, column * grid.spacing]]
    assert fine_twin(twin, size, cells[0], force=True).cell_stride * grid.spacing == 8


def test_cells_of_other_networks_share_the_image_evenly_and_need_not_be_square() -> None:
    assert grid_of(nn.Identity(), (10, 12), (20, 24)) == Grid((10, 12), 2.0, 0.5)
    maps = np.zeros((1, 2, 3), np.float32)
    maps[0, 1, 2] = 1
    assert np.argwhere(to_pixels(maps, (4, 6), smooth=False)[0]).tolist() == [[2, 4], [2, 5], [3, 4], [3, 5]]
    with pytest.raises(ChoiceError, match="got 8x8"):  # it put maps of 16x16 into the upper left quarter
        to_pixels(np.zeros((1, 16, 16), np.float32), 32, Grid((8, 8), 4.0, 1.5))


def test_exactly_k_pixels_have_a_rank_below_k_also_in_a_flat_map() -> None:
    values = np.zeros((3, 4, 4), np.float32)
    values[0, 2, 3], values[0, 1, 1] = 5, 2
    ranks = rank_pixels(values)
    assert (ranks[0, 2, 3], ranks[0, 1, 1]) == (0, 1)
    assert np.sort(ranks.reshape(3, -1), axis=1).tolist() == [list(range(16))] * 3
    flat = ranks[1].ravel()
    assert flat.tolist() != sorted(flat.tolist())  # at random, not from the corner on
    np.testing.assert_array_equal(rank_pixels(values[1:2])[0], ranks[1])
    assert rank_pixels(values[:0]).shape == (0, 4, 4)


def test_the_status_line_of_a_run() -> None:
    cells = np.zeros((8, 8), np.float32)
    assert map_status(cells) == map_status(cells + 7) == "flat"
    cells[0, 0] = 1
    assert map_status(cells) == "ok"
    assert map_status(cells - 1) == map_status(-cells) == "no positive evidence"
    assert map_status(1e9 + cells) == "flat"  # a stretched picture of this would be rounding noise
