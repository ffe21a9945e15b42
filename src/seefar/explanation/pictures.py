"""Predict pictures of any size and mode: class, runner-up, contrast map of the two, effect of hiding the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from seefar.choices import Fit, HideName, MapChoices, MethodName
from seefar.data.images import ImageSize, slices
from seefar.data.pictures import Picture, Places, read_pictures, unreadable
from seefar.errors import DataError, printable
from seefar.explanation.explain import Explainer, MapSettings, normalise_map_settings, two_best
from seefar.explanation.occlusion import BATCH, Repair
from seefar.maps.grid import Grid
from seefar.maps.sanity import Health
from seefar.model.adapt import Classifier, adapt
from seefar.model.inference import log_softmax
from seefar.progress import Progress, showing


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PicturePrediction:
    """The network's prediction for one picture, and the evidence for it.

    Attributes:
        picture: the image that the network got, and how it was made from the file.
        probabilities: float64 (K,), of the classes.
        predicted, runner_up: the classes with the largest and the second largest logit.
        predicted_map, runner_up_map: float32 (h, w), map for each of them; `contrast` is their difference.
        hidden: bool (H, W), the pixels that the occlusion test hid in the end.
        repair: the effect of hiding them; its true class is the runner-up.
        health: how far the contrast map can be trusted.
        settings: how the maps were computed, and where their cells are in the image.
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
    hidden: NDArray[np.bool_]
    repair: Repair
    health: Health
    settings: MapSettings

    def __repr__(self) -> str:
        return f"PicturePrediction({printable(self.file)}: {self.describe()})"

    def describe(self) -> str:
        """Class and runner-up with their probabilities, such as `cat 91.2%, then dog 5.0%`."""
        first, second = (f"{self.classes[c]} {self.probabilities[c]:.1%}" for c in (self.predicted, self.runner_up))
        return f"{first}, then {second}"

    def sentence(self) -> str:
        """The effect of hiding the evidence, in words."""
        return self.repair.sentence(self.predicted, self.classes)

    def summary(self) -> dict[str, Any]:
        """All but the maps, as plain values for JSON."""
        names, repair = self.classes, self.repair
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
                "by": self.settings.hide,
                "share": repair.share,
                "evidence": repair.evidence,
                "class": names[repair.answer],
                "probability": repair.answer_probability,
                "probability_before": float(self.probabilities[repair.answer]),
                "control_share": repair.control_share,
            },
            "map": {
                "method": self.settings.method,
                "layer": self.settings.layer,
                "cells": list(self.contrast.shape),
                **asdict(self.health),
            },
        }


def predict_pictures(
    model: nn.Module | Classifier,
    pictures: Places,
    classes: Sequence[str],
    image_size: ImageSize = 32,
    fit: Fit = "crop",
    *,
    method: MethodName = "gradcam",
    layer: str | nn.Module | None = None,
    cells: int | None = None,
    hide: HideName = "blur",
    grid: Grid | None = None,
    progress: Progress | None = None,
) -> list[PicturePrediction]:
    """Predict picture files of any size and mode, and explain each prediction against its runner-up. Writes no file.

    The result for a picture does not depend on the others. `pictures` are a file or a folder of files, a picture of
    Pillow or an array, or several of them; see `seefar.data.pictures.read_picture`. `classes`, `image_size` and `fit`
    are those that the network was trained on: the names of the K classes, height and width in pixels, and how pictures
    of another shape are brought to it. `grid` has the positions of the maps' cells, such as the measured ones of an
    `Explanation`; by default they are as far as known. The other arguments are those of `seefar.explain`.

    Raises:
        DataError: some of the files cannot be read, and all of these are named; or the network has other classes.
        ChoiceError: as in `seefar.explain`.

    Examples:
        >>> import numpy as np, seefar
        >>> picture, classes = np.zeros((40, 60, 3), np.uint8), ("cat", "dog", "fox")
        >>> network = seefar.ResNet18(num_classes=3, width=2).eval()
        >>> (found,) = seefar.predict_pictures(network, picture, classes, progress=seefar.SILENT)
        >>> found.contrast.shape, found.picture.crop
        ((8, 8), (10, 0, 50, 40))
    """
    classifier = adapt(model)
    choices = MapChoices(method, None if layer is None else classifier.layer_name(layer), cells, hide)
    settings = normalise_map_settings(classifier, image_size, choices)
    explainer = Explainer(classifier, settings if grid is None else replace(settings, grid=grid))
    with showing(progress) as shown:
        read = read_pictures(pictures, image_size, fit, progress=shown)
        if read.bad:
            raise unreadable(read.bad, len(read.bad) + len(read.names))
        return explain_pictures(explainer, read.names, read.pictures, classes, shown)


def explain_pictures(
    explainer: Explainer,
    names: Sequence[str],
    pictures: Sequence[Picture],
    classes: Sequence[str],
    shown: Progress,
) -> list[PicturePrediction]:
    """The predictions of pictures that are already read; see `predict_pictures`."""
    predictions: list[PicturePrediction] = []
    for rows in slices(len(pictures), BATCH):
        images = np.stack([picture.image for picture in pictures[rows]])
        logits = explainer.logits(images)
        if logits.shape[1] != len(classes):
            raise DataError(
                f"The model returns {logits.shape[1]} logits for an image, but {len(classes)} classes are given: pass "
                "the names of the classes that it was trained on."
            )
        first, second = two_best(logits)
        probabilities = np.exp(log_softmax(logits))
        before = np.take_along_axis(probabilities, np.stack((first, second), axis=1), axis=1)
        # The control mask of index 0 for each, so that the result does not depend on a picture's position.
        index = np.zeros(len(images), np.int64)
        maps, others, hidden, repairs, health = explainer.explain_part(images, (first, second), before, index)
        for i, (name, picture) in enumerate(zip(names[rows], pictures[rows], strict=True)):
            predictions.append(
                PicturePrediction(
                    file=name,
                    picture=picture,
                    classes=tuple(classes),
                    probabilities=probabilities[i],
                    predicted=int(first[i]),
                    runner_up=int(second[i]),
                    contrast=maps[i] - others[i],
                    predicted_map=maps[i],
                    runner_up_map=others[i],
                    hidden=hidden[i],
                    repair=repairs[i],
                    health=health[i],
                    settings=explainer.settings,
                )
            )
        shown.update("explaining pictures", len(predictions), len(pictures))
    return predictions
