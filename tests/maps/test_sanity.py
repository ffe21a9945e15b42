from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from seefar import gradcam
from seefar.data import Data
from seefar.maps.capture import grid_of
from seefar.maps.grid import Grid
from seefar.maps.sanity import (
    evidence_inside,
    find_origin,
    flip_agreement,
    pointing_hits,
    randomized,
    rank_correlation,
)
from seefar.model.resnet import ResNet18
from seefar.training.run import Run


def test_rank_correlation_is_spearmans() -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, 5, 8, 8)).astype(np.float32)
    second[1] = np.exp(first[1])  # another scale, the same order
    second[2, 0] = second[2, 1]  # ties
    expected = [spearmanr(one.ravel(), two.ravel()).statistic for one, two in zip(first, second, strict=True)]
    found = rank_correlation(first, second)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert found[1] == pytest.approx(1)
    assert rank_correlation(first[:1], np.zeros_like(first[:1]))[0] == 0  # a flat map agrees with nothing


def test_the_cascade_draws_one_part_after_the_other_anew(make_net: Callable[..., ResNet18]) -> None:
    net = make_net()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    seen = []
    for part, changed in randomized(net):
        now = changed.network.state_dict()
        seen.append({n.split(".")[0] for n in now if "weight" in n and not torch.equal(now[n], before[n])} - {"bn1"})
        assert part in seen[-1] | {"bn1"}
    cascade = ("fc", "layer4", "layer3", "layer2", "layer1", "bn1", "conv1")  # the network's own order, reversed
    assert seen == [set(cascade[: i + 1]) - {"bn1"} for i in range(7)]
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    state = torch.random.get_rng_state()
    _, again = next(randomized(net))
    _, same = next(randomized(net))
    assert torch.equal(again.network.fc.weight, same.network.fc.weight)
    assert torch.equal(state, torch.random.get_rng_state())  # nobody else's random numbers change


def test_the_cascade_of_another_network_goes_through_its_children() -> None:
    layers = torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 2, 1)
    net = torch.nn.Sequential(*layers)
    net[2].weight.data += 1
    seen = list(randomized(net))
    assert [part for part, _ in seen] == ["3", "2", "0"]
    assert torch.equal(seen[0][1].network[0].weight, net[0].weight)
    assert not torch.equal(seen[0][1].network[3].weight, net[3].weight)
    assert not torch.equal(seen[1][1].network[2].weight, net[2].weight)
    assert not torch.equal(seen[2][1].network[0].weight, net[0].weight)


def test_the_map_depends_on_the_weights(trained: Run, shapes: Data) -> None:
    """Adebayo's sanity check; an edge detector fails it, see tests/lab."""
    images, labels = shapes.test.images[:40], shapes.test.labels[:40]
    maps = gradcam(trained.model, images, labels)
    after = {
        part: np.abs(rank_correlation(maps, gradcam(changed, images, labels)).mean())
        for part, changed in randomized(trained.model)
    }
    assert all(correlation < 0.4 for part, correlation in after.items() if part != "fc")
    assert after["conv1"] < 0.25


def test_pointing_and_evidence_by_hand() -> None:
    maps = np.zeros((3, 8, 8), np.float32)
    maps[0, 2, 3] = 6
    maps[1, 2, 3], maps[1, 7, 7], maps[1, 0, 0] = 6, 2, -9
    masks = np.zeros((3, 8, 8), bool)
    masks[:, 2, 3] = True
    masks[0] = ~masks[0]
    assert pointing_hits(maps, masks).tolist() == [False, True, False]
    np.testing.assert_allclose(evidence_inside(maps, masks), [0, 0.75, 0])


def test_a_middle_between_pixels_points_at_all_it_touches() -> None:
    maps = np.zeros((3, 8, 8), np.float32)
    maps[:, 2, 3] = 1  # its middle is at row 2 * 4 + 1.5, column 3 * 4 + 1.5: where pixels 9 and 10, 13 and 14 meet
    masks = np.zeros((3, 32, 32), bool)
    masks[0, 9:11, :14], masks[1, 9, 13], masks[2, 10, 14] = True, True, True
    assert pointing_hits(maps, masks).tolist() == [True, False, False]
    assert pointing_hits(maps, masks, Grid((8, 8), 4.0, 1.0)).tolist() == [
        True,
        True,
        False,
    ]  # pixel 9, 13
    assert pointing_hits(maps, masks, Grid((8, 8), 4.0, 2.0)).tolist() == [False, False, True]


def test_mirrored_maps_are_compared_where_they_lie() -> None:
    """The cells of the finest maps are not symmetric in the image: maps are compared over the pixels."""
    maps = np.random.default_rng(0).normal(size=(1, 8, 8)).astype(np.float32)
    assert flip_agreement(maps, maps[:, :, ::-1], 32)[0] == pytest.approx(1)
    assert flip_agreement(maps, maps, 32)[0] < 0.5
    blob = np.zeros((1, 8, 8), np.float32)
    blob[0, 3, 2] = 1  # its centre is at column 2 * 4 + 1.5 = 9.5; mirrored 31 - 9.5 = 21.5 = 5 * 4 + 1.5
    mirrored = np.zeros((1, 8, 8), np.float32)
    mirrored[0, 3, 5] = 1
    assert flip_agreement(blob, mirrored, 32)[0] == pytest.approx(1)
    finer = np.zeros((2, 1, 16, 16), np.float32)
    finer[0, 0, 3, 4], finer[1, 0, 3, 10] = 1, 1  # 4 * 2 + 1.5 = 9.5 and 10 * 2 + 1.5 = 21.5
    assert flip_agreement(*finer, 32, Grid((16, 16), 2.0, 1.5))[0] > 0.9  # at the far edge the map ends


@pytest.mark.parametrize(("cells", "first"), [(8, 1.5), (8, 5.0), (16, 0.0), (32, 2.0)])
def test_the_first_cell_is_found_by_mirroring(cells: int, first: float) -> None:
    """Blobs somewhere on the image, seen by cells whose first one lies at `first`, and the same blobs mirrored."""
    random = np.random.default_rng(0)
    centres = random.uniform(8, 23, (40, 2))

    def seen(centres: np.ndarray) -> np.ndarray:
        at = first + 32 / cells * np.arange(cells)
        y, x = (np.exp(-((at - centres[:, axis, None]) ** 2) / 50) for axis in (0, 1))
        return (y[:, :, None] * x[:, None, :]).astype(np.float32)

    maps, of_mirrored = seen(centres), seen(np.stack((centres[:, 0], 31 - centres[:, 1]), axis=1))
    grid = Grid((cells, cells), 32 / cells, 0.0)
    found = find_origin(maps, of_mirrored, 32, grid)
    assert found.origin == pytest.approx(first, abs=0.5)  # one step of the search
    assert (found.cells, found.spacing) == (grid.cells, grid.spacing)
    assert find_origin(maps[:29], of_mirrored[:29], 32, grid).origin == 1.75  # too few to tell: between 0 and 3.5


def test_a_trained_nets_maps_find_the_shape_and_move_with_the_mirror(trained: Run, shapes: Data) -> None:
    test = shapes.test
    maps = gradcam(trained.model, test.images, test.labels)
    mirrored = gradcam(trained.model, test.images[:, :, ::-1].copy(), test.labels)
    grid = find_origin(maps, mirrored, 32, grid_of(trained.model, (8, 8), 32))
    assert test.masks is not None
    chance = test.masks.mean()
    assert pointing_hits(maps, test.masks, grid).mean() > 2 * chance
    assert evidence_inside(maps, test.masks, grid).mean() > 1.3 * chance
    assert flip_agreement(maps, mirrored, 32, grid).mean() > 0.4  # it never saw a mirrored image
