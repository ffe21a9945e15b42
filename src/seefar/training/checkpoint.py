"""The state of an unfinished training in one safetensors file: whole or not there, and it cannot run code."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seefar import processes
from seefar.errors import RecipeError, RunError
from seefar.model.resnet import ResNet18
from seefar.runs.tensors import load_tensors, load_weights, save_tensors
from seefar.training.average import WeightAverage
from seefar.training.recipe import Recipe


@dataclass
class Tally:
    """Loss and right answers since the last logged step and over the epoch; kept on the device, so that no step waits.

    In float64, which counts more images than anybody has; in float32 on MPS, which has no float64.

    Attributes:
        interval: (3,): sum of loss times images, right answers, images, since the last logged step.
        epoch: (3,): the same since the epoch began.
    """

    interval: Tensor
    epoch: Tensor

    @classmethod
    def begin(cls, device: torch.device) -> Tally:
        """Nothing counted yet."""
        dtype = torch.float32 if device.type == "mps" else torch.float64
        return cls(torch.zeros(3, dtype=dtype, device=device), torch.zeros(3, dtype=dtype, device=device))

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Count one batch: its mean loss (), logits (B, K) and labels (B,)."""
        correct = (logits.argmax(1) == labels).sum()
        images = torch.full_like(correct, len(labels))
        batch = torch.stack((loss.detach().to(self.interval.dtype) * len(labels), correct, images))
        self.interval += batch
        self.epoch += batch

    def collect(self) -> None:
        """Add up what the processes of a distributed training have counted; alone nothing."""
        self.interval, self.epoch = processes.total(self.interval), processes.total(self.epoch)

    def keep_on_first(self) -> None:
        """After `collect`, or a checkpoint: the first process goes on from the sums, the others from nothing."""
        if not processes.first():
            self.interval.zero_()
            self.epoch.zero_()


@dataclass
class TrainingState:
    """Everything that a training goes on from.

    Attributes:
        model: the network.
        optimizer: its momentum is part of the state.
        scaler: the loss scaler; it does something in float16 only.
        tally: loss and right answers so far.
        precision: what this sitting computes in, such as `bfloat16`.
        earlier_precision: what the sitting before computed in; None if there was none.
        average: the mean of the weights over the last steps, for recipes that end with it.
        step: steps done, counted over the whole run.
        seconds: time spent in training so far, over all sittings.
        rows: of the history, up to this step; -1 in checkpoints that were written before they were counted.
        training: the recipe as JSON and the fingerprint of the training images, which a checkpoint must be of.
    """

    model: ResNet18
    optimizer: torch.optim.SGD
    scaler: torch.amp.GradScaler
    tally: Tally
    precision: str
    earlier_precision: str | None = None
    average: WeightAverage = field(default_factory=WeightAverage)
    step: int = 0
    seconds: float = 0.0
    rows: int = 0
    training: dict[str, str] = field(default_factory=dict)
    _scaler_at_rest: dict[str, Any] = field(default_factory=dict)  # from a sitting in float16, if this one is not

    def save(self, path: Path) -> None:
        """Write the state into one file; a kill while writing leaves the last checkpoint as it was."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            if (momentum := self.optimizer.state[parameter].get("momentum_buffer")) is not None:
                tensors[f"momentum.{name}"] = momentum
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.weights.items()}
        position = {
            "step": self.step,
            "seconds": self.seconds,
            "interval": self.tally.interval.tolist(),
            "epoch": self.tally.epoch.tolist(),
            "scaler": self.scaler.state_dict() or self._scaler_at_rest,  # empty where it is off
            "precision": self.precision,
            "averaged": self.average.count,
            "rows": self.rows,
            "training": self.training,
        }
        save_tensors(path, tensors, position)

    def load(self, path: Path) -> None:
        """Put the state back as it was saved.

        Raises:
            RunError: the file is damaged or belongs to another training than `training` says.
        """
        tensors, position = load_tensors(path)
        _check_training(path, position.get("training"), self.training)
        weights = {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")}
        load_weights(path, self.model, weights)
        for name, parameter in self.model.named_parameters():
            if f"momentum.{name}" in tensors:
                if tensors[f"momentum.{name}"].shape != parameter.shape:
                    raise RunError(f"{path} holds the momentum of another network: delete it to begin that run anew.")
                momentum = torch.empty_like(parameter).copy_(tensors[f"momentum.{name}"])
                self.optimizer.state[parameter]["momentum_buffer"] = momentum
            if f"average.{name}" in tensors:
                self.average.weights[name] = torch.empty_like(parameter).copy_(tensors[f"average.{name}"])
        try:
            self.step, self.seconds = position["step"], position["seconds"]
            for part, sums in ((self.tally.interval, position["interval"]), (self.tally.epoch, position["epoch"])):
                part.copy_(torch.tensor(sums, dtype=part.dtype))
            self.earlier_precision = position.get("precision")
            self.average.count = position.get("averaged", 0)
            self.rows = int(position.get("rows", -1))
            self._scaler_at_rest = position["scaler"]
            if self._scaler_at_rest and self.scaler.is_enabled():
                self.scaler.load_state_dict(self._scaler_at_rest)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise RunError(
                f"{path} does not say how far its training had come: delete it to begin that run anew."
            ) from error


def _check_training(path: Path, found: object, wanted: dict[str, str]) -> None:
    """Refuse the checkpoint of another training, which may fit a network of the same shape just as well."""
    if not found or not wanted:  # an old one, which does not say
        return
    try:
        assert isinstance(found, dict)
        recipe, saved = Recipe.from_json(wanted["recipe"]), Recipe.from_json(found["recipe"])
        other = recipe.differences(replace(saved, data=recipe.data))  # a folder of pictures may have been moved
    except (AssertionError, KeyError, TypeError, RecipeError) as error:
        raise RunError(f"{path} does not say what it was trained as: delete it to begin that run anew.") from error
    if not other and found.get("data") != wanted["data"]:
        other = "other training images"
    if other:
        raise RunError(
            f"{path} belongs to another training ({other}): put the right one back, or delete it to begin this "
            "training anew."
        )
