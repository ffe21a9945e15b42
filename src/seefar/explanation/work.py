"""The work of an explanation: maps of mistakes, their grid, the occlusion test, the damage to right answers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from seefar import processes
from seefar.data.images import Images, Labels, Split
from seefar.evaluation.mistakes import Mistake
from seefar.evaluation.predictions import Predictions
from seefar.explanation.explanation import Explanation
from seefar.explanation.health import check_health
from seefar.explanation.occlusion import Hidden, Occlusion, hide_more_and_more, occlude, random_steps
from seefar.explanation.parts import PART, PairOfMaps, answers, parts
from seefar.explanation.repair import repairs
from seefar.maps.grid import Grid, Maps, grid_of, rank_pixels, to_pixels
from seefar.maps.sanity import MOST_MAPS, find_origin, randomized
from seefar.names import HideName
from seefar.progress import Progress
from seefar.seeds import Stream

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
        # Drawn for all mistakes, so that each has its own step whichever others are explained with it.
        steps = random_steps(len(self.ranked), int(np.prod(self.image_size)))[todo]
        occlusions = self.occlude(grid, images, predicted, true, contrast, steps) if todo else []
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
        """The occlusion test of each part of the mistakes: of their images, two classes, contrast maps and steps."""

        def test(*mistakes: NDArray[Any]) -> tuple[NDArray[Any], ...]:
            found = []
            for rows in parts(len(mistakes[0])):
                images, predicted, true, contrast, steps = (array[rows] for array in mistakes)
                ask = answers(self.network)
                occlusion = occlude(ask, images, predicted, true, contrast, grid, self.hide, steps=steps)
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
