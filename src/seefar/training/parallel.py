"""Data-parallel training: DistributedDataParallel around one step of a network, and batch norm's statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from seefar import processes


class _Step(nn.Module):
    """What `DistributedDataParallel` wraps: it runs `forward` and nothing else of a module."""

    def __init__(self, model: nn.Module, function: Callable[[Tensor], Tensor], in_order: bool) -> None:
        super().__init__()
        self.model, self.function = model, function
        if in_order:  # torch warns of looking for parameters without a gradient where there are none
            self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(inputs)


def shared(model: nn.Module, function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """`function`, which runs `model`, with gradients that are the mean over all processes.

    Batch norm takes its statistics from a process's own images on the CPU, and from all images on CUDA.

    Args:
        model: its parameters and buffers become those of the first process.
        function: of the network's input, such as `model.classify`.
    """
    if processes.size() == 1:
        return function
    on_cuda = any(parameter.is_cuda for parameter in model.parameters())
    if on_cuda:
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]  # in place, as the model itself is none
    # Else torch adds the gradients up in another order after the first step, so also after the first one of each
    # continuation: with three processes or more that changes the last bits. CUDA has no fixed order anyway.
    in_order = not on_cuda
    step = nn.parallel.DistributedDataParallel(_Step(model, function, in_order), find_unused_parameters=in_order)
    return cast(Callable[[Tensor], Tensor], step)


def even_out(model: nn.Module) -> None:
    """Give each process the running statistics of the first, the only thing in which their networks differ."""
    if processes.size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)
