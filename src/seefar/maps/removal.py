"""Hide pixels of stored images: blur, grey or mean colour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from seefar.data.images import Images
from seefar.names import HideName

GREY = 128
Pixels = NDArray[np.bool_]  # (N, H, W)


def hide(images: Images, hidden: Pixels, how: HideName = "blur") -> Images:
    """The images with their hidden pixels replaced; the others are not touched.

    Args:
        images: uint8 (N, H, W, 3).
        hidden: bool (N, H, W).
        how: `blur`: each hidden pixel becomes the average of the visible ones around it, under a Gaussian an eighth
            of the image wide, so nothing of what was there shines through; `grey`: 128; `mean`: the average of the
            image's visible pixels. Where no pixel is visible, `blur` and `mean` give grey.
    """
    visible = ~hidden[..., None]
    if how == "grey":
        filled: NDArray[np.float64] = np.full(images.shape, float(GREY))
    else:
        shown = images * visible.astype(np.float64)
        weight = visible.astype(np.float64)
        if how == "blur":
            sigma = (0, images.shape[1] / 8, images.shape[2] / 8, 0)
            shown, weight = (gaussian_filter(part, sigma, mode="constant", truncate=6) for part in (shown, weight))
        else:
            shown, weight = (part.sum((1, 2), keepdims=True) for part in (shown, weight))
        known = weight > 1e-9
        filled = np.broadcast_to(np.where(known, shown / np.where(known, weight, 1), GREY), images.shape)
    return np.where(visible, images, filled.round().astype(np.uint8))
