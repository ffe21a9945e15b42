from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from seefar import gradcam
from seefar.data import Data
from seefar.maps.formulas import grid_of
from seefar.maps.grid import Grid
from seefar.maps.sanity import (
    check_health,
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


def test_the_cascade_randomises_one_part_after_the_other(make_net: Callable[..., ResNet18]) -> None:
    net = make_net(width=1)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    state = torch.random.get_rng_state()
    seen = []
    for part, changed in randomized(net):
        now = changed.network.state_dict()
        seen.append({n.split(".")[0] for n in now if "weight" in n and not torch.equal(now[n], before[n])} - {"bn1"})
        assert part in seen[-1] | {"bn1"}
    cascade = ("fc", "layer4", "layer3", "layer2", "layer1", "bn1", "conv1")  # the network's own order, reversed
    assert seen == [set(cascade[: i + 1]) - {"bn1"} for i in range(7)]
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    again, same = (next(randomized(net))[1].network.fc.weight for _ in range(2))
    assert torch.equal(again, same)
    assert torch.equal(state, torch.random.get_rng_state())  # global random numbers do not change


def test_the_map_depends_on_the_weights(trained: Run, shapes: Data) -> None:
    """Adebayo's sanity check; an edge detector fails it, see tests/lab."""
    images, labels = shapes.test.images[:20], shapes.test.labels[:20]
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


def test_a_centre_between_pixels_points_at_all_that_it_touches() -> None:
    maps = np.zeros((3, 8, 8), np.float32)
    maps[:, 2, 3] = 1  # its centre is at row 2 * 4 + 1.5, column 3 * 4 + 1.5: where pixels 9 and 10, 13 and 14 meet
    masks = np.zeros((3, 32, 32), bool)
    masks[0, 9:11, :14], masks[1, 9, 13], masks[2, 10, 14] = True, True, True
    assert pointing_hits(maps, masks).tolist() == [True, False, False]
    assert pointing_hits(maps, masks, Grid((8, 8), 4.0, 1.0)).tolist() == [True, True, False]  # pixel 9, 13
    assert pointing_hits(maps, masks, Grid((8, 8), 4.0, 2.0)).tolist() == [False, False, True]


def test_mirrored_maps_are_compared_over_the_pixels() -> None:
    """The cells of the finest maps are not symmetric in the image."""
    maps = np.random.default_rng(0).normal(size=(1, 8, 8)).astype(np.float32)
    assert flip_agreement(maps, maps[:, :, ::-1], 32)[0] == pytest.approx(1)
    assert flip_agreement(maps, maps, 32)[0] < 0.5
    finer = np.zeros((2, 1, 16, 16), np.float32)
    finer[0, 0, 3, 4], finer[1, 0, 3, 10] = 1, 1  # 4 * 2 + 1.5 = 9.5; mirrored 31 - 9.5 = 21.5 = 10 * 2 + 1.5
    assert flip_agreement(*finer, 32, Grid((16, 16), 2.0, 1.5))[0] > 0.9  # at the far edge the map ends


@pytest.mark.parametrize(("cells", "first"), [(8, 5.0), (16, 0.0)])
def test_the_first_cell_is_found_by_mirroring(cells: int, first: float) -> None:
    """Blobs on the image, seen by cells whose first one is centred at `first`, and the same blobs mirrored."""
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


def test_maps_of_a_trained_network_find_the_shape_and_move_with_the_mirror(trained: Run, shapes: Data) -> None:
    test = shapes.test.take(slice(60))
    maps = gradcam(trained.model, test.images, test.labels)
    mirrored = gradcam(trained.model, test.images[:, :, ::-1].copy(), test.labels)
    grid = find_origin(maps, mirrored, 32, grid_of(trained.model, (8, 8), 32))
    assert test.masks is not None
    chance = test.masks.mean()
    assert pointing_hits(maps, test.masks, grid).mean() > 2 * chance
    assert evidence_inside(maps, test.masks, grid).mean() > 1.3 * chance
    assert flip_agreement(maps, mirrored, 32, grid).mean() > 0.4  # it never saw a mirrored image


# ---- Health badges ----


def test_each_check_that_fails_is_named_and_two_make_a_map_poor() -> None:
    good, other = (np.random.default_rng(seed).normal(size=(1, 8, 8)).astype(np.float32) for seed in (0, 1))
    masks = np.zeros((1, 8, 8), bool)
    masks[0].flat[good[0].argmax()] = True

    def check(
        of_mirrored: np.ndarray = good[:, :, ::-1],
        of_random: np.ndarray = other,
        changes: tuple[float, float] = (0.1, 0.2),  # shares; of the evidence, of the control mask
        masks: np.ndarray | None = None,
    ) -> tuple[str, str]:
        first, second = (np.array([share]) for share in changes)
        (found,) = check_health(good, of_mirrored, of_random, (first, second), image_size=(8, 8), masks=masks)
        return found.badge, "; ".join(found.reasons)

    assert check() == check(changes=(0.1, np.inf)) == check(masks=masks) == ("good", "")
    assert check(changes=(np.inf, np.inf)) == ("fair", "hiding its strongest pixels does not change the prediction")
    later = "fair", "hiding the control mask changes the prediction no later"
    assert check(changes=(0.1, 0.1)) == check(changes=(0.1, 0.05)) == later
    assert check(of_mirrored=good)[1].startswith("the mirrored image gives a different map (rank correlation ")
    for sign in (1, -1):
        similar = f"a network with random weights gives a similar map (rank correlation {sign:.2f})"
        assert check(of_random=sign * good) == ("fair", similar)
    assert check(masks=~masks) == ("fair", "its highest cell is not among the pixels that decide")
    assert check(masks=~masks, changes=(0.1, 0.1))[0] == "poor"


@pytest.mark.parametrize(("value", "reason"), [(0.0, "the map is flat"), (-1.0, "the map has no positive evidence")])
def test_a_map_that_shows_nothing_is_poor(value: float, reason: str) -> None:
    map_ = np.full((1, 8, 8), value, np.float32)
    map_[0, 0, 0] *= 2
    (found,) = check_health(map_, map_, map_, (np.array([0.1]), np.array([np.inf])), image_size=(8, 8))
    assert (found.badge, found.reasons[0]) == ("poor", reason)
