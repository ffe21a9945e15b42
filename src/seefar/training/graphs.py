"""CUDA graphs: the few hundred kernels of a training step are recorded once, and then started by one call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

WARM_UP = 3
"""Steps of each kind that run unrecorded: in these cuDNN and the optimizer allocate the memory that they keep."""


class RecordedStep:
    """A training step that a GPU records and replays, once for each number of images and each image size.

    A step is a few hundred kernels of a few microseconds each, and starting a kernel takes the host longer than that. A
    recorded step is started by one call (NVIDIA's CUDA graphs, `torch.cuda.CUDAGraph`). The arithmetic is the same.

    Args:
        step: takes images (B, H, W, 3) and labels (B,) on the GPU, and the image size; changes tensors in place, never
            waits for the GPU, and returns nothing.
    """

    def __init__(self, step: Callable[[Tensor, Tensor, int], None]) -> None:
        self._step = step
        self._seen: Counter[tuple[int, int]] = Counter()
        self._recorded: dict[tuple[int, int], tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}
        self._memory: Any = None  # shared: no replay reads what another one left there

    def __call__(self, images: Tensor, labels: Tensor, size: int) -> None:
        """One step."""
        kind = len(labels), size
        self._seen[kind] += 1
        if self._seen[kind] <= WARM_UP:
            self._step(images, labels, size)
            return
        if kind not in self._recorded:
            self._recorded[kind] = self._record(images.clone(), labels.clone(), size)
        graph, own_images, own_labels = self._recorded[kind]
        own_images.copy_(images)
        own_labels.copy_(labels)
        graph.replay()

    def _record(self, images: Tensor, labels: Tensor, size: int) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        """The graph and the tensors that it reads; nothing is computed yet."""
        graph = torch.cuda.CUDAGraph()
        self._memory = self._memory or torch.cuda.graph_pool_handle()
        # thread_local: the thread that copies batches into page-locked memory is not part of it
        with torch.cuda.graph(graph, pool=self._memory, capture_error_mode="thread_local"):
            self._step(images, labels, size)
        return graph, images, labels
