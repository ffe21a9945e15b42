"""Explain mistakes: maps of both classes and their contrast, occlusion test, health badges; saved without pickle.

The two classes of a mistake are the predicted and the true one; those of a picture without a label are the predicted
one and the runner-up.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from seefar.choices import HideName, MapChoices, MethodName
from seefar.data.images import Images, Labels, Split, both, slices
from seefar.errors import DataError, RunError, counted, require
from seefar.evaluation.mistakes import Mistake, find_mistakes
from seefar.evaluation.predictions import Predictions
from seefar.explanation.occlusion import (
    BATCH,
    Pixels,
    Repair,
    RepairRates,
    find_repairs,
    occlude,
    occlude_progressively,
    repair_rates,
)
from seefar.maps.formulas import METHODS, class_maps, default_cells, gradcam, grid_of
from seefar.maps.grid import Grid, Maps, rank_pixels, to_pixels
from seefar.maps.sanity import MOST_MAPS, Health, check_health, find_origin, randomize
from seefar.model.adapt import Classifier, adapt
from seefar.progress import Progress, showing
from seefar.runs.arrays import load_arrays, save_arrays
from seefar.runs.files import parse_json
from seefar.seeds import Stream

PART_PIXELS = 12 * BATCH * 32 * 32
"""Pixels of the mistakes that are explained together: batches are full, and large pictures do not fill the memory."""

Classes = tuple[Labels, Labels]
"""Two classes for each of n images, int64 (n,) each: the predicted one and the one it is contrasted with."""


ARRAYS = ("contrast", "predicted", "true", "hidden")
"""Attributes with a row for each mistake."""
TABLES = ("mistakes", "repairs", "health")
"""Attributes with an entry for each mistake."""
_PLAIN = ("classes", "method", "layer", "cells", "hide", "model", "images")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Explanation:
    """Maps, occlusion test and health badges of M mistakes, highest loss first.

    Attributes:
        predicted, true: float32 (M, h, w), maps for either class; `contrast` is their difference.
        hidden: bool (M, H, W), the pixels that the occlusion test hid in the end.
        repairs: the effect of hiding them, one entry a mistake.
        health: how far each contrast map can be trusted.
        grid: positions of the maps' cells in the images.
        method, layer, cells, hide: the settings, see `MapSettings` and `seefar.explain`.
        damaged: bool (R,), for each of R correct predictions whether hiding the evidence for it changed it. Empty until
            all mistakes of the predictions are explained.
        model, images: fingerprints of the weights, and of the images and labels, as in the predictions.
    """

    mistakes: list[Mistake]
    classes: tuple[str, ...]
    contrast: Maps
    predicted: Maps
    true: Maps
    hidden: Pixels
    repairs: list[Repair]
    health: list[Health]
    grid: Grid
    method: MethodName
    layer: str | None
    cells: int | None
    hide: HideName
    damaged: NDArray[np.bool_]
    model: str
    images: str

    def __len__(self) -> int:
        return len(self.mistakes)

    def __repr__(self) -> str:
        height, width = self.contrast.shape[1:]
        return f"Explanation({counted(len(self), 'mistake')}, {self.method}, {height}x{width} cells)"

    @property
    def rates(self) -> RepairRates:
        """The rate of repaired mistakes, with the rates of the two controls and the damage rate."""
        return repair_rates(self.repairs, self.damaged)

    def of(self, mistakes: Sequence[Mistake]) -> Explanation:
        """The same for some of the mistakes, in their order; a `RunError` if one of them is not explained here."""
        row_of = {mistake.index: number for number, mistake in enumerate(self.mistakes)}
        missing = [mistake.index for mistake in mistakes if mistake.index not in row_of]
        if missing:
            raise RunError(
                f"Test image {missing[0]} is not among the {len(self)} mistakes of this explanation: pass it to "
                "seefar.explain."
            )
        rows = np.array([row_of[mistake.index] for mistake in mistakes], dtype=np.int64)
        parts: dict[str, Any] = {name: getattr(self, name)[rows] for name in ARRAYS}
        parts |= {name: [getattr(self, name)[row] for row in rows] for name in TABLES}
        return replace(self, **parts)

    def summary(self) -> dict[str, Any]:
        """Settings, grid and rates, as plain values for JSON."""
        return {
            "method": self.method,
            "layer": self.layer,
            "cells": list(self.contrast.shape[1:]),
            "grid": {"spacing": self.grid.spacing, "origin": self.grid.origin},
            "hide": self.hide,
            "occlusion": asdict(self.rates),
        }

    def save(self, path: str | Path) -> None:
        """Write one `.npz` of plain arrays, from which `load` restores the same.

        Mistakes, repairs, health badges and settings are JSON in UTF-8, the array `about`.
        """
        values = {name: getattr(self, name) for name in _PLAIN}
        values["grid"] = asdict(self.grid)
        values.update({name: [asdict(row) for row in getattr(self, name)] for name in TABLES})
        arrays = {name: getattr(self, name) for name in (*ARRAYS, "damaged")}
        arrays["index"] = np.array([mistake.index for mistake in self.mistakes], dtype=np.int64)
        arrays["about"] = np.frombuffer(json.dumps(values).encode(), dtype=np.uint8)
        save_arrays(path, arrays)

    @classmethod
    def load(cls, path: str | Path) -> Explanation:
        """Read what `save` wrote; a `RunError` if the file is missing or damaged."""
        arrays: dict[str, Any] = load_arrays(path, (*ARRAYS, "damaged", "about"))
        values = parse_json(arrays.pop("about").tobytes())
        values["classes"] = tuple(values["classes"])
        values["grid"] = Grid(**{**values["grid"], "cells": tuple(values["grid"]["cells"])})
        values["mistakes"] = [Mistake(**row) for row in values["mistakes"]]
        values["repairs"] = [Repair(**{**row, "box": tuple(row["box"])}) for row in values["repairs"]]
        values["health"] = [Health(row["badge"], tuple(row["reasons"])) for row in values["health"]]
        return cls(**arrays, **values)


@dataclass(frozen=True)
class MapSettings(MapChoices):
    """How mistakes are explained, normalised: equal settings have one form.

    `cells` is None for the default number, and `layer` for the last stage of the dense twin.

    Attributes:
        grid: positions of the cells, as far as they are known.
        batch: least number of images that the network runs on, see `Explainer`; 1 is fastest for a single image.
    """

    grid: Grid = field(kw_only=True)
    batch: int = field(default=BATCH, kw_only=True)


def normalise_map_settings(
    model: nn.Module | Classifier,
    image_size: int | tuple[int, int],
    choices: MapChoices | None = None,
    *,
    force: bool = False,
) -> MapSettings:
    """Check that a model can be explained with these choices, and normalise them; takes the time of one map.

    Weights and width of the model do not matter. A `ChoiceError` if there is no such layer or number of cells, or
    without `force` if the maps are too coarse to show regions.
    """
    choices = choices or MapChoices()
    classifier, (height, width) = adapt(model), both(image_size)
    layer = classifier.map_layer(choices.layer, (3, height, width))
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    classifier.check_repeats(image)
    rows, columns = gradcam(classifier, image, 0, layer, cells=choices.cells, force=force).shape[1:]
    stem_stride = getattr(classifier.network, "stem_stride", 1)
    is_default = layer is None and choices.cells == default_cells((height, width), stem_stride)
    cells = None if is_default else choices.cells
    grid = grid_of(classifier, (rows, columns), (height, width))
    return MapSettings(choices.method, layer, cells, choices.hide, grid=grid)


@dataclass(frozen=True, eq=False)
class Explainer:
    """Explains why a network predicts one class rather than another.

    The network runs on full batches of `BATCH` images, filled up with copies of the last one: the last bits of its
    numbers for an image can depend on how many images are in the batch, but not on which.
    """

    classifier: Classifier
    settings: MapSettings

    @cached_property
    def with_random_weights(self) -> Explainer:
        """The same for the network with random weights throughout."""
        return replace(self, classifier=randomize(self.classifier))

    def logits(self, images: Images) -> NDArray[np.float32]:
        """Logits, (n, K), of at most `BATCH` images."""
        return self.classifier.logits(fill(images, self.settings.batch))[: len(images)]

    def two_maps(self, images: Images, classes: Classes) -> tuple[Maps, Maps]:
        """Maps of two classes for each of n images, float32 (n, h, w) each, from full batches."""
        chosen = self.settings
        parts = [np.zeros((2, 0, *chosen.grid.cells), np.float32)]  # not every network takes an empty batch
        for rows in slices(len(images), BATCH):
            stored, *both_classes = (fill(part[rows], chosen.batch) for part in (images, *classes))
            if chosen.layer is None and chosen.method in ("gradcam", "hirescam"):
                # The same maps, from one forward pass.
                all_maps = class_maps(self.classifier, stored, chosen.cells, force=True)
                maps = [all_maps.of(of) for of in both_classes]
            else:
                places = {"layer": chosen.layer, "cells": chosen.cells, "force": True}
                maps = [METHODS[chosen.method](self.classifier, stored, of, **places) for of in both_classes]
            parts.append(np.stack(maps)[:, : len(images[rows])])
        first, second = np.concatenate(parts, axis=1)
        return first, second

    def contrast(self, images: Images, classes: Classes) -> Maps:
        """The difference of the two maps."""
        first, second = self.two_maps(images, classes)
        return first - second

    def three_maps(self, images: Images, classes: Classes) -> Maps:
        """The two maps, and the contrast map of the mirrored image, float32 (3, n, h, w)."""
        return np.stack((*self.two_maps(images, classes), self.contrast(images[:, :, ::-1], classes)))

    def explain_part(
        self,
        images: Images,
        classes: Classes,
        before: NDArray[np.float64],
        index: NDArray[np.int64],
        masks: Pixels | None = None,
        maps: Maps | None = None,
    ) -> tuple[Maps, Maps, Pixels, list[Repair], list[Health]]:
        """Explain why the first class rather than the second, for n images, uint8 (n, H, W, 3).

        The two maps, float32 (n, h, w); the pixels that the occlusion test hid in the end, bool (n, H, W); the effect
        of hiding them; and how far the difference of the maps can be trusted.

        `before` are the probabilities of the two classes, float64 (n, 2); `index`, int64 (n,), the data set indices
        from which control masks are drawn; `masks` the pixels that decide, bool (n, H, W), where the data set has them;
        `maps` what `three_maps` gives, if it is known already.
        """
        first, second, mirrored = self.three_maps(images, classes) if maps is None else maps
        contrast, grid, how = first - second, self.settings.grid, self.settings.hide
        occlusion = occlude(self.logits, images, *classes, contrast, grid=grid, how=how, index=index)
        repairs = find_repairs(occlusion, *classes, before, contrast, grid=grid)
        random = self.with_random_weights.contrast(images, classes)
        changes = occlusion.top.first_change, occlusion.shifted.first_change
        size = images.shape[1], images.shape[2]
        health = check_health(contrast, mirrored, random, changes, image_size=size, grid=grid, masks=masks)
        return first, second, occlusion.top.pixels, repairs, health


def two_best(logits: NDArray[np.float32]) -> Classes:
    """The class with the largest logit, the first of several as in `argmax`, and the next class; logits (n, K)."""
    first, second = np.argsort(-logits, axis=1, kind="stable")[:, :2].T
    return first, second


def fill(rows: NDArray[Any], batch: int) -> NDArray[Any]:
    """The rows, and the last one repeated until there are a batch of them."""
    return np.concatenate((rows, np.repeat(rows[-1:], max(batch - len(rows), 0), axis=0)))


# ---- Mistakes ----

CORRECT_PREDICTIONS = 300
"""The most correct predictions that are tested for the damage rate: enough for an interval of 6 points either way."""


def explain(
    model: nn.Module | Classifier,
    split: Split,
    predictions: Predictions,
    mistakes: Sequence[Mistake] | None = None,
    *,
    method: MethodName = "gradcam",
    layer: str | nn.Module | None = None,
    cells: int | None = None,
    hide: HideName = "blur",
    force: bool = False,
    progress: Progress | None = None,
) -> Explanation:
    """Explain mistakes: maps of both classes and their contrast, the occlusion test, health badges. Writes no file.

    The explanation has the highest loss first.

    Args:
        model: a `ResNet18`, or anything that `seefar.adapt` takes or returns.
        split: the images.
        predictions: of this model on this split, see `seefar.predict`.
        mistakes: which to explain, see `seefar.find_mistakes`; default: all.
        method: the class activation map to compute.
        layer: see `seefar.gradcam`, like the next.
        cells: cells on a side of the default layer of a `ResNet18`.
        hide: what replaces hidden pixels: their blurred surroundings, grey, or the image's mean.
        force: also explain by maps of 5x5 cells or fewer.
        progress: see `seefar.progress`.

    Raises:
        DataError: the predictions are of another model or other images, or one of the mistakes is none of theirs.
        ChoiceError: there is no such method or layer, or its maps are too coarse.

    Examples:
        >>> import seefar
        >>> from seefar.data.shapes import load_shapes
        >>> network, test = seefar.ResNet18(width=2).eval(), load_shapes(train=20, test=12).test
        >>> predictions = seefar.predict(network, test, progress=seefar.SILENT)
        >>> seefar.explain(network, test, predictions, layer="layer2", progress=seefar.SILENT).contrast.shape[1:]
        (16, 16)
    """
    require(split, Split, "split", "one of images and labels, such as data.test")
    require(predictions, Predictions, "predictions", "those of seefar.predict, or evaluation.predictions")
    for mistake in mistakes or ():
        require(mistake, Mistake, "each mistake", "some of seefar.find_mistakes(predictions)")
    classifier = adapt(model)
    size = split.images.shape[1], split.images.shape[2]
    choices = MapChoices(method, None if layer is None else classifier.layer_name(layer), cells, hide)
    settings = normalise_map_settings(classifier, size, choices, force=force)
    parts = explain_in_parts(classifier, split, predictions, mistakes, settings=settings, progress=progress)
    return deque(parts, maxlen=1).pop()  # the last one; a list would hold them all


def explain_in_parts(
    model: nn.Module | Classifier,
    split: Split,
    predictions: Predictions,
    mistakes: Sequence[Mistake] | None = None,
    *,
    settings: MapSettings,
    known: Explanation | None = None,
    progress: Progress | None = None,
) -> Iterator[Explanation]:
    """`explain` in parts: yields the explanation so far, to be saved, and passed as `known` after a crash.

    `known` is an explanation of the same predictions with the same settings. Its mistakes are not explained again, and
    the result, the last part, is bitwise that of one call. The mistakes are explained in the order that is passed, with
    settings of `normalise_map_settings` for this model and the size of these images. Arguments and errors as `explain`.
    """
    classifier = adapt(model)
    if not predictions.are_for(split) or predictions.model != classifier.fingerprint:
        raise DataError(
            "These predictions are from other weights or images than the model and the split that were passed: compute "
            "them with seefar.predict(model, split)."
        )
    ranked = find_mistakes(predictions)
    todo = _not_yet_known(ranked, mistakes, known)
    with showing(progress) as shown:
        explainer = Explainer(classifier, settings)
        grid, maps = _measure_grid(explainer, split, ranked, shown) if known is None else (known.grid, {})
        explainer = replace(explainer, settings=replace(settings, grid=grid))
        explanation = _explain_part(explainer, split, predictions, [], maps) if known is None else known
        for rows in _parts(len(todo), split):
            more = _explain_part(explainer, split, predictions, todo[rows], maps)
            explanation = _join(explanation, more, ranked)
            shown.update("explaining mistakes", len(explanation) - len(known or ()), len(todo))
            yield explanation
        if ranked and len(explanation) == len(ranked) and not len(explanation.damaged):
            count = min(len(ranked), CORRECT_PREDICTIONS)
            damaged = _measure_damage(explainer, split, predictions, count, shown)
            explanation = replace(explanation, damaged=damaged)
        yield explanation


def _explain_part(
    explainer: Explainer, split: Split, predictions: Predictions, mistakes: list[Mistake], maps: dict[int, Maps]
) -> Explanation:
    """The explanation of mistakes that are explained together, in their order; `maps` see `_three_maps`."""
    index, classes = _arrays_of(mistakes)
    before = np.array([(mistake.confidence, mistake.true_probability) for mistake in mistakes]).reshape(-1, 2)
    masks = None if split.masks is None else split.masks[index]
    three = _three_maps(explainer, split, mistakes, maps)
    explained = explainer.explain_part(split.images[index], classes, before, index, masks, three)
    predicted, true, hidden, repairs, health = explained
    settings = explainer.settings
    return Explanation(
        mistakes=mistakes,
        classes=split.classes,
        contrast=predicted - true,
        predicted=predicted,
        true=true,
        hidden=hidden,
        repairs=repairs,
        health=health,
        grid=settings.grid,
        method=settings.method,
        layer=settings.layer,
        cells=settings.cells,
        hide=settings.hide,
        damaged=np.zeros(0, dtype=bool),
        model=predictions.model,
        images=predictions.images,
    )


def _measure_damage(
    explainer: Explainer, split: Split, predictions: Predictions, count: int, shown: Progress
) -> NDArray[np.bool_]:
    """Whether hiding the evidence changes each of at most `count` correct predictions, bool (R,)."""
    correct = np.flatnonzero(predictions.predicted == predictions.labels)
    chosen = np.sort(np.random.default_rng(Stream.RIGHT_ANSWERS).permutation(correct)[:count])
    damaged = [np.zeros(0, dtype=bool)]
    for rows in _parts(len(chosen), split):
        index = chosen[rows]
        images, labels = split.images[index], predictions.labels[index]
        _, runner_up = two_best(predictions.logits[index])
        margin = explainer.contrast(images, (labels, runner_up))
        ranks = rank_pixels(to_pixels(margin, (images.shape[1], images.shape[2]), explainer.settings.grid))
        trial = occlude_progressively(explainer.logits, images, labels, ranks, how=explainer.settings.hide)
        damaged.append(trial.changed)
        shown.update("occlusion test of correct predictions", sum(map(len, damaged)), len(chosen))
    return np.concatenate(damaged)


def _parts(count: int, split: Split) -> list[slice]:
    """All of `count` images, as many at a time as are explained together."""
    height, width = split.images.shape[1:3]
    return slices(count, max(BATCH, PART_PIXELS // (height * width)))


def _arrays_of(mistakes: list[Mistake]) -> tuple[NDArray[np.int64], Classes]:
    """Data set indices, predicted and true classes of n mistakes, int64 (n,) each."""
    names = ("index", "predicted", "true")
    index, *classes = (np.array([getattr(mistake, name) for mistake in mistakes], np.int64) for name in names)
    return index, (classes[0], classes[1])


def _three_maps(explainer: Explainer, split: Split, mistakes: list[Mistake], maps: dict[int, Maps]) -> Maps:
    """`Explainer.three_maps` of mistakes; those in `maps`, (3, h, w) by index, are not computed again."""
    index, classes = _arrays_of([mistake for mistake in mistakes if mistake.index not in maps])
    new = explainer.three_maps(split.images[index], classes)
    maps = {**maps, **dict(zip(index.tolist(), new.swapaxes(0, 1), strict=True))}
    return np.stack([maps[mistake.index] for mistake in mistakes], axis=1) if mistakes else new


def _measure_grid(
    explainer: Explainer, split: Split, ranked: list[Mistake], shown: Progress
) -> tuple[Grid, dict[int, Maps]]:
    """Where the cells are: measured for the dense twin, on the mistakes of highest loss; and the maps of these."""
    maps: dict[int, Maps] = {}
    if explainer.settings.layer is not None or not ranked:
        return explainer.settings.grid, maps
    measured = ranked[:MOST_MAPS]
    for rows in _parts(len(measured), split):
        index, classes = _arrays_of(measured[rows])
        new = explainer.three_maps(split.images[index], classes)
        maps.update(zip(index.tolist(), new.swapaxes(0, 1), strict=True))
        shown.update("measuring the positions of cells", len(maps), len(measured))
    first, second, mirrored = _three_maps(explainer, split, measured, maps)
    size = split.images.shape[1], split.images.shape[2]
    return find_origin(first - second, mirrored, size, explainer.settings.grid), maps


def _not_yet_known(
    ranked: list[Mistake], mistakes: Sequence[Mistake] | None, known: Explanation | None
) -> list[Mistake]:
    """These mistakes, or all, without those that are explained already; each once."""
    by_index = {mistake.index: mistake for mistake in ranked}
    wanted = list(by_index) if mistakes is None else [mistake.index for mistake in mistakes]
    for index in wanted:
        if index not in by_index:
            raise DataError(
                f"Test image {index} is not a mistake of these predictions: pass mistakes that "
                "seefar.find_mistakes(predictions) returns."
            )
    explained = set() if known is None else {mistake.index for mistake in known.mistakes}
    return [by_index[index] for index in dict.fromkeys(wanted) if index not in explained]


def _join(first: Explanation, second: Explanation, ranked: list[Mistake]) -> Explanation:
    """Two explanations of different mistakes as one, highest loss first."""
    parts: dict[str, Any] = {name: np.concatenate((getattr(first, name), getattr(second, name))) for name in ARRAYS}
    parts |= {name: getattr(first, name) + getattr(second, name) for name in TABLES}
    joined = replace(first, **parts)
    rank = {mistake.index: number for number, mistake in enumerate(ranked)}
    return joined.of(sorted(joined.mistakes, key=lambda mistake: rank[mistake.index]))
