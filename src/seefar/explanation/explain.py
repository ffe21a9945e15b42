"""Explain mistakes: maps of both classes and their contrast, occlusion test, health badges.

`explain` checks its input, measures where the cells of the maps are, explains the mistakes in batches (see
`seefar.explanation.explainer`), and measures how often hiding the evidence breaks correct predictions.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from seefar.choices import MapChoices
from seefar.data.images import Split
from seefar.errors import DataError, MapError, RunError
from seefar.evaluation.mistakes import Mistake, find_mistakes
from seefar.evaluation.predictions import Predictions
from seefar.explanation.explainer import (
    BATCH,
    Classes,
    ExplainedBatch,
    Explainer,
    MapSettings,
    layer_name,
    normalise_map_settings,
)
from seefar.explanation.health import Health
from seefar.explanation.occlusion import (
    Pixels,
    Repair,
    RepairRates,
    occlude_progressively,
    repair_rates,
)
from seefar.maps.capture import logits_of, original
from seefar.maps.grid import Grid, Maps, rank_pixels, to_pixels
from seefar.maps.sanity import BLOCK, MOST_MAPS, find_origin
from seefar.model.inference import weights_fingerprint
from seefar.names import HideName, MethodName
from seefar.progress import Progress, showing
from seefar.runs.arrays import load_arrays, save_arrays
from seefar.runs.files import parse_json
from seefar.seeds import Stream

CORRECT_PREDICTIONS = 300
"""At most this many correct predictions are tested for the damage rate: enough for 6 points either way."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Explanation:
    """Maps, occlusion test and health badges of M mistakes.

    Attributes:
        mistakes: the M mistakes, highest loss first.
        classes: names of the K classes.
        contrast: float32 (M, h, w), why the predicted rather than the true class: the difference of the next two.
        predicted: float32 (M, h, w), map for the predicted class.
        true: float32 (M, h, w), map for the true class.
        hidden: bool (M, H, W), the pixels that the occlusion test hid in the end.
        repairs: the effect of hiding them, one entry a mistake.
        health: how far each contrast map can be trusted.
        grid: positions of the maps' cells in the images.
        method, layer, cells, hide: the settings, see `MapSettings` and `seefar.explain`.
        damaged: bool (R,), for each of R correct predictions whether hiding the evidence for it changed it. Empty until
            all mistakes of the predictions are explained.
        model: fingerprint of the weights, as in the predictions.
        images: fingerprint of the images and labels, likewise.
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
        repaired = sum(repair.outcome == "repaired" for repair in self.repairs)
        return f"Explanation({len(self)} mistakes, {self.method}, {height}x{width} cells, {repaired} repaired)"

    @property
    def rates(self) -> RepairRates:
        """How often hiding the evidence repaired the M mistakes, beside the two controls and the damage."""
        return repair_rates(self.repairs, self.damaged)

    @property
    def cell_stride(self) -> int:
        """Every how many-th cell of a map, in each direction, enters the logits."""
        return 1 if self.layer is not None else round(BLOCK / self.grid.spacing)

    def of(self, mistakes: Sequence[Mistake]) -> Explanation:
        """The same for some of the mistakes, in their order; its rates are of these.

        Raises:
            RunError: one of them is not explained here.
        """
        row_of = {mistake.index: number for number, mistake in enumerate(self.mistakes)}
        missing = [mistake.index for mistake in mistakes if mistake.index not in row_of]
        if missing:
            raise RunError(
                f"Test image {missing[0]} is not among the {len(self)} mistakes of this explanation: pass it to "
                "seefar.explain, with this explanation as known."
            )
        chosen = [row_of[mistake.index] for mistake in mistakes]
        rows = np.array(chosen, dtype=np.int64)
        return replace(
            self,
            mistakes=[self.mistakes[number] for number in chosen],
            contrast=self.contrast[rows],
            predicted=self.predicted[rows],
            true=self.true[rows],
            hidden=self.hidden[rows],
            repairs=[self.repairs[number] for number in chosen],
            health=[self.health[number] for number in chosen],
        )

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
        """Write one `.npz` of plain arrays, from which `load` restores exactly the same.

        `index`, `contrast`, `predicted`, `true`, `hidden` and `damaged` are arrays; `about` is the rest, as JSON in
        UTF-8 bytes.
        """
        about = {name: getattr(self, name) for name in _PLAIN}
        about["grid"] = asdict(self.grid)
        about.update({name: [asdict(one) for one in getattr(self, name)] for name in _TABLES})
        arrays = {name: getattr(self, name) for name in _FORM if name not in ("index", "about")}
        arrays["index"] = np.array([mistake.index for mistake in self.mistakes], dtype=np.int64)
        arrays["about"] = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
        save_arrays(path, arrays)

    @classmethod
    def load(cls, path: str | Path) -> Explanation:
        """Read what `save` wrote.

        Raises:
            RunError: the file is missing, damaged, or not an explanation.
        """
        arrays: dict[str, Any] = load_arrays(path, _FORM)
        del arrays["index"]
        try:
            about = parse_json(arrays.pop("about").tobytes())
            about["classes"] = tuple(about["classes"])
            about["grid"] = Grid(**{**about["grid"], "cells": tuple(about["grid"]["cells"])})
            about["mistakes"] = [Mistake(**row) for row in about["mistakes"]]
            about["repairs"] = [Repair(**{**row, "box": tuple(row["box"])}) for row in about["repairs"]]
            about["health"] = [Health(row["badge"], tuple(row["reasons"])) for row in about["health"]]
            return cls(**arrays, **about)
        except (ValueError, TypeError, KeyError) as error:
            raise RunError(f"{path} cannot be read ({error}): delete it and explain the mistakes again.") from error


_TABLES = ("mistakes", "repairs", "health")
_PLAIN = ("classes", "method", "layer", "cells", "hide", "model", "images")
_FORM: dict[str, tuple[str, tuple[int | str, ...]]] = {
    "index": ("int64", ("M",)),
    "contrast": ("float32", ("M", "h", "w")),
    "predicted": ("float32", ("M", "h", "w")),
    "true": ("float32", ("M", "h", "w")),
    "hidden": ("bool", ("M", "H", "W")),
    "damaged": ("bool", ("R",)),
    "about": ("uint8", ("B",)),
}


def explain(
    model: nn.Module,
    split: Split,
    predictions: Predictions,
    mistakes: Sequence[Mistake] | None = None,
    *,
    method: MethodName = "gradcam",
    layer: str | nn.Module | None = None,
    cells: int | None = None,
    hide: HideName = "blur",
    known: Explanation | None = None,
    progress: Progress | None = None,
) -> Explanation:
    """Explain mistakes: maps of both classes and their contrast, the occlusion test, health badges. Writes no file.

    Long work can be split: explain some mistakes, save, and pass the result as `known` with the next ones. The result
    is bitwise the same as that of one call.

    Args:
        model: a `ResNet18`; or, with `layer`, any torch module that takes pictures, float32 (N, 3, H, W) in 0 to 1, and
            returns logits (N, K).
        split: the images.
        predictions: of this model on this split, see `seefar.predict`.
        mistakes: which to explain, see `seefar.find_mistakes`; default: all.
        method: the class activation map to compute.
        layer: name of a submodule that gives (N, C, h, w), or itself; default: the last stage of the dense twin.
        cells: cells on a side of the default layer, see `seefar.gradcam`.
        hide: what replaces hidden pixels: their blurred surroundings, grey, or the image's mean.
        known: an explanation with the same settings, whose mistakes are not explained again.
        progress: see `seefar.progress`.

    Returns:
        The explanation of these mistakes and of those in `known`, highest loss first.

    Raises:
        DataError: the predictions are of another model or other images, or used another normalisation, or one of the
            mistakes is not a mistake of theirs.
        ChoiceError, MapError: there is no such method or layer, or its maps are too coarse; or `known` has other
            settings.

    Example:
        >>> import seefar
        >>> from seefar.data.shapes import load_shapes
        >>> net, test = seefar.ResNet18(width=2).eval(), load_shapes(train=20, test=12).test
        >>> predictions = seefar.predict(net, test, progress=seefar.SILENT)
        >>> some = seefar.find_mistakes(predictions)[:2]
        >>> seefar.explain(net, test, predictions, some, layer="layer2", progress=seefar.SILENT).contrast.shape
        (2, 16, 16)
    """
    size = split.images.shape[1], split.images.shape[2]
    settings = normalise_map_settings(model, size, MapChoices(method, layer_name(model, layer), cells, hide))
    parts = explain_in_parts(model, split, predictions, mistakes, settings=settings, known=known, progress=progress)
    return deque(parts, maxlen=1).pop()  # the last one; a list would hold them all


def explain_in_parts(
    model: nn.Module,
    split: Split,
    predictions: Predictions,
    mistakes: Sequence[Mistake] | None = None,
    *,
    settings: MapSettings,
    known: Explanation | None = None,
    progress: Progress | None = None,
) -> Iterator[Explanation]:
    """`explain`, with what is explained so far after each batch: to save it, and pass it as `known` after a kill.

    Args:
        model: as in `explain`, like split, predictions, known, progress and the errors.
        split: see `explain`.
        predictions: see `explain`.
        mistakes: which to explain, in this order; default: all, highest loss first.
        settings: of `normalise_map_settings` for this model and the size of these images.
        known: see `explain`.
        progress: see `explain`.

    Yields:
        An explanation of at least as many mistakes as the one before; the last one is the result of `explain`.
    """
    _check_predictions(model, split, predictions)
    if known is not None:
        _check_known(known, predictions, settings)
    ranked = find_mistakes(predictions)
    if ranked:
        _check_logits(model, split, predictions, ranked[0].index)
    todo = _not_yet_known(ranked, mistakes, known)
    network = original(model)
    with showing(progress) as shown:
        grid = _measure_grid(network, settings, split, ranked, shown) if known is None else known.grid
        explainer = Explainer(network, settings, grid)
        explanation = _explain_batch(explainer, split, predictions, []) if known is None else known
        for batch in _batches(todo):
            more = _explain_batch(explainer, split, predictions, batch)
            explanation = _join(explanation, more, ranked)
            shown.update("explaining mistakes", len(explanation) - len(known or ()), len(todo))
            yield explanation
        if ranked and len(explanation) == len(ranked) and not len(explanation.damaged):
            count = min(len(ranked), CORRECT_PREDICTIONS)
            damaged = _measure_damage(explainer, split, predictions, count, shown)
            explanation = replace(explanation, damaged=damaged)
        yield explanation


def _explain_batch(
    explainer: Explainer, split: Split, predictions: Predictions, mistakes: list[Mistake]
) -> Explanation:
    """The explanation of at most `BATCH` mistakes, in their order."""
    index, classes = _arrays_of(mistakes)
    if mistakes:
        before = np.array([[mistake.confidence, mistake.true_probability] for mistake in mistakes])
        masks = None if split.masks is None else split.masks[index]
        batch = explainer.explain_batch(split.images[index], classes, before, index, masks)
    else:
        nothing = np.zeros((0, *explainer.grid.cells), np.float32)
        batch = ExplainedBatch(nothing, nothing, np.zeros((0, *split.images.shape[1:3]), bool), [], [])
    settings = explainer.settings
    return Explanation(
        mistakes=mistakes,
        classes=split.classes,
        contrast=batch.first - batch.second,
        predicted=batch.first,
        true=batch.second,
        hidden=batch.hidden,
        repairs=batch.repairs,
        health=batch.health,
        grid=explainer.grid,
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
    """Whether hiding the evidence for a correct prediction changes it, bool (R,), for at most `count` of them."""
    correct = np.flatnonzero(predictions.predicted == predictions.labels)
    chosen = np.sort(np.random.default_rng(Stream.RIGHT_ANSWERS).permutation(correct)[:count])
    damaged = np.zeros(len(chosen), dtype=bool)
    for start in range(0, len(chosen), BATCH):
        index = chosen[start : start + BATCH]
        images, labels = split.images[index], predictions.labels[index]
        runner_up = np.asarray(predictions.logits[index].argsort(1, kind="stable")[:, -2], dtype=np.int64)
        margin = explainer.settings.contrast(explainer.network, images, (labels, runner_up))
        ranks = rank_pixels(to_pixels(margin, (images.shape[1], images.shape[2]), explainer.grid))
        trial = occlude_progressively(explainer.logits, images, labels, ranks, how=explainer.settings.hide)
        damaged[start : start + BATCH] = trial.changed
        shown.update("occlusion test of correct predictions", start + len(index), len(chosen))
    return damaged


def _batches(mistakes: list[Mistake]) -> Iterator[list[Mistake]]:
    return (mistakes[start : start + BATCH] for start in range(0, len(mistakes), BATCH))


def _arrays_of(mistakes: list[Mistake]) -> tuple[NDArray[np.int64], Classes]:
    """Data set indices, predicted and true classes of n mistakes, int64 (n,) each."""
    rows = np.array([(one.index, one.predicted, one.true) for one in mistakes], dtype=np.int64).reshape(-1, 3)
    return rows[:, 0], (rows[:, 1], rows[:, 2])


def _measure_grid(
    network: nn.Module, settings: MapSettings, split: Split, ranked: list[Mistake], shown: Progress
) -> Grid:
    """Where the cells are: measured for the dense twin, on the mistakes of highest loss, whichever are explained."""
    if settings.layer is not None or not ranked:
        return settings.grid
    measured = ranked[:MOST_MAPS]
    contrast, mirrored = [], []
    for batch in _batches(measured):
        index, classes = _arrays_of(batch)
        images = split.images[index]
        contrast.append(settings.contrast(network, images, classes))
        mirrored.append(settings.contrast(network, images[:, :, ::-1], classes))
        shown.update("measuring the positions of cells", sum(map(len, contrast)), len(measured))
    size = split.images.shape[1], split.images.shape[2]
    return find_origin(np.concatenate(contrast), np.concatenate(mirrored), size, settings.grid)


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


def _check_predictions(model: nn.Module, split: Split, predictions: Predictions) -> None:
    differs = None
    if not predictions.are_for(split):
        differs = "images"
    elif predictions.model != weights_fingerprint(model):
        differs = "weights"
    if differs:
        raise DataError(
            f"These predictions are of other {differs} than the model and the split that were passed: compute them "
            "with seefar.predict(model, split)."
        )


def _check_logits(model: nn.Module, split: Split, predictions: Predictions, index: int) -> None:
    """Compare the logits of one image: equal weights do not mean that images were normalised in the same way."""
    given = logits_of(model, split.images[index : index + 1])[0]
    expected = predictions.logits[index]
    if np.abs(given - expected).max() > 0.02 * max(1.0, float(np.abs(expected).max())):
        raise DataError(
            f"The model returns other logits for test image {index} than these predictions: pass a module that "
            "normalises pictures itself to both seefar.predict and seefar.explain, without normalize."
        )


def _check_known(known: Explanation, predictions: Predictions, settings: MapSettings) -> None:
    expected = {
        "method": settings.method,
        "layer": settings.layer,
        "cells": settings.cells,
        "hide": settings.hide,
        "model": predictions.model,
        "images": predictions.images,
    }
    for name, value in expected.items():
        found = getattr(known, name)
        if found != value:
            raise MapError(f"known has another {name} ({found!r}, not {value!r}): leave it out.")


def _join(one: Explanation, other: Explanation, ranked: list[Mistake]) -> Explanation:
    """Two explanations of different mistakes as one, highest loss first."""
    rank = {mistake.index: number for number, mistake in enumerate(ranked)}
    arrays: dict[str, Any] = {
        name: np.concatenate((getattr(one, name), getattr(other, name)))
        for name in ("contrast", "predicted", "true", "hidden")
    }
    lists: dict[str, Any] = {
        name: getattr(one, name) + getattr(other, name) for name in ("mistakes", "repairs", "health")
    }
    joined = replace(one, **arrays, **lists)
    return joined.of(sorted(joined.mistakes, key=lambda mistake: rank[mistake.index]))
