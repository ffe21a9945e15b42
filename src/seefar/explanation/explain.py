"""Explain mistakes: maps of both classes and their contrast, occlusion test, health badges.

`explain` checks its input, measures where the cells of the maps are, explains the mistakes in batches (see
`seefar.explanation.explainer`), and measures how often hiding the evidence breaks correct predictions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from seefar.choices import HideName, MapChoices, MethodName
from seefar.data.images import Split
from seefar.errors import ChoiceError, DataError
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
from seefar.explanation.explanation import Explanation
from seefar.explanation.occlusion import (
    occlude_progressively,
)
from seefar.maps.capture import logits_of, original
from seefar.maps.grid import Grid, rank_pixels, to_pixels
from seefar.maps.sanity import MOST_MAPS, find_origin
from seefar.model.inference import weights_fingerprint
from seefar.progress import Progress, showing
from seefar.seeds import Stream

CORRECT_PREDICTIONS = 300
"""At most this many correct predictions are tested for the damage rate: enough for 6 points either way."""


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
        ChoiceError, ChoiceError: there is no such method or layer, or its maps are too coarse; or `known` has other
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
            raise ChoiceError(f"known has another {name} ({found!r}, not {value!r}): leave it out.")


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
