"""The explanation of mistakes: maps, occlusion test, health badges and rates, saved losslessly without pickle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seefar.errors import RunError
from seefar.evaluation.mistakes import Mistake
from seefar.explanation.health import Health
from seefar.explanation.rates import RepairRates, repair_rates
from seefar.explanation.repair import Repair
from seefar.maps.grid import Grid, Maps
from seefar.maps.removal import Pixels
from seefar.maps.sanity import BLOCK
from seefar.names import HideName, MethodName
from seefar.runs.arrays import load_arrays, save_arrays
from seefar.runs.files import parse_json
from seefar.runs.values import Count, from_plain


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
