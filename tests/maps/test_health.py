from __future__ import annotations

import numpy as np
import pytest

from seefar.maps.sanity import check_health


def changed_at(share: float) -> np.ndarray:
    """The share at which the prediction changed; 0: it did not."""
    return np.array([share or np.inf])


def test_each_check_that_fails_is_named_and_two_make_a_map_poor() -> None:
    good = np.random.default_rng(0).normal(size=(1, 8, 8)).astype(np.float32)
    other = np.random.default_rng(1).normal(size=(1, 8, 8)).astype(np.float32)
    mirrored = good[:, :, ::-1]
    top, control, neither = changed_at(0.1), changed_at(0.2), changed_at(0.0)
    masks = np.zeros((1, 8, 8), bool)
    masks[0].flat[good[0].argmax()] = True

    def check(
        of_mirrored: np.ndarray = mirrored,
        of_random: np.ndarray = other,
        strongest: np.ndarray = top,
        elsewhere: np.ndarray = control,
        masks: np.ndarray | None = None,
    ) -> tuple[str, tuple[str, ...]]:
        changes = strongest, elsewhere
        (found,) = check_health(good, of_mirrored, of_random, changes, image_size=(8, 8), masks=masks)
        return found.badge, found.reasons

    assert check() == check(elsewhere=neither) == check(masks=masks) == ("good", ())
    assert check(strongest=neither) == ("fair", ("hiding its strongest pixels does not change the prediction",))
    later = ("hiding the control mask changes the prediction no later",)
    assert check(elsewhere=top) == check(elsewhere=changed_at(0.05)) == ("fair", later)
    badge, (reason,) = check(of_mirrored=good)
    assert badge == "fair"
    assert reason.startswith("the mirrored image gives a different map (rank correlation ")
    assert check(of_random=good)[1] == ("a network with random weights gives a similar map (rank correlation 1.00)",)
    assert check(of_random=-good)[1] == ("a network with random weights gives a similar map (rank correlation -1.00)",)
    assert check(masks=~masks)[1] == ("its highest cell is not among the pixels that decide",)
    badge, reasons = check(masks=~masks, elsewhere=top)
    assert badge == "poor"
    assert len(reasons) == 2


@pytest.mark.parametrize(("value", "reason"), [(0.0, "the map is flat"), (-1.0, "the map has no positive evidence")])
def test_a_map_that_shows_nothing_is_poor(value: float, reason: str) -> None:
    map_ = np.full((1, 8, 8), value, np.float32)
    map_[0, 0, 0] *= 2
    (found,) = check_health(map_, map_, map_, (changed_at(0.1), changed_at(0.0)), image_size=(8, 8))
    assert found.badge == "poor"
    assert found.reasons[0] == reason
