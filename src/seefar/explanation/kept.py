"""The explanation that a run folder keeps, read back only if such maps can be of this network and its images."""

from __future__ import annotations

from dataclasses import replace

from seefar.errors import MapError, RunError
from seefar.explanation.explain import Explanation, check_map_settings
from seefar.maps.grid import grid_of
from seefar.model.resnet import ResNet18
from seefar.training.run import Run


def kept_explanation(run: Run) -> Explanation | None:
    """The explanation in a run's folder; None if it is missing, damaged, of an older form, or fits another network.

    Whether it is of these weights and test images its fingerprints say.
    """
    size, model = run.image_size, ResNet18(len(run.classes), width=1).eval()  # layers and cells are as at any width
    try:
        saved = Explanation.load(run.folder.maps)
        by_form = grid_of(model, check_map_settings(model, size, saved.method, saved.layer, saved.cells), size)
    except (RunError, MapError):
        return None
    fits = saved.classes == run.classes and saved.hidden.shape[1:] == (size, size)
    has_grid = saved.grid == replace(by_form, origin=saved.grid.origin) and 0 <= saved.grid.origin < size
    return saved if fits and has_grid else None
