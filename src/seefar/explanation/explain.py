"""Every mistake explained: maps for both classes and their contrast, the occlusion test, a badge for each map."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np
from rich.console import Console
from rich.progress import Progress

from seefar.data.images import Images, Labels, Split
from seefar.errors import MapError
from seefar.evaluation.evaluate import Evaluation
from seefar.evaluation.mistakes import Mistake, write_mistakes
from seefar.evaluation.predictions import Predictions
from seefar.explanation.health import Health, check_health
from seefar.explanation.occlusion import hide_more_and_more, occlude
from seefar.explanation.repair import Repair, RepairRates, repair_rates, repairs
from seefar.maps.class_maps import class_maps
from seefar.maps.grid import Grid, Maps, grid_of, rank_pixels, to_pixels
from seefar.maps.methods import METHODS, SAME_FOR_EVERY_CLASS, find_method
from seefar.maps.network import BATCH_SIZE
from seefar.maps.removal import Pixels
from seefar.maps.sanity import BLOCK, find_origin, randomized
from seefar.model.resnet import ResNet18
from seefar.names import HideName, MethodName
from seefar.runs.files import write_text, written_beside
from seefar.runs.folder import RunFolder
from seefar.seeds import Stream
from seefar.training.device import keep_freed_memory
from seefar.training.run import Run

RIGHT_ANSWERS = 300
"""At most so many images that the network gets right are tried for the damage rate: enough for 6 points either way."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What was found of M mistakes.

    Attributes:
        mistakes: the M mistakes, in order.
        contrast: float32 (M, h, w), why the predicted rather than the true class: the difference of the next two.
        predicted: float32 (M, h, w), map for the class that the network named.
        true: float32 (M, h, w), map for the true class.
        hidden: bool (M, H, W), the pixels that the occlusion test had hidden in the end.
        repairs: what that did, one entry a mistake.
        health: how far each contrast map can be trusted.
        rates: the occlusion test over all mistakes of the test set.
        method, layer, hide: what it was made with; see `explain`.
        grid: where the cells of the maps lie over the images.
    """

    mistakes: list[Mistake]
    contrast: Maps
    predicted: Maps
    true: Maps
    hidden: Pixels
    repairs: list[Repair]
    health: list[Health]
    rates: RepairRates
    method: MethodName
    layer: str | None
    hide: HideName
    grid: Grid

    @property
    def cell_stride(self) -> int:
        """Every how many-th cell of a map, in each direction, enters the logits."""
        return 1 if self.layer is not None else round(BLOCK / self.grid.spacing)

    def of(self, mistakes: Sequence[Mistake]) -> Explanation:
        """The same for some of the mistakes, in their order; the rates stay those of all."""
        place = {mistake.index: number for number, mistake in enumerate(self.mistakes)}
        chosen = [place[mistake.index] for mistake in mistakes]
        rows = np.array(chosen, dtype=np.int64)
        return replace(
            self,
            mistakes=list(mistakes),
            contrast=self.contrast[rows],
            predicted=self.predicted[rows],
            true=self.true[rows],
            hidden=self.hidden[rows],
            repairs=[self.repairs[number] for number in chosen],
            health=[self.health[number] for number in chosen],
        )


def explain(
    run: Run,
    test: Split,
    evaluation: Evaluation,
    method: MethodName = "gradcam",
    layer: str | None = None,
    cells: int | None = None,
    hide: HideName = "blur",
    *,
    quiet: bool = False,
) -> Explanation:
    """Explain all mistakes; writes `maps.npz`, `explanation.json`, and the further columns of `mistakes.csv`.

    Args:
        run: the trained network.
        test: the test images.
        evaluation: what the network said of them.
        method: which of the family of maps.
        layer: see `seefar.gradcam`.
        cells: see `seefar.gradcam`.
        hide: what the occlusion test puts in place of the evidence.
        quiet: no progress bar.

    Raises:
        MapError: the layer does not exist or its maps are too coarse; the method does not tell classes apart.
    """
    if method in SAME_FOR_EVERY_CLASS:
        raise MapError(
            f"{method} gives one map for all classes, so there is no contrast to test: choose one of "
            f"{', '.join(name for name in METHODS if name not in SAME_FOR_EVERY_CLASS)}, or call seefar.{method}."
        )
    mistakes, predictions, model, size = evaluation.mistakes, evaluation.predictions, run.model, test.images.shape[1]
    index = np.array([mistake.index for mistake in mistakes], dtype=np.int64)
    images, predicted, true = test.images[index], predictions.predicted[index], predictions.labels[index]
    intact = _some_correct(predictions, min(len(mistakes), RIGHT_ANSWERS))
    keep_freed_memory()
    with Progress(console=Console(stderr=True), disable=quiet or not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task("maps", total=6 * len(mistakes) + 2 * len(intact))

        def done(count: int) -> None:
            bar.advance(task, count)

        pairs = partial(_pairs, method, layer, cells, done)
        of_predicted, of_true = pairs(model, images, predicted, true)
        contrast = of_predicted - of_true
        mirrored = np.subtract(*pairs(model, images[:, :, ::-1].copy(), predicted, true))
        *_, (_, all_random) = randomized(model)
        random = np.subtract(*pairs(all_random, images, predicted, true))
        bar.update(task, description="occlusion test")
        grid = grid_of(model, (contrast.shape[1], contrast.shape[2]), size)
        grid = grid if layer is not None else find_origin(contrast, mirrored, size, grid)
        occlusion = occlude(model, images, predicted, true, contrast, grid, hide, done=done)
        right, runner_up = predictions.labels[intact], _runner_up(predictions)[intact]
        margin = np.subtract(*pairs(model, test.images[intact], right, runner_up))
        ranks = rank_pixels(to_pixels(margin, size, grid))
        damage = hide_more_and_more(model, test.images[intact], right, ranks, None, hide, done)
    masks = None if test.masks is None else test.masks[index]
    explanation = Explanation(
        mistakes=mistakes,
        contrast=contrast,
        predicted=of_predicted,
        true=of_true,
        hidden=occlusion.top.pixels,
        repairs=repairs(mistakes, occlusion, contrast, grid),
        health=check_health(contrast, mirrored, random, occlusion, grid, masks),
        rates=repair_rates(mistakes, occlusion, damage),
        method=method,
        layer=layer,
        hide=hide,
        grid=grid,
    )
    _write(run.folder, test.classes, explanation)
    return explanation


def _pairs(
    method: MethodName,
    layer: str | None,
    cells: int | None,
    done: Callable[[int], None],
    model: ResNet18,
    images: Images,
    first: Labels,
    second: Labels,
) -> tuple[Maps, Maps]:
    """The maps of two classes an image, batch by batch, so that the progress bar moves."""
    if not len(images):  # nothing to map, but the layer is checked, and the maps have their height and width
        black, any_class = np.zeros((1, *images.shape[1:]), np.uint8), np.zeros(1, np.int64)
        one, two = _pairs(method, layer, cells, lambda _: None, model, black, any_class, any_class)
        return one[:0], two[:0]
    parts: list[tuple[Maps, Maps]] = []
    for start in range(0, len(images), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        if layer is None and method in ("gradcam", "hirescam"):
            both = class_maps(model, images[part], cells)  # the same maps, from one forward pass
            parts.append((both.of(first[part]), both.of(second[part])))
        else:
            ask = partial(find_method(method), model, images[part], layer=layer, cells=cells)
            parts.append((ask(first[part]), ask(second[part])))
        done(len(images[part]))
    return np.concatenate([one for one, _ in parts]), np.concatenate([two for _, two in parts])


def _some_correct(predictions: Predictions, count: int) -> Labels:
    """Indices of at most `count` test images that the network gets right, drawn at random."""
    correct = np.flatnonzero(predictions.predicted == predictions.labels)
    return np.sort(np.random.default_rng(Stream.RIGHT_ANSWERS).permutation(correct)[:count])


def _runner_up(predictions: Predictions) -> Labels:
    return np.asarray(predictions.logits.argsort(1, kind="stable")[:, -2], dtype=np.int64)


def _write(folder: RunFolder, classes: tuple[str, ...], explanation: Explanation) -> None:
    mistakes, found = explanation.mistakes, explanation.repairs
    with written_beside(folder.path / "maps.npz") as beside:
        np.savez(
            beside,
            index=np.array([mistake.index for mistake in mistakes], dtype=np.int64),
            contrast=explanation.contrast,
            predicted=explanation.predicted,
            true=explanation.true,
            hidden=explanation.hidden,
        )
    columns: dict[str, Sequence[object]] = {
        "outcome": [repair.outcome for repair in found],
        "hidden_share": [f"{repair.share:.2f}" for repair in found],
        "top": [repair.box[0] for repair in found],
        "left": [repair.box[1] for repair in found],
        "bottom": [repair.box[2] for repair in found],
        "right": [repair.box[3] for repair in found],
        "evidence_hidden": [f"{repair.evidence:.4f}" for repair in found],
        "answer_hidden": [classes[repair.answer] for repair in found],
        "predicted_probability_hidden": [f"{repair.predicted_after:.6f}" for repair in found],
        "true_probability_hidden": [f"{repair.true_after:.6f}" for repair in found],
        "control_share": ["" if repair.control_share is None else f"{repair.control_share:.2f}" for repair in found],
        "health": [health.badge for health in explanation.health],
        "health_reasons": ["; ".join(health.reasons) for health in explanation.health],
        "sentence": [repair.sentence(mistake, classes) for mistake, repair in zip(mistakes, found, strict=True)],
    }
    write_mistakes(folder.path / "mistakes.csv", mistakes, classes, columns)
    summary = {
        "method": explanation.method,
        "layer": explanation.layer,
        "cells": explanation.contrast.shape[1:],
        "grid": {"spacing": explanation.grid.spacing, "origin": explanation.grid.origin},
        "hide": explanation.hide,
        "occlusion": asdict(explanation.rates),
    }
    write_text(folder.path / "explanation.json", json.dumps(summary, indent=2) + "\n")
