"""Maps of chosen mistakes, for the class the network named and for the true one, written into the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seefar.data.images import Split
from seefar.evaluation.mistakes import Mistake
from seefar.explanation.gradcam import gradcam
from seefar.files import written_beside
from seefar.training.run import Run


@dataclass(frozen=True)
class Explanation:
    """Maps of M mistakes.

    Attributes:
        mistakes: the M mistakes, in order.
        predicted: float32 (M, h, w), Grad-CAM for the class that the network named, in logit units.
        true: float32 (M, h, w), the same for the true class.
    """

    mistakes: list[Mistake]
    predicted: NDArray[np.float32]
    true: NDArray[np.float32]


def explain(
    run: Run, test: Split, mistakes: Sequence[Mistake], layer: str | None = None, cells: int | None = None
) -> Explanation:
    """Grad-CAM for both classes of each mistake; writes `maps.npz`.

    Args:
        run: the trained network.
        test: the test images that the mistakes' indices count in.
        mistakes: which to explain.
        layer: see `gradcam`.
        cells: see `gradcam`.

    Raises:
        MapError: the layer does not exist or its maps are too coarse.
    """
    indices = np.array([mistake.index for mistake in mistakes], dtype=np.int64)
    images = test.images[indices]
    predicted, true = (
        gradcam(run.model, images, np.array(classes, dtype=np.int64), layer, cells=cells)
        for classes in ([mistake.predicted for mistake in mistakes], [mistake.true for mistake in mistakes])
    )
    with written_beside(run.folder.path / "maps.npz") as beside:
        np.savez(beside, index=indices, predicted=predicted, true=true)
    return Explanation(list(mistakes), predicted, true)
