"""The explanation of mistakes: maps, occlusion test, health badges and rates, saved losslessly without pickle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from seefar.errors import RunError
from seefar.evaluation.mistakes import Mistake
from seefar.explanation.health import Health
from seefar.explanation.rates import RepairRates, repair_rates
from seefar.explanation.repair import Outcome, Repair
from seefar.maps.grid import Grid, Maps
from seefar.maps.removal import Pixels
from seefar.maps.sanity import BLOCK
from seefar.names import HideName, MethodName
from seefar.runs.arrays import load_arrays, save_arrays
from seefar.runs.files import is_finite_number, parse_json


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
            about: dict[str, Any] = parse_json(arrays.pop("about").tobytes())
            index = arrays.pop("index").tolist()
            tables: dict[str, Any] = {
                "mistakes": [Mistake(**row) for row in about.pop("mistakes")],
                "repairs": [Repair(**{**row, "box": tuple(row["box"])}) for row in about.pop("repairs")],
                "health": [Health(row["badge"], tuple(row["reasons"])) for row in about.pop("health")],
            }
            grid = about.pop("grid")
            about["grid"] = Grid(tuple(grid["cells"]), grid["spacing"], grid["origin"])
            about["classes"] = tuple(about["classes"])
            found = cls(**arrays, **tables, **about)
            if [mistake.index for mistake in found.mistakes] != index or {len(table) for table in tables.values()} != {
                len(index)
            }:
                raise ValueError("its tables are not of one length")
            _check(found)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise RunError(f"{path} cannot be read ({error}): delete it and explain the mistakes anew.") from error
        return found


def _check(found: Explanation) -> None:
    """Refuse values that no explanation has; the arrays' types and shapes are right already."""
    rows = [
        (*astuple(mistake), *astuple(repair)) for mistake, repair in zip(found.mistakes, found.repairs, strict=True)
    ]
    numbers = [value for row in rows for value in row if value is not None and not isinstance(value, (str, tuple))]
    if not all(map(is_finite_number, numbers)):
        raise ValueError("a number in its tables is none")
    chosen = [
        c for one, two in zip(found.mistakes, found.repairs, strict=True) for c in (one.true, one.predicted, two.answer)
    ]
    if not all(type(c) is int and 0 <= c < len(found.classes) for c in chosen):
        raise ValueError("a class in its tables is none")
    if not all(
        outcome in get_args(Outcome) for one in found.repairs for outcome in (one.outcome, one.shifted, one.least)
    ):
        raise ValueError("an outcome in its tables is none")
    if not all(np.isfinite(maps).all() for maps in (found.contrast, found.predicted, found.true)):
        raise ValueError("its maps are not finite")
    if not all(isinstance(text, str) for text in (*found.classes, found.method, found.hide, found.model, found.images)):
        raise ValueError("a name in it is none")


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
