from __future__ import annotations

import numpy as np
import pytest

from lab.border import border_slice, evidence_off_centre
from seefar.maps.grid import Grid


def test_evidence_at_the_border() -> None:
    maps = np.zeros((3, 8, 8), np.float32)
    maps[0, 3:5, 3:5] = 1
    maps[1, 0, 0] = 1
    maps[1, 7, 7] = -5  # evidence against does not count
    distance = evidence_off_centre(maps, Grid.even((8, 8), 32), 32)
    assert distance.tolist() == pytest.approx([0, np.hypot(14, 14), 0])
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    found = border_slice(images, np.zeros(3, int), np.array([0, 1, 0]), distance)
    assert (found.name, found.mistakes, found.p_holm) == ("at the border", 1, pytest.approx(min(1, 5 * found.p)))
