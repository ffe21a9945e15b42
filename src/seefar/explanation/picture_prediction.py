"""Prediction of one picture: class, runner-up, contrast map of the two, what hiding the evidence does, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seefar.data.pictures import Picture
from seefar.explanation.health import Health
from seefar.maps.grid import Grid
from seefar.names import HideName, MethodName
from seefar.output import printable


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PicturePrediction:
    """The network's answer for one picture, and what it rests on.

    Attributes:
        file: name of the file.
        picture: the image that the network was given, and how the file was made into it.
        classes: names of the K classes.
        probabilities: float64 (K,), of the classes.
        predicted: the class with the largest logit.
        runner_up: the class with the second largest.
        contrast: float32 (h, w), why the predicted class rather than the runner-up: the difference of the next two.
        predicted_map, runner_up_map: float32 (h, w), map for each of them.
        grid: where the cells of the maps lie over the image.
        hidden: bool (H, W), the pixels that speak most for the predicted class rather than the runner-up: as many as
            make the answer the runner-up; else as many as change it; else the most that were tried.
        method: how the maps were made.
        layer: of which layer; None: of the last stage of the dense twin.
        hide: what took the place of hidden pixels.
        share: share of the pixels that were hidden so.
        evidence: share of the positive part of the contrast map that lies in them.
        hidden_probabilities: float64 (K,), with these pixels hidden.
        control_share: share at which hiding the same mask elsewhere changed the answer too; None if it never did.
        health: how far the contrast map can be trusted.
    """

    file: str
    picture: Picture
    classes: tuple[str, ...]
    probabilities: NDArray[np.float64]
    predicted: int
    runner_up: int
    contrast: NDArray[np.float32]
    predicted_map: NDArray[np.float32]
    runner_up_map: NDArray[np.float32]
    grid: Grid
    hidden: NDArray[np.bool_]
    method: MethodName
    layer: str | None
    hide: HideName
    share: float
    evidence: float
    hidden_probabilities: NDArray[np.float64]
    control_share: float | None
    health: Health

    def __repr__(self) -> str:
        return f"PicturePrediction({printable(self.file)}: {self.describe()})"

    @property
    def hidden_answer(self) -> int:
        """The predicted class with the pixels hidden."""
        return int(self.hidden_probabilities.argmax())

    def describe(self) -> str:
        """Class and runner-up with their probabilities, such as `cat 91.2%, then dog 5.0%`."""
        first, second = (f"{self.classes[c]} {self.probabilities[c]:.1%}" for c in (self.predicted, self.runner_up))
        return f"{first}, then {second}"

    def sentence(self, classes: Sequence[str] | None = None) -> str:
        """What hiding the evidence did, in words.

        Args:
            classes: other names for the K classes, such as shortened ones.
        """
        names = classes or self.classes
        first, second, answer = names[self.predicted], names[self.runner_up], names[self.hidden_answer]
        rows, columns = (np.flatnonzero(self.hidden.any(axis)) for axis in (1, 0))
        falls = f"{first} goes from {self.probabilities[self.predicted]:.0%} to "
        falls += f"{self.hidden_probabilities[self.predicted]:.0%}"
        if self.hidden_answer == self.predicted:
            became = f"does not change the answer: {falls}"
        else:
            became = f"makes the answer {answer} at {self.hidden_probabilities[self.hidden_answer]:.0%}: {falls}"
        control = "never changes it" if self.control_share is None else f"changes it at {self.control_share:.0%}"
        return (
            f"Hiding {self.share:.0%} of the image, between rows {rows[0]} and {rows[-1]} and columns {columns[0]} and "
            f"{columns[-1]}, with {self.evidence:.0%} of what speaks for {first} rather than {second}, {became}; the "
            f"same mask elsewhere {control}."
        )

    def summary(self) -> dict[str, Any]:
        """All but the maps, as plain values for JSON."""
        names, answer = self.classes, self.hidden_answer
        return {
            "file": self.file,
            "class": names[self.predicted],
            "probability": float(self.probabilities[self.predicted]),
            "runner_up": names[self.runner_up],
            "runner_up_probability": float(self.probabilities[self.runner_up]),
            "probabilities": dict(zip(names, self.probabilities.tolist(), strict=True)),
            "original": list(self.picture.original),
            "crop": list(self.picture.crop),
            "notes": list(self.picture.notes),
            "hidden": {
                "by": self.hide,
                "share": self.share,
                "evidence": self.evidence,
                "class": names[answer],
                "probability": float(self.hidden_probabilities[answer]),
                "probability_before": float(self.probabilities[answer]),
                "control_share": self.control_share,
            },
            "map": {
                "method": self.method,
                "layer": self.layer,
                "cells": list(self.contrast.shape),
                **asdict(self.health),
            },
        }
