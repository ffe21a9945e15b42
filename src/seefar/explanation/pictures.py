"""Predict pictures of any size and mode: class, runner-up, contrast map of the two, what hiding the evidence does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from seefar.data.images import Images, Labels
from seefar.data.pictures import Picture, Places, read_pictures, unreadable
from seefar.errors import DataError
from seefar.explanation.explain import PairOfMaps, answers, check_hide, check_map_settings, layer_name, parts
from seefar.explanation.health import Health, check_health
from seefar.explanation.occlusion import occlude
from seefar.maps.capture import original
from seefar.maps.grid import Grid, grid_of
from seefar.maps.sanity import evidence_inside, randomized
from seefar.model.inference import log_softmax
from seefar.names import HideName, MethodName
from seefar.output import printable
from seefar.progress import Progress, showing


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


def predict_pictures(
    model: nn.Module,
    pictures: Places,
    classes: Sequence[str],
    image_size: int = 32,
    *,
    method: MethodName = "gradcam",
    layer: str | nn.Module | None = None,
    cells: int | None = None,
    hide: HideName = "blur",
    grid: Grid | None = None,
    progress: Progress | None = None,
) -> list[PicturePrediction]:
    """Predict picture files of any size and mode, and explain each answer against its runner-up. Writes nothing.

    What is found for a picture does not depend on the others.

    Args:
        model: as in `seefar.explain`, such as `run.model`.
        pictures: a file or a folder of files, or several of them; see `seefar.data.pictures.read_picture`.
        classes: names of the K classes, such as `run.classes`.
        image_size: height and width in pixels that the network was trained on, such as `run.image_size`.
        method: as in `seefar.explain`, like layer, cells and hide.
        layer: which layer.
        cells: how fine.
        hide: what takes the place of hidden pixels.
        grid: where the cells of the maps lie, such as `grid` of the network's `seefar.Explanation`, which was measured.
            Default: as the network's form says.
        progress: see `seefar.progress`.

    Raises:
        DataError: some of the files cannot be read, and all of these are named; or the network has other classes.
        MapError: as in `seefar.explain`.

    Example:
        >>> import tempfile
        >>> import seefar
        >>> from PIL import Image
        >>> file = tempfile.mkdtemp() + "/red.png"
        >>> Image.new("RGB", (60, 40), "red").save(file)
        >>> classes = ("cat", "dog", "fox")
        >>> net = seefar.ResNet18(num_classes=3, width=2).eval()
        >>> (found,) = seefar.predict_pictures(net, file, classes, progress=seefar.SILENT)
        >>> found.contrast.shape, found.picture.crop, found.classes[found.predicted] in classes
        ((8, 8), (10, 0, 50, 40), True)
    """
    pair, how = PairOfMaps(method, layer_name(model, layer), cells), hide
    by_form = checked_grid(model, image_size, pair, how)
    with showing(progress) as shown:
        read = read_pictures(pictures, image_size, shown)
        if read.bad:
            raise unreadable(read.bad, len(read.bad) + len(read.names))
        return explain_pictures(model, read.names, read.pictures, classes, pair, how, grid or by_form, shown)


def checked_grid(model: nn.Module, image_size: int, pair: PairOfMaps, hide: HideName) -> Grid:
    """Where the cells of such maps lie as the network's form says; before any picture is read.

    Raises:
        MapError: no such maps can be made, or there is no such way of hiding.
    """
    check_hide(hide)
    shape = check_map_settings(model, image_size, pair.method, pair.layer, pair.cells)
    return grid_of(original(model), shape, (image_size, image_size))


def explain_pictures(
    model: nn.Module,
    names: Sequence[str],
    pictures: Sequence[Picture],
    classes: Sequence[str],
    pair: PairOfMaps,
    hide: HideName,
    grid: Grid,
    shown: Progress,
) -> list[PicturePrediction]:
    """The predictions of pictures that are read already, with settings that are checked: see `predict_pictures`."""
    if not pictures:
        return []
    images = np.stack([picture.image for picture in pictures])
    network = original(model)
    *_, (_, with_random_weights) = randomized(network)
    found: list[PicturePrediction] = []
    for rows in parts(len(pictures)):
        some = images[rows]
        logits = answers(network)(some)
        if logits.shape[1] != len(classes):
            raise DataError(
                f"The model gives {logits.shape[1]} logits for an image, {len(classes)} classes are named: pass the "
                "names of the classes that it was trained on."
            )
        order = np.argsort(-logits, axis=1, kind="stable")
        facts = _explain(network, with_random_weights, some, order[:, 0], order[:, 1], pair, hide, grid)
        probabilities = np.exp(log_softmax(logits))
        for number, (own, name, picture) in enumerate(zip(facts, names[rows], pictures[rows], strict=True)):
            found.append(
                PicturePrediction(
                    file=name,
                    picture=picture,
                    classes=tuple(classes),
                    probabilities=probabilities[number],
                    predicted=int(order[number, 0]),
                    runner_up=int(order[number, 1]),
                    grid=grid,
                    method=pair.method,
                    layer=pair.layer,
                    hide=hide,
                    **own,
                )
            )
        shown.update("explaining pictures", rows.stop, len(pictures))
    return found


def _explain(
    network: nn.Module,
    with_random_weights: nn.Module,
    images: Images,
    first: Labels,
    second: Labels,
    pair: PairOfMaps,
    hide: HideName,
    grid: Grid,
) -> list[dict[str, Any]]:
    """Maps, occlusion test and badge of each image."""

    def maps_of(network: nn.Module, images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return pair(network, images, first, second, lambda _: None)

    of_first, of_second = maps_of(network, images)
    contrast = of_first - of_second
    # The same control step for each, so that the result for a picture does not depend on its place among them.
    index = np.zeros(len(images), np.int64)
    occlusion = occlude(answers(network), images, first, second, contrast, grid, hide, index=index)
    top, control = occlusion.top, occlusion.shifted
    mirrored = np.subtract(*maps_of(network, images[:, :, ::-1]))
    random = np.subtract(*maps_of(with_random_weights, images))
    health = check_health(contrast, mirrored, random, occlusion, grid)
    evidence = evidence_inside(contrast, top.pixels, grid)
    after = np.exp(log_softmax(top.logits))
    return [
        {
            "contrast": contrast[i],
            "predicted_map": of_first[i],
            "runner_up_map": of_second[i],
            "hidden": top.pixels[i],
            "share": float(top.share[i]),
            "evidence": float(evidence[i]),
            "hidden_probabilities": after[i],
            "control_share": float(control.first_change[i]) if control.changed[i] else None,
            "health": health[i],
        }
        for i in range(len(images))
    ]
