from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seefar import class_maps, recipe, train
from seefar.data import Data
from seefar.data.shapes import load_shapes, plant_shortcut
from seefar.explanation.occlusion import occlude
from seefar.maps.grid import Grid, Maps, grid_of
from seefar.maps.sanity import evidence_inside, find_origin, pointing_hits
from seefar.model import ResNet18
from seefar.model.inference import compute_logits
from seefar.progress import SILENT


def placed_contrast(model: ResNet18, images: np.ndarray, true: np.ndarray, cells: int) -> tuple[Maps, Grid]:
    """Why class 0 rather than the true one, and where the cells lie."""
    contrast, of_mirrored = (
        class_maps(model, part, cells).contrast(0, true) for part in (images, images[:, :, ::-1].copy())
    )
    return contrast, find_origin(contrast, of_mirrored, 32, grid_of(model, (cells, cells), 32))


@pytest.mark.slow
def test_a_planted_shortcut_is_found_and_hiding_it_mends_the_answer(tmp_path: Path) -> None:
    """Half of the training images carry a patch and one label: on the test images the patch is why the net errs."""
    plain = load_shapes(train=8000)
    planted = plant_shortcut(plain.test, 1.0)
    data = Data("shortcut", plant_shortcut(plain.train, 0.5, label=0), planted)
    model = train(recipe("demo", epochs=6, cutout=8), data, tmp_path / "run", progress=SILENT).model
    without, with_patch = (compute_logits(model, split.images).argmax(1) for split in (plain.test, planted))
    assert (without == plain.test.labels).mean() > 0.8  # the premise: 0.95 and 0.87 on two kinds of processor
    fooled = np.flatnonzero((without == plain.test.labels) & (with_patch == 0) & (plain.test.labels != 0))
    assert len(fooled) > 700
    images, true = planted.images[fooled], planted.labels[fooled]
    assert planted.masks is not None
    masks = planted.masks[fooled]
    fine, place = placed_contrast(model, images, true, 32)
    assert pointing_hits(fine, masks, place).mean() > 0.95
    contrast, place = placed_contrast(model, images, true, 8)
    assert pointing_hits(contrast, masks, place).mean() > 0.95
    assert evidence_inside(contrast, masks, place).mean() > 4 * masks.mean()
    found = occlude(model, images, np.zeros(len(images), np.int64), true, contrast, place)
    assert (found.top.answer == true).mean() > 0.95
    assert (found.shifted.answer == true).mean() < 0.2
    assert (found.least.answer == true).mean() < 0.02
    # With the patch absent there is nothing to find at its place.
    absent = class_maps(model, plain.test.images[fooled]).contrast(0, true)
    assert pointing_hits(absent, masks, place).mean() < 0.15
