from __future__ import annotations

import numpy as np
import pytest

from seefar.choices import HideName
from seefar.explanation.occlusion import (
    Occlusion,
    Predict,
    Repair,
    Trial,
    control_steps,
    find_repairs,
    hide,
    occlude,
    occlude_progressively,
    repair_rates,
)
from seefar.maps.grid import rank_pixels, to_pixels
from seefar.model.adapt import adapt
from seefar.model.resnet import ResNet18


@pytest.fixture
def predict(brightness: ResNet18) -> Predict:
    """The logits are 40 times the mean of each channel, on the scale 0 to 1."""
    return adapt(brightness).logits


def red_patches(*sides: int) -> np.ndarray:
    """Black images, with the last 8 rows blue, and a red square of this side in the corner."""
    images = np.zeros((len(sides), 32, 32, 3), np.uint8)
    images[:, 24:, :, 2] = 60
    for image, side in zip(images, sides, strict=True):
        image[:side, :side, 0] = 255
    return images


def ranks_from_the_corner(count: int) -> np.ndarray:
    """The squares of the corner, one inside the other, are hidden first."""
    rows, columns = np.mgrid[:32, :32]
    order = np.lexsort((np.arange(1024), np.maximum(rows, columns).ravel()))
    ranks = np.empty(1024, np.int64)
    ranks[order] = np.arange(1024)
    return np.broadcast_to(ranks.reshape(32, 32), (count, 32, 32))


def test_pixels_are_hidden_until_the_prediction_is_correct(predict: Predict) -> None:
    """Blue is 8 * 32 * 60 = 15,360. Red is 255 for each visible pixel of the square: more than blue from 61 pixels on.

    5, 10, 20 and 30 % of 1,024 are 51, 102, 205 and 307 pixels. A square of 10 has 100: 49 are left by the first share.
    One of 12 has 144: 93, then 42. One of 16 has 256: 205, 154, 51. One of 24 has 576: 269 are left even by the last.
    """
    images, red, blue = red_patches(10, 12, 16, 24), np.zeros(4, np.int64), np.full(4, 2)
    found = occlude_progressively(predict, images, red, ranks_from_the_corner(4), goal=blue, how="grey")
    assert found.share.tolist() == [0.05, 0.10, 0.20, 0.30]
    assert found.pixels.sum((1, 2)).tolist() == [51, 102, 205, 307]
    assert found.predicted.tolist() == [2, 2, 2, 0]
    assert found.first_change.tolist() == [0.05, 0.10, 0.20, np.inf]
    assert found.changed.tolist() == [True, True, True, False]


def test_a_changed_but_wrong_prediction_counts_from_its_first_change(predict: Predict) -> None:
    images = red_patches(12, 12)
    found = occlude_progressively(
        predict, images, np.zeros(2, np.int64), ranks_from_the_corner(2), goal=np.array([1, 1]), how="grey"
    )
    assert found.predicted.tolist() == [2, 2]  # blue, where green was looked for
    assert found.share.tolist() == [0.10, 0.10]
    assert found.changed.all()
    assert found.outcome(0, true=2) == "repaired"
    assert found.outcome(0, true=1) == "other"


def test_the_first_change_is_recorded_even_if_a_later_one_repairs(predict: Predict) -> None:
    """Red goes first, then green, blue is left.

    Of the 144 red pixels of 255 the first share leaves 93, the second 42: 10,710, less than the 12,000 of 120 green
    pixels of 100, which come next in the order. The third hides 61 of those: 5,900 are left, less than blue's 8,160.
    """
    images, ranks = red_patches(12), ranks_from_the_corner(1)
    images[(ranks >= 144) & (ranks < 264), 1] = 100
    images[..., 2] = 0
    images[:, 31, :, 2] = 255
    found = occlude_progressively(predict, images, np.zeros(1, np.int64), ranks, goal=np.array([2]), how="grey")
    assert (found.first_change.tolist(), found.share.tolist(), found.predicted.tolist()) == ([0.10], [0.20], [2])


def test_the_map_decides_what_is_hidden_and_the_controls_hide_as_much_elsewhere(predict: Predict) -> None:
    images, predicted, true = red_patches(10, 10, 10), np.zeros(3, np.int64), np.full(3, 2)
    contrast = np.zeros((3, 8, 8), np.float32)
    contrast[:, :3, :3] = np.arange(9, 0, -1).reshape(3, 3)
    contrast[:, 6:] = -4  # speaks for the true class: hiding it cannot help
    found = occlude(predict, images, predicted, true, contrast)
    assert found.top.predicted.tolist() == [2, 2, 2]
    assert found.top.pixels[:, :4, :4].all()
    for hidden in (found.top, found.shifted, found.least):
        expected = [round(share * 1024) for share in hidden.share]
        assert hidden.pixels.sum((1, 2)).tolist() == expected
    assert found.least.predicted.tolist() == [0, 0, 0]
    assert not found.least.pixels[:, :12, :12].any()  # there the contrast is not zero
    assert not found.least.pixels[:, 26:].any()


def test_a_control_mask_depends_on_the_data_set_index_only(predict: Predict) -> None:
    """Image 5 of 32x32 pixels: the first draw of the generator (7, 5) is 572, so 17 rows and 28 columns."""
    assert control_steps(np.array([5]), 1024).tolist() == [572] == [17 * 32 + 28]
    assert set(control_steps(np.arange(300), 4)) == {1, 2, 3}  # never 0
    index = np.array([9, 5, 2, 700])
    images, predicted, true = red_patches(10, 12, 10, 12), np.zeros(4, np.int64), np.full(4, 2)
    contrast = np.random.default_rng(0).normal(size=(4, 8, 8)).astype(np.float32)
    found = occlude(predict, images, predicted, true, contrast, index=index).shifted.pixels
    order = np.array([2, 0, 3])  # fewer images, in another order
    some = (part[order] for part in (images, predicted, true, contrast))
    np.testing.assert_array_equal(occlude(predict, *some, index=index[order]).shifted.pixels, found[order])
    ranks = rank_pixels(to_pixels(contrast, 32))
    expected = np.roll(ranks[1] < round(0.30 * 1024), (17, 28), (0, 1))
    np.testing.assert_array_equal(found[1], expected)


# ---- What takes the place of hidden pixels ----


@pytest.mark.parametrize("how", ["blur", "grey", "mean"])
def test_hiding_removes_the_masked_pixels_and_changes_no_other(how: HideName) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    hidden = np.zeros((2, 16, 16), bool)
    hidden[0, 3:9, 5:12] = True
    other = images.copy()
    other[hidden] = 255 - other[hidden]
    first = hide(images, hidden, how)
    np.testing.assert_array_equal(first, hide(other, hidden, how))
    np.testing.assert_array_equal(first[~hidden], images[~hidden])
    assert (hide(images, np.ones((2, 16, 16), bool), how) == 128).all()  # no pixel is visible


def test_replacements_of_hidden_pixels() -> None:
    image = np.full((1, 16, 16, 3), 40, np.uint8)
    image[0, :, 8:] = 200
    hidden = np.zeros((1, 16, 16), bool)
    hidden[0, 0, 0] = hidden[0, 0, 15] = True
    assert hide(image, hidden, "grey")[0, 0, 0].tolist() == [128] * 3
    assert hide(image, hidden, "mean")[0, 0, 0].tolist() == [120] * 3  # 127 of each colour are visible
    # The Gaussian is 2 pixels wide: 8 away nothing is left of the other colour.
    blur = hide(image, hidden, "blur")
    assert (blur[0, 0, 0, 0], blur[0, 0, 15, 0]) == (40, 200)
    hidden[0, :, 7] = hidden[0, :, 8] = True
    middle = hide(image, hidden, "blur")[0, 8, 7:9, 0].astype(int)
    assert 40 < middle[0] < 120 < middle[1] < 200
    assert middle.sum() == pytest.approx(240, abs=1)  # the mirror image of each other


# ---- Repairs and rates ----


def trial(answers: list[int], share: float = 0.05) -> Trial:
    """Images of class 1 with rows 2 to 3 and columns 5 to 9 of 32 hidden; the answer gets 4 to 1 to 1."""
    pixels = np.zeros((len(answers), 32, 32), bool)
    pixels[:, 2:4, 5:10] = True
    logits = np.log(np.where(np.arange(3) == np.array(answers)[:, None], 4.0, 1.0)).astype(np.float32)
    first_change = np.where(np.array(answers, dtype=int) != 1, share, np.inf)
    return Trial(pixels, np.full(len(answers), share), logits, first_change)


def repairs(occlusion: Occlusion, contrast: np.ndarray) -> list[Repair]:
    """Of cats (class 0) predicted as dogs (class 1), as many as there are maps."""
    count = len(contrast)
    before = np.tile([0.9, 0.08], (count, 1))
    return find_repairs(occlusion, np.ones(count, np.int64), np.zeros(count, np.int64), before, contrast)


def test_each_mistake_gets_its_region_its_probabilities_and_its_sentence() -> None:
    contrast = np.zeros((3, 32, 32), np.float32)
    contrast[:, 2, 5], contrast[:, 20, 20], contrast[:, 0, 0] = 3, 1, -5  # three quarters of the evidence for it
    top = trial([0, 2, 1], share=0.1)
    found = repairs(Occlusion(top, trial([2, 1, 1], share=0.2), top), contrast)
    assert [repair.outcome for repair in found] == ["repaired", "other", "stays"]
    first = found[0]
    assert (first.share, first.box, first.answer, first.control_share) == (0.1, (2, 5, 4, 10), 0, 0.2)
    assert (first.evidence, first.answer_probability) == (pytest.approx(0.75), pytest.approx(4 / 6))
    assert (first.predicted_before, first.true_before) == (0.9, 0.08)
    assert (first.predicted_after, first.true_after) == (pytest.approx(1 / 6), pytest.approx(4 / 6))
    assert found[1].control_share is None
    sentence = first.sentence(1, ("cat", "dog", "frog"))
    assert sentence == "10% hidden: cat 67%. dog 90% → 17%. Control mask: changes it at 20%."


def test_rates_over_all_mistakes() -> None:
    occlusion = Occlusion(trial([0, 0, 2, 1]), trial([0, 2, 1, 1]), trial([1, 1, 1, 1]))
    found = repairs(occlusion, np.ones((4, 32, 32), np.float32))
    rates = repair_rates(found, np.array([False, False, True]))
    assert (rates.repaired.share, rates.shifted.share, rates.least.share, rates.other.share) == (0.5, 0.25, 0, 0.25)
    assert (rates.damaged.n, rates.damaged.share) == (3, pytest.approx(1 / 3))
    assert (rates.p_shifted, rates.p_least) == (1.0, 0.5)  # one to none; two to none: 2 * (1/2)^2
    assert rates.repaired.interval == (pytest.approx(0.150, abs=1e-3), pytest.approx(0.850, abs=1e-3))
    assert str(rates).startswith("Hiding the evidence repairs 50% of 4 mistakes; hiding the control mask 25% (p = 1)")
    nothing = repair_rates([], np.zeros(0, bool))
    assert (nothing.repaired.share, str(nothing)) == (None, "no mistake to repair")
