"""Grad-CAM as a coloured overlay."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps

from seefar.maps.grid import Grid
from seefar.report.figures import OVERLAY_COLOURS, OVERLAY_OPACITY, overlay


def test_only_evidence_for_the_class_is_coloured() -> None:
    image = np.full((2, 4, 3), 100, np.uint8)
    grid = Grid((1, 2), spacing=2.0, origin=0.5)
    painted = overlay(image, np.array([[4.0, -4.0]]), 4.0, grid)
    top = np.array(colormaps[OVERLAY_COLOURS](1.0)[:3])
    expected = (255 * (OVERLAY_OPACITY * top + (1 - OVERLAY_OPACITY) * 100 / 255)).round()
    assert (painted[:, 0] == expected).all()  # the cell with the most evidence
    assert (painted[:, 3] == 100).all()  # evidence against the class: the image itself
