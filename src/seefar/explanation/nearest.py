"""The nearest of many vectors by cosine distance, exactly and in little memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seefar.model.inference import true_float32

BLOCK_CELLS = 2**25
"""Numbers in memory at once: 128 MiB of float32."""
SPARE = 8
"""Extra candidates that are compared again in float64: float32 does not order the nearest ones reliably."""


def nearest(
    queries: NDArray[np.float32], bank: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest rows of a bank to each query, by cosine distance (1 minus the cosine of the angle).

    Exact: candidates by a float32 matrix product, ordered by distances in float64; the first of equally distant rows.
    Queries and bank are float32, (N, C) and (M, C); a row of zeros is at distance 1 from everything. Returns positions
    in the bank, int64 (N, count), the nearest first, and distances, float64 (N, count); fewer if the bank has fewer.
    """
    count = min(count, len(bank))
    candidates = min(count + SPARE, len(bank))
    indices = np.empty((len(queries), count), np.int64)
    distances = np.empty((len(queries), count))
    directions = torch.from_numpy(_directions(bank))
    rows = max(1, BLOCK_CELLS // max(1, len(bank), 2 * candidates * bank.shape[1]))
    for start in range(0, len(queries), rows):
        block = queries[start : start + rows]
        with true_float32():
            similarities = torch.from_numpy(_directions(block)) @ directions.T  # (rows, M)
        likely = similarities.topk(candidates).indices.sort().values.numpy()  # in the order of the bank
        exact = 1 - np.einsum("nc,nkc->nk", _directions(block, np.float64), _directions(bank[likely], np.float64))
        order = np.argsort(exact, axis=1, kind="stable")[:, :count]
        indices[start : start + rows] = np.take_along_axis(likely, order, 1)
        distances[start : start + rows] = np.take_along_axis(exact, order, 1)
    return indices, distances.clip(0, 2)


def _directions(vectors: NDArray[np.float32], dtype: type = np.float32) -> NDArray[Any]:
    """The vectors (..., C) scaled to length 1; zeros stay zeros."""
    vectors = vectors.astype(dtype, copy=False)
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    directions: NDArray[Any] = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return directions
