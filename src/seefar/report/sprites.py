"""Sprite sheets: many thumbnails in one picture, as a data URI that needs no file beside the page."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, features

from seefar.data.images import Images

LARGEST_EXACT = 6_000_000
"""Bytes of pixels up to which a sheet is kept without loss: 2,000 images of CIFAR-10."""
LONGEST_SIDE = 16_383
"""Pixels that WebP can have on a side."""


@dataclass(frozen=True)
class Sheet:
    """A sprite sheet. Image i is in column i modulo `columns`.

    Attributes:
        uri: the picture, as a data URI.
        columns: images in a row.
        count: images.
        height, width: of one image, in pixels.
        exact: whether every pixel is as it was.
    """

    uri: str
    columns: int
    count: int
    height: int
    width: int
    exact: bool


def make_sheet(images: Images, *, exact: bool, quality: int = 80) -> Sheet:
    """Lay images side by side in one picture: WebP, or PNG where Pillow has no WebP or the sheet is too long for it.

    Args:
        images: uint8 (N, H, W, 3).
        exact: keep every pixel, as long as there are at most `LARGEST_EXACT` bytes of them.
        quality: of a sheet that is not exact, 0 to 100.
    """
    count, height, width = images.shape[:3]
    columns = max(1, math.isqrt(max(count - 1, 0)) + 1)
    rows = max(1, -(-count // columns))
    tiles = np.zeros((rows * columns, height, width, 3), np.uint8)
    tiles[:count] = images
    grid = tiles.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)
    exact = exact and images.size <= LARGEST_EXACT
    webp = features.check("webp") and max(grid.shape[:2]) <= LONGEST_SIDE
    data = BytesIO()
    if webp:
        Image.fromarray(grid).save(data, "WEBP", lossless=exact, quality=60 if exact else quality, method=4)
    else:
        Image.fromarray(grid).save(data, "PNG", optimize=True)
    kind = "webp" if webp else "png"
    uri = f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
    return Sheet(uri, columns, count, height, width, exact or not webp)
