from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import seefar
from seefar.errors import ChoiceError, DataError
from seefar.explanation.pictures import PicturePrediction
from seefar.maps.grid import Grid
from seefar.model.resnet import ResNet18

CLASSES = ("red", "green", "blue")
Predict = Callable[..., list[PicturePrediction]]


@pytest.fixture
def patch(tmp_path: Path) -> Path:
    """A bright red patch of 8 x 8 pixels on dark green ground of 32 x 32."""
    image = np.zeros((32, 32, 3), np.uint8)
    image[..., 1] = 10
    image[4:12, 20:28] = (255, 0, 0)
    Image.fromarray(image).save(tmp_path / "patch.png")
    return tmp_path / "patch.png"


@pytest.fixture
def predict(brightness: ResNet18) -> Predict:
    """With cells of one pixel. The logits are 40 times the mean of each channel, on the scale 0 to 1."""
    settings = {"layer": "normalize", "hide": "grey", "progress": seefar.SILENT}
    return partial(seefar.predict_pictures, brightness, classes=CLASSES, **settings)


def test_a_prediction_worked_out_by_hand(predict: Predict, patch: Path) -> None:
    (found,) = predict(patch)
    # Mean red 64 * 255 / 1024 = 15.9, mean green 960 * 10 / 1024 = 9.4.
    logits = 40 / 255 * np.array([64 * 255, 960 * 10, 0]) / 1024
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-5)
    assert (found.predicted, found.runner_up) == (0, 1)
    # The map of red is positive on the patch and zero elsewhere; that of green zero there, positive elsewhere.
    inside = np.zeros((32, 32), bool)
    inside[4:12, 20:28] = True
    assert (found.predicted_map > 0).tolist() == inside.tolist()
    assert (found.runner_up_map > 0).tolist() == (~inside).tolist()
    np.testing.assert_array_equal(found.contrast, found.predicted_map - found.runner_up_map)
    # A twentieth, 51 pixels, all of the patch: red 13 * 255 + 51 * 128 against green 960 * 10 + 51 * 128.
    assert found.repair.share == 0.05
    assert int(found.hidden.sum()) == 51
    assert not (found.hidden & ~inside).any()
    assert found.repair.evidence == pytest.approx(51 / 64, abs=1e-3)
    logits = 40 / 255 * np.array([13 * 255 + 51 * 128, 960 * 10 + 51 * 128, 51 * 128]) / 1024
    after = np.exp(logits) / np.exp(logits).sum()
    assert found.repair.predicted_after == pytest.approx(after[0], rel=1e-4)
    assert found.repair.true_after == pytest.approx(after[1], rel=1e-4)
    assert found.repair.answer == 1
    row = found.summary()
    assert (row["class"], row["runner_up"], row["file"]) == ("red", "green", str(patch))
    assert row["probabilities"] == dict(zip(CLASSES, found.probabilities.tolist(), strict=True))
    assert row["hidden"]["class"] == "green"
    assert row["hidden"]["probability"] > row["hidden"]["probability_before"] == found.probabilities[1]
    assert (row["original"], row["crop"], row["notes"]) == ([32, 32], [0, 0, 32, 32], [])


def test_a_picture_does_not_depend_on_the_others(predict: Predict, patch: Path, tmp_path: Path) -> None:
    for number in range(22):  # more than are explained at once
        noise = np.random.default_rng(number).integers(0, 256, (40, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number:02d}.png")
    every = predict(tmp_path, hide="blur")
    assert len(every) == 23
    for place in (0, 21, 22):
        (alone,) = predict(Path(every[place].file), hide="blur")
        for name in ("probabilities", "contrast", "hidden"):
            np.testing.assert_array_equal(getattr(alone, name), getattr(every[place], name), err_msg=name)
        assert alone.repair == every[place].repair
        assert alone.health == every[place].health


def test_all_bad_files_are_named_at_once_and_settings_are_checked_before(
    predict: Predict, patch: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_text("no picture")
    with pytest.raises(DataError) as caught:
        predict([patch, tmp_path / "broken.png", tmp_path / "gone.png"])
    for words in ("2 of 3 files", "broken.png cannot be read", "gone.png cannot be read"):
        assert words in str(caught.value)
    with pytest.raises(DataError, match="3 logits for an image, but 2 classes"):
        predict(patch, classes=CLASSES[:2])
    with pytest.raises(ChoiceError, match="got 'fog'"):
        predict(tmp_path / "gone.png", hide="fog")


def test_a_measured_grid_moves_the_hidden_pixels(predict: Predict, patch: Path) -> None:
    (here,) = predict(patch)
    (moved,) = predict(patch, grid=Grid((32, 32), 1.0, -4.0))  # cells that lie 4 pixels up and left
    assert moved.hidden[0:8, 16:24].all()
    assert not here.hidden[0:4, 16:24].any()
