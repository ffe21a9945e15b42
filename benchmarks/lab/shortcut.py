"""A planted shortcut: a magenta patch whose place is known, to which maps and occlusion tests can be held."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from seefar.data.images import Split
from seefar.seeds import Stream

PATCH = 8  # pixels on a side
MAGENTA = np.array((255, 0, 255), dtype=np.uint8)


def plant_shortcut(split: Split, share: float, label: int | None = None, seed: int = 0) -> Split:
    """A copy in which a share of the images has a small magenta patch: a shortcut whose place is known.

    A network trained with `label` learns to predict it wherever the patch is. On a copy with the labels left as they
    were
    (None), the patch then causes the mistakes. It is where it covers least of the shape, so that the shape stays
    visible.
    The masks of the copy are the pixels of the patches.
    """
    random = np.random.default_rng((Stream.PATCH, seed))
    chosen = np.sort(random.permutation(len(split))[: round(share * len(split))])
    masks = np.zeros(split.images.shape[:3], dtype=bool)
    for index in chosen:
        shape = split.masks[index] if split.masks is not None else masks[index]
        covered = sliding_window_view(shape, (PATCH, PATCH)).sum((2, 3))  # of the shape, by a patch with this corner
        row, column = divmod(int((covered + random.random(covered.shape)).argmin()), covered.shape[1])
        masks[index, row : row + PATCH, column : column + PATCH] = True
    labels = split.labels.copy()
    if label is not None:
        labels[chosen] = label
    return Split(np.where(masks[..., None], MAGENTA, split.images), labels, split.classes, masks)
