"""A planted shortcut: a magenta patch whose place is known, to which maps and occlusion tests can be held."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from seefar.data.images import Split
from seefar.seeds import Stream

PATCH = 8  # pixels on a side
MAGENTA = np.array((255, 0, 255), dtype=np.uint8)


def plant_shortcut(split: Split, share: float, label: int | None = None, seed: int = 0) -> Split:
    """Put a small magenta patch on some images: a shortcut whose place is known.

    A network trained with `label` learns to answer it wherever the patch is. On a copy with the labels left as they
    were, the patch then is why it errs, and a map or a hiding test can be held to that.

    The patch lies where it covers least of the shape, so that the shape still tells what the image is without it.

    Args:
        split: the images; it is left as it is.
        share: share of them that get the patch.
        label: the class those images get; None: they keep theirs.
        seed: which images, and where on them.

    Returns:
        A split whose masks are the pixels of the patches; empty where there is none.
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
