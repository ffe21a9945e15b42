"""The explanation of mistakes: maps, occlusion test and health checks as one result, saved without pickle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seefar.choices import HideName, MethodName
from seefar.errors import RunError, counted
from seefar.evaluation.mistakes import Mistake
from seefar.explanation.occlusion import Pixels, Repair, RepairRates, repair_rates
from seefar.maps.grid import Grid, Maps
from seefar.maps.sanity import Health
from seefar.runs.arrays import load_arrays, save_arrays
from seefar.runs.files import parse_json


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
        repaired = sum(repair.outcome == "repaired" for repair in self.repairs)
        mistakes = counted(len(self), "mistake")
        return f"Explanation({mistakes}, {self.method}, {height}x{width} cells, {repaired} repaired)"

    @property
    def rates(self) -> RepairRates:
        """The rate of repaired mistakes, with the rates of the two controls and the damage rate."""
        return repair_rates(self.repairs, self.damaged)

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


ARRAYS = ("contrast", "predicted", "true", "hidden")
"""Attributes with a row for each mistake."""
TABLES = ("mistakes", "repairs", "health")
"""Attributes with an entry for each mistake."""
_PLAIN = ("classes", "method", "layer", "cells", "hide", "model", "images")
