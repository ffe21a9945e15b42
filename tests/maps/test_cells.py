from __future__ import annotations

import numpy as np
import pytest
import torch

from seefar.maps.cells import cell_stride_of, fine_twin, rank_pixels, to_pixels
from seefar.model import ResNet18, dense_twin


def test_a_layers_cells_are_blocks() -> None:
    maps = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    blocks = to_pixels(maps, 8, smooth=False)
    np.testing.assert_array_equal(blocks[0], np.kron(maps[0], np.ones((2, 2))))


def test_smooth_is_the_usual_bilinear_enlargement() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 8, 8)).astype(np.float32)
    usual = torch.nn.functional.interpolate(torch.from_numpy(maps)[None], (32, 32), mode="bilinear")[0]
    np.testing.assert_allclose(to_pixels(maps, 32), usual.numpy(), atol=1e-6)


def test_cells_lie_where_the_first_one_is_said_to_lie() -> None:
    """8x8 cells on 32 pixels are 4 pixels apart: with the first at 3.5 the third is centred at 11.5."""
    fine = np.zeros((1, 8, 8), np.float32)
    fine[0, :, 2] = 1
    row = to_pixels(fine, 32, 3.5)[0, 0]
    np.testing.assert_allclose(row[8:16], [0.125, 0.375, 0.625, 0.875, 0.875, 0.625, 0.375, 0.125])
    assert np.flatnonzero(to_pixels(fine, 32, 3.5, smooth=False)[0, 0]).tolist() == [10, 11, 12, 13]
    np.testing.assert_array_equal(to_pixels(fine, 32, 1.5), to_pixels(fine, 32))  # evenly: blocks of 4 pixels
    finest = np.zeros((1, 32, 32), np.float32)
    finest[0, :, 8] = 1
    np.testing.assert_allclose(to_pixels(finest, 32, 3.5)[0, 0, 10:14], [0, 0.5, 0.5, 0])  # centred at 11.5
    np.testing.assert_array_equal(to_pixels(finest, 32), finest)


@pytest.mark.parametrize(("height", "size", "stride"), [(8, 32, 2), (32, 32, 8), (4, 32, 1), (9, 17, 4), (24, 96, 2)])
def test_how_many_cells_enter_the_logits(height: int, size: int, stride: int) -> None:
    assert cell_stride_of(None, height, size) == stride
    assert cell_stride_of("layer3", height, size) == 1


@pytest.mark.parametrize("size", range(16, 97))
def test_the_stride_is_the_twins_at_every_size(size: int) -> None:
    net = ResNet18(2, width=1)
    for doublings in range(4):
        with torch.no_grad():
            height = dense_twin(net, doublings).features(torch.zeros(1, 3, size, size)).shape[2]
        twin = fine_twin(net, size, height, force=True)
        assert cell_stride_of(None, height, size) == twin.cell_stride == 2**doublings


def test_exactly_k_pixels_have_a_place_below_k_also_in_a_flat_map() -> None:
    values = np.zeros((3, 4, 4), np.float32)
    values[0, 2, 3], values[0, 1, 1] = 5, 2
    ranks = rank_pixels(values)
    assert (ranks[0, 2, 3], ranks[0, 1, 1]) == (0, 1)
    assert np.sort(ranks.reshape(3, -1), axis=1).tolist() == [list(range(16))] * 3
    flat = ranks[1].ravel()
    assert flat.tolist() != sorted(flat.tolist())  # at random, not from the corner on
    np.testing.assert_array_equal(rank_pixels(values[1:2])[0], ranks[1])
    assert rank_pixels(values[:0]).shape == (0, 4, 4)
