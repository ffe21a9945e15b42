"""The dense twin: the same weights, strides replaced by dilation, so that the last stage has finer cells."""

from __future__ import annotations

import copy

from torch import nn

from seefar.errors import MapError
from seefar.model.resnet import STAGES, BasicBlock, ResNet18


def dense_twin(model: ResNet18, doublings: int = 1) -> ResNet18:
    """The network with its last `doublings` strides taken away: 8x8, 16x16 or 32x32 cells for a 32x32 image.

    A convolution that halved its input now keeps every position, and those after it look twice as far apart
    (dilation; Holschneider et al. 1989, Yu & Koltun 2015, arXiv 1511.07122). So every 2 ** doublings-th cell, from
    the first, is computed from the same inputs by the same weights as a cell of the network, and equals it. The cells
    between are what the network would see if its grid were shifted: they are exact activations, but only
    every 2 ** doublings-th cell enters the logits, and the twin's logits are the network's.

    Parameters and buffers are shared, not copied: training the network trains the twin.

    Args:
        model: the network; it is left as it is.
        doublings: 1, 2 or 3 strides taken away, from the last stage upwards; 0 gives the network's own cells.

    Raises:
        MapError: `doublings` is not 0 to 3.

    Example:
        >>> import torch
        >>> net = ResNet18(num_classes=10, width=2).eval()
        >>> inputs = torch.zeros(1, 3, 32, 32)
        >>> net.features(inputs).shape[2:], dense_twin(net).features(inputs).shape[2:]
        (torch.Size([4, 4]), torch.Size([8, 8]))
    """
    if doublings not in range(4):
        raise MapError(f"{doublings} strides cannot be taken away: the network has three, pass 0 to 3.")
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    twin = copy.deepcopy(model, shared)  # what is in the memo is not copied
    dilation = 1
    for stage in STAGES[len(STAGES) - doublings :]:
        first, second = (block for block in twin.get_submodule(stage).modules() if isinstance(block, BasicBlock))
        first.conv1.stride = (1, 1)
        _dilate(first.conv1, dilation)
        shortcut = first.get_submodule("downsample.0")
        assert isinstance(shortcut, nn.Conv2d)
        shortcut.stride = (1, 1)
        dilation *= 2
        for convolution in (first.conv2, second.conv1, second.conv2):
            _dilate(convolution, dilation)
    twin.cell_stride = dilation
    return twin


def _dilate(convolution: nn.Conv2d, dilation: int) -> None:
    convolution.dilation = convolution.padding = (dilation, dilation)
