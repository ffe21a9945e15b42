"""The mean of the weights over the last steps, and batch norm's statistics to go with it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from seefar.data.batches import AugmentedBatches
from seefar.errors import RunError
from seefar.training.device import Compute

IMAGES = 5_000
"""So many training images are enough for the statistics of batch norm; a pass over all would take a minute more."""


class WeightAverage:
    """Mean of a network's parameters over steps (Izmailov et al. 2018, arXiv 1803.05407).

    Steps of a rate that does not fall to zero move around a better place than any of them ends at.

    Attributes:
        weights: by name; empty before the first step.
        count: steps that are in it.
    """

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}
        self.count = 0

    @torch.no_grad()
    def add(self, model: nn.Module) -> None:
        """Count in the parameters as they are now."""
        self.count += 1
        parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
        if self.count == 1:
            self.weights = {name: parameter.clone() for name, parameter in parameters.items()}
        else:
            means = [self.weights[name] for name in parameters]
            torch._foreach_lerp_(means, list(parameters.values()), 1 / self.count)  # one kernel on a GPU

    @torch.no_grad()
    def put_into(self, model: nn.Module) -> None:
        """Give the network the mean for its parameters; without a step in it nothing changes.

        Raises:
            RunError: it is the mean of another network.
        """
        for name, parameter in model.named_parameters() if self.count else ():
            if name not in self.weights or self.weights[name].shape != parameter.shape:
                raise RunError(f"The average of the weights is that of another network: {name} does not fit.")
            parameter.copy_(self.weights[name])


def renew_statistics(model: nn.Module, dataset: AugmentedBatches, epoch: int, compute: Compute) -> None:
    """Take batch norm's running statistics anew: those of the steps before are of other weights.

    They are the means over batches of augmented training images, of full size as in evaluation; in float32.

    Args:
        model: a network that takes pictures; left in the mode it was in.
        dataset: its first batches, of `IMAGES` images together or all that there are.
        epoch: whose batches.
        compute: where the network lies.
    """
    batches = min(len(dataset), -(-IMAGES // dataset.batch_size))
    update_bn((compute.copy(dataset[epoch, number].images) for number in range(batches)), model)
