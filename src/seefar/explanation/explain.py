"""Explaining mistakes: class activation maps of both classes, their contrast, occlusion test, health badges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from seefar.data.images import Split
from seefar.errors import DataError, MapError
from seefar.evaluation.mistakes import Mistake, find_mistakes
from seefar.evaluation.predictions import Predictions
from seefar.explanation.explanation import Explanation as Explanation
from seefar.explanation.parts import PairOfMaps
from seefar.explanation.settings import check_hide, check_map_settings, layer_name
from seefar.explanation.work import Work
from seefar.maps.logits import logits_of
from seefar.maps.network import original
from seefar.model.inference import weights_fingerprint
from seefar.names import HideName, MethodName
from seefar.progress import Progress, showing


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
    """Explain mistakes: maps of both classes and their contrast, the occlusion test, health badges. Writes nothing.

    Long work can be done in parts: explain some mistakes, save, and pass the result as `known` with the next ones.
    What comes of all parts is to the bit what one call gives.

    Args:
        model: a `ResNet18`; or, with `layer`, any torch module that makes logits (N, K) of pictures, float32
            (N, 3, H, W) in 0 to 1.
        split: the images.
        predictions: of this model on this split, see `seefar.predict`.
        mistakes: which to explain, see `seefar.find_mistakes`; default: all.
        method: which of the family of class activation maps.
        layer: name of a submodule that gives (N, C, h, w), or itself; default: the last stage of the dense twin.
        cells: cells on a side that the default layer is to have, see `seefar.gradcam`.
        hide: what takes the place of hidden pixels: their blurred surroundings, grey, or the image's mean.
        known: an explanation by the same settings, whose mistakes are not explained again.
        progress: see `seefar.progress`.

    Returns:
        The explanation of the mistakes that were asked for and of those in `known`, the costliest first.

    Raises:
        DataError: the predictions are of another model or other images, or were made with another normalisation, or
            something asked for is no mistake of theirs.
        MapError: the layer does not exist or its maps are too coarse; the method does not tell classes apart; `known`
            was made with other settings.

    Example:
        >>> import seefar
        >>> from seefar.data.shapes import load_shapes
        >>> net, test = seefar.ResNet18(width=2).eval(), load_shapes(train=20, test=12).test
        >>> predictions = seefar.predict(net, test, progress=seefar.SILENT)
        >>> some = seefar.find_mistakes(predictions)[:2]
        >>> seefar.explain(net, test, predictions, some, layer="layer2", progress=seefar.SILENT).contrast.shape
        (2, 16, 16)
    """
    name = layer_name(model, layer)
    check_hide(hide)
    shape = check_map_settings(model, (split.images.shape[1], split.images.shape[2]), method, name, cells)
    _check_predictions(model, split, predictions)
    if known is not None:
        _check_known(known, predictions, (method, name, cells, hide))
    ranked = find_mistakes(predictions)
    if ranked:
        _check_logits(model, split, predictions, ranked[0].index)
    explained = set() if known is None else {mistake.index for mistake in known.mistakes}
    todo = [rank for rank in _ranks(ranked, mistakes) if ranked[rank].index not in explained]
    with showing(progress) as shown:
        work = Work(original(model), split, predictions, ranked, PairOfMaps(method, name, cells), shape, hide, shown)
        if known is None:
            found = work.explain(todo, None)
        else:
            found = _joined(known, work.explain(todo, known.grid), ranked) if todo else known
        if ranked and len(found.mistakes) == len(ranked) and not len(found.damaged):
            found = replace(found, damaged=work.try_right_answers(found.grid))
    return found


def _ranks(ranked: list[Mistake], mistakes: Sequence[Mistake] | None) -> list[int]:
    """The ranks of these mistakes, or of all, in order."""
    rank = {mistake.index: number for number, mistake in enumerate(ranked)}
    if mistakes is None:
        return list(range(len(ranked)))
    for mistake in mistakes:
        if mistake.index not in rank:
            raise DataError(
                f"Test image {mistake.index} is no mistake of these predictions: pass mistakes that "
                "seefar.find_mistakes(predictions) gives."
            )
    return sorted({rank[mistake.index] for mistake in mistakes})


def _check_predictions(model: nn.Module, split: Split, predictions: Predictions) -> None:
    of = "other weights" if predictions.model != weights_fingerprint(model) else None
    if not predictions.are_for(split):
        of = "other images"
    if of:
        raise DataError(
            f"These predictions are of {of} than the model and the split that were passed: seefar.predict(model, "
            "split) makes them anew."
        )


def _check_logits(model: nn.Module, split: Split, predictions: Predictions, index: int) -> None:
    """Ask the model for one image again: weights alone do not say how images were normalised for them."""
    given = logits_of(model, split.images[index : index + 1])[0]
    expected = predictions.logits[index]
    if np.abs(given - expected).max() > 0.02 * max(1.0, float(np.abs(expected).max())):
        raise DataError(
            f"For test image {index} the model gives other logits than these predictions hold: pass a module that "
            "normalises pictures itself to both seefar.predict and seefar.explain, without normalize."
        )


def _check_known(known: Explanation, predictions: Predictions, settings: tuple[object, ...]) -> None:
    wanted = dict(zip(("method", "layer", "cells", "hide"), settings, strict=True))
    wanted |= {"model": predictions.model, "images": predictions.images}
    for name, value in wanted.items():
        found = getattr(known, name)
        if found != value:
            detail = "" if name in ("model", "images") else f" ({found!r}, not {value!r})"
            raise MapError(
                f"known is an explanation with another {name}{detail}: leave it out, or pass one by the same settings."
            )


def _joined(one: Explanation, other: Explanation, ranked: list[Mistake]) -> Explanation:
    """Two explanations of different mistakes as one, the costliest first."""
    rank = {mistake.index: number for number, mistake in enumerate(ranked)}
    arrays: dict[str, Any] = {
        name: np.concatenate((getattr(one, name), getattr(other, name)))
        for name in ("contrast", "predicted", "true", "hidden")
    }
    lists: dict[str, Any] = {
        name: getattr(one, name) + getattr(other, name) for name in ("mistakes", "repairs", "health")
    }
    both = replace(one, **arrays, **lists)
    return both.of(sorted(both.mistakes, key=lambda mistake: rank[mistake.index]))
