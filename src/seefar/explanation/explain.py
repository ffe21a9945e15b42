"""Explain mistakes: maps of both classes and their contrast, occlusion test, health badges."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from torch import nn

from seefar import processes
from seefar.data.images import Images, Labels, Split
from seefar.errors import DataError, MapError, RunError
from seefar.evaluation.mistakes import Mistake, find_mistakes
from seefar.evaluation.predictions import Predictions
from seefar.explanation.health import Health, check_health
from seefar.explanation.occlusion import (
    Hidden,
    Occlusion,
    Pixels,
    Repair,
    RepairRates,
    hide_more_and_more,
    occlude,
    repair_rates,
    repairs,
)
from seefar.maps.capture import find_layer, logits_of, original, to_pictures
from seefar.maps.class_maps import METHODS, maps_of_two
from seefar.maps.formulas import gradcam
from seefar.maps.grid import Grid, Maps, grid_of, rank_pixels, to_pixels
from seefar.maps.sanity import BLOCK, MOST_MAPS, find_origin, randomized
from seefar.model.inference import weights_fingerprint
from seefar.model.resnet import ResNet18
from seefar.names import HideName, MethodName
from seefar.progress import Progress, showing
from seefar.runs.arrays import load_arrays, save_arrays
from seefar.runs.files import parse_json
from seefar.runs.values import Count, from_plain
from seefar.seeds import Stream


def check_map_settings(
    model: nn.Module,
    image_size: int | tuple[int, int],
    method: str = "gradcam",
    layer: str | nn.Module | None = None,
    cells: int | None = None,
) -> tuple[int, int]:
    """Check that mistakes of a model can be explained so, in the time of one map; its weights do not matter.

    Args:
        model: a `ResNet18`, or another torch module, see `seefar.explain`.
        image_size: height and width of the images in pixels, or one number for both.
        method: see `seefar.explain`, like layer and cells.
        layer: which layer.
        cells: how fine.

    Returns:
        Rows and columns of cells that its maps have.

    Raises:
        MapError: there is no such method or layer, or it cannot give maps that show why one class and not another.

    Example:
        >>> import seefar
        >>> check_map_settings(seefar.ResNet18(width=2), 32, layer="layer2")
        (16, 16)
    """
    if method not in METHODS:
        raise MapError(f"There is no method {method!r}: choose one of {', '.join(METHODS)}.")
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    network, black = original(model), np.zeros((1, height, width, 3), np.uint8)
    inputs = black if isinstance(network, ResNet18) else to_pictures(network, black)
    rows, columns = gradcam(network, inputs, 0, layer, cells=cells).shape[1:]
    return rows, columns


def layer_name(model: nn.Module, layer: str | nn.Module | None) -> str | None:
    """The name of a layer that was given by name or as the module itself."""
    return None if layer is None else find_layer(original(model), layer)


def check_hide(name: str) -> None:
    """Check the name of what takes the place of hidden pixels.

    Raises:
        MapError: there is none such.
    """
    if name not in get_args(HideName):
        raise MapError(f"hide={name!r} is unknown: choose one of {', '.join(get_args(HideName))}.")


PART = 20
"""Images in a batch: few, since the last part is filled up to it, and a user waits for ten mistakes first."""


@dataclass(frozen=True)
class PairOfMaps:
    """How the maps of two classes an image are made.

    Attributes:
        method: which of the family.
        layer: see `seefar.gradcam`.
        cells: see `seefar.gradcam`.
    """

    method: MethodName
    layer: str | None
    cells: int | None

    def __call__(
        self, network: nn.Module, images: Images, first: Labels, second: Labels, done: Callable[[int], None]
    ) -> tuple[Maps, Maps]:
        """Maps of the first and of the second class, float32 (N, h, w) each.

        Args:
            network: whose.
            images: uint8 (N, H, W, 3), at least one.
            first: int64 (N,).
            second: int64 (N,).
            done: progress callback; receives the number of images finished.
        """
        ones, twos = [], []
        for rows in parts(len(images)):
            stored = filled(images[rows], PART)
            inputs = stored if isinstance(network, ResNet18) else to_pictures(network, stored)
            classes = filled(first[rows], PART), filled(second[rows], PART)
            one, two = maps_of_two(self.method, network, inputs, *classes, self.layer, cells=self.cells)
            count = len(images[rows])
            ones.append(one[:count])
            twos.append(two[:count])
            done(count)
        return np.concatenate(ones), np.concatenate(twos)


def answers(network: nn.Module) -> Callable[[Images], NDArray[np.float32]]:
    """The network as a function from stored images to logits, (N, K), that runs it on parts of one size."""

    def ask(images: Images) -> NDArray[np.float32]:
        found = [logits_of(network, filled(images[rows], PART)) for rows in parts(len(images), PART)]
        return np.concatenate(found)[: len(images)]

    return ask


def parts(count: int, size: int = PART) -> Iterator[slice]:
    """Slices of so many rows, each of `size` but the last."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def filled(rows: NDArray[Any], size: int) -> NDArray[Any]:
    """The rows, and the last one again until there are `size`."""
    return np.concatenate((rows, np.repeat(rows[-1:], size - len(rows), axis=0)))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Explanation:
    """Maps, occlusion test and health badges of M mistakes.

    Attributes:
        mistakes: the M mistakes, the costliest first.
        classes: names of the K classes.
        contrast: float32 (M, h, w), why the predicted rather than the true class: the difference of the next two.
        predicted: float32 (M, h, w), map for the predicted class.
        true: float32 (M, h, w), map for the true class.
        hidden: bool (M, H, W), the pixels that the occlusion test had hidden in the end.
        repairs: what that did, one entry a mistake.
        health: how far each contrast map can be trusted.
        grid: where the cells of the maps lie over the images.
        method, layer, cells, hide: what it was made with; see `seefar.explain`.
        damaged: bool (R,), for each of R right answers whether hiding the evidence for it made it wrong. Empty as long
            as not all mistakes of the predictions are explained.
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
        place = {mistake.index: number for number, mistake in enumerate(self.mistakes)}
        missing = [mistake.index for mistake in mistakes if mistake.index not in place]
        if missing:
            raise RunError(
                f"Test image {missing[0]} is not among the {len(self)} mistakes that are explained here: pass it to "
                "seefar.explain, with this as known."
            )
        chosen = [place[mistake.index] for mistake in mistakes]
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
        """Write one `.npz` of plain arrays, from which `load` gives back exactly the same.

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
            RunError: the file is missing, damaged, or holds something else.
        """
        arrays: dict[str, Any] = load_arrays(path, _FORM)
        try:
            about = from_plain(_About, parse_json(arrays.pop("about").tobytes()), "about")
            index = arrays.pop("index").tolist()
            found = cls(**arrays, **vars(about))
            _check(found, index)
        except ValueError as error:
            raise RunError(f"{path} cannot be read ({error}): delete it and explain the mistakes anew.") from error
        return found


@dataclass(frozen=True)
class _About:
    """What of an explanation is kept as JSON."""

    classes: tuple[str, ...]
    mistakes: list[Mistake]
    repairs: list[Repair]
    health: list[Health]
    grid: Grid
    method: MethodName
    layer: str | None
    cells: Count | None
    hide: HideName
    model: str
    images: str


def _check(found: Explanation, index: list[int]) -> None:
    """Refuse what no explanation holds; types and shapes of the arrays and values of the JSON are right by now."""
    height, width = found.hidden.shape[1:]
    classes = [c for mistake in found.mistakes for c in (mistake.true, mistake.predicted)]
    wrong = {
        "its tables are not of one length": {len(found.mistakes), len(found.repairs), len(found.health)}
        != {len(index)},
        "its tables are not of the same mistakes": [mistake.index for mistake in found.mistakes] != index,
        "a mistake is in it twice": len(set(index)) < len(index),
        "a class in its tables is none": any(
            c >= len(found.classes) for c in (*classes, *(repair.answer for repair in found.repairs))
        ),
        "a box in its tables is none": not all(
            top < bottom <= height and left < right <= width
            for top, left, bottom, right in (repair.box for repair in found.repairs)
        ),
        "its maps are not finite": not all(np.isfinite(m).all() for m in (found.contrast, found.predicted, found.true)),
        "its grid is not of its maps": found.grid.cells != found.contrast.shape[1:] or found.grid.spacing <= 0,
        "a text in it has control characters": not all(
            reason.isprintable() for health in found.health for reason in health.reasons
        ),
    }
    if any(wrong.values()):
        raise ValueError(next(what for what, is_so in wrong.items() if is_so))


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


RIGHT_ANSWERS = 300
"""At most so many images that the network gets right are tried for the damage rate: enough for 6 points either way."""


HIDDEN = tuple(field.name for field in fields(Hidden))


@dataclass(frozen=True)
class Work:
    """What one call of `explain` works on. The mistakes of the predictions are numbered by their rank in loss order.

    Attributes:
        network: what is explained, not compiled.
        split: the images.
        predictions: of the network on these images.
        ranked: all mistakes, the costliest first.
        pair: how maps are made.
        shape: rows and columns of their cells.
        hide: what takes the place of hidden pixels.
        shown: progress.
    """

    network: nn.Module
    split: Split
    predictions: Predictions
    ranked: list[Mistake]
    pair: PairOfMaps
    shape: tuple[int, int]
    hide: HideName
    shown: Progress

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        return self.split.images.shape[1], self.split.images.shape[2]

    def explain(self, todo: list[int], grid: Grid | None) -> Explanation:
        """The explanation of the mistakes with these ranks, in order; the grid is measured if there is none yet."""
        grid, maps = self.make_maps(todo, grid)
        index = np.array([self.ranked[rank].index for rank in todo], dtype=np.int64)
        chosen = [self.ranked[rank] for rank in todo]
        images, masks = self.split.images[index], None if self.split.masks is None else self.split.masks[index]
        predicted, true = self.predictions.predicted[index], self.predictions.labels[index]
        contrast = maps["predicted"] - maps["true"]
        hidden = np.zeros((len(todo), *self.image_size), dtype=bool)
        found, health = [], []
        occlusions = self.occlude(grid, images, predicted, true, contrast, index) if todo else []
        for rows, occlusion in zip(parts(len(todo)), occlusions, strict=True):
            hidden[rows] = occlusion.top.pixels
            found += repairs(chosen[rows], occlusion, contrast[rows], grid)
            about_image = None if masks is None else masks[rows]
            health += check_health(
                contrast[rows], maps["mirrored"][rows], maps["random"][rows], occlusion, grid, about_image
            )
        return Explanation(
            mistakes=chosen,
            classes=self.split.classes,
            contrast=contrast,
            predicted=maps["predicted"],
            true=maps["true"],
            hidden=hidden,
            repairs=found,
            health=health,
            grid=grid,
            method=self.pair.method,
            layer=self.pair.layer,
            cells=self.pair.cells,
            hide=self.hide,
            damaged=np.zeros(0, dtype=bool),
            model=self.predictions.model,
            images=self.predictions.images,
        )

    def occlude(self, grid: Grid, *mistakes: NDArray[Any]) -> list[Occlusion]:
        """The occlusion test of each part of the mistakes: of their images, two classes, contrast maps and indices."""

        def test(*mistakes: NDArray[Any]) -> tuple[NDArray[Any], ...]:
            found = []
            for rows in parts(len(mistakes[0])):
                images, predicted, true, contrast, index = (array[rows] for array in mistakes)
                ask = answers(self.network)
                occlusion = occlude(ask, images, predicted, true, contrast, grid, self.hide, index=index)
                tries = (occlusion.top, occlusion.shifted, occlusion.least)
                found.append([getattr(hidden, name) for hidden in tries for name in HIDDEN])
                self.shown.update("occlusion test", rows.stop, len(mistakes[0]))
            return tuple(np.concatenate(arrays) for arrays in zip(*found, strict=True))

        tested, count = processes.in_parts(test, *mistakes, unit=PART), len(HIDDEN)
        tries = [tested[start : start + count] for start in range(0, len(tested), count)]
        return [
            Occlusion(*(Hidden(*(array[rows] for array in arrays)) for arrays in tries))
            for rows in parts(len(mistakes[0]))
        ]

    def make_maps(self, todo: list[int], grid: Grid | None) -> tuple[Grid, dict[str, Maps]]:
        """The grid, and maps of the mistakes with these ranks.

        Those are of the predicted and the true class, and the contrasts of the mirrored images and of a network with
        random weights. The twin's grid is measured on the costliest mistakes, whichever are asked for.
        """
        measured = range(min(MOST_MAPS, len(self.ranked))) if grid is None and self.pair.layer is None else range(0)
        ranks = sorted({*todo, *measured})
        rows = np.searchsorted(ranks, todo)
        index = np.array([self.ranked[rank].index for rank in ranks], dtype=np.int64)
        images, finished = self.split.images[index], [0]

        def done(count: int) -> None:
            wanted = 2 * len(ranks) + len(todo)
            finished[0] = min(wanted, finished[0] + count * processes.size())  # as far as the others are, about
            self.shown.update("maps", finished[0], wanted)

        def make(network: nn.Module, images: Images, index: Labels) -> tuple[Maps, Maps]:
            if not len(index):
                return (nothing := np.zeros((0, *self.shape), np.float32)), nothing
            predicted, true = self.predictions.predicted[index], self.predictions.labels[index]

            def pair(images: Images, predicted: Labels, true: Labels) -> tuple[Maps, Maps]:
                return self.pair(network, images, predicted, true, done)

            first, second = processes.in_parts(pair, images, predicted, true, unit=PART)
            return first, second

        of_predicted, of_true = make(self.network, images, index)
        mirrored = np.subtract(*make(self.network, images[:, :, ::-1], index))
        *_, (_, all_random) = randomized(self.network)
        random = np.subtract(*make(all_random, images[rows], index[rows]))
        grid = grid or grid_of(self.network, self.shape, self.image_size)
        if measured:
            grid = find_origin(of_predicted - of_true, mirrored, self.image_size, grid)
        maps = {"predicted": of_predicted[rows], "true": of_true[rows], "mirrored": mirrored[rows], "random": random}
        return grid, maps

    def try_right_answers(self, grid: Grid) -> NDArray[np.bool_]:
        """For some right answers, as many as there are mistakes, whether hiding the evidence for them breaks them."""
        predictions = self.predictions
        correct = np.flatnonzero(predictions.predicted == predictions.labels)
        count = min(len(self.ranked), RIGHT_ANSWERS)
        intact = np.sort(np.random.default_rng(Stream.RIGHT_ANSWERS).permutation(correct)[:count])
        if not len(intact):
            return np.zeros(0, dtype=bool)
        (damaged,) = processes.in_parts(lambda index: (self._damaged(grid, index),), intact, unit=PART)
        return damaged

    def _damaged(self, grid: Grid, intact: NDArray[np.int64]) -> NDArray[np.bool_]:
        predictions, damaged = self.predictions, np.zeros(len(intact), dtype=bool)
        for rows in parts(len(intact)):
            index = intact[rows]
            images, right = self.split.images[index], predictions.labels[index]
            runner_up = np.asarray(predictions.logits[index].argsort(1, kind="stable")[:, -2], dtype=np.int64)
            margin = np.subtract(*self.pair(self.network, images, right, runner_up, lambda _: None))
            ranks = rank_pixels(to_pixels(margin, self.image_size, grid))
            damaged[rows] = hide_more_and_more(answers(self.network), images, right, ranks, None, self.hide).changed
            self.shown.update("occlusion test of right answers", rows.stop, len(intact))
        return damaged


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
