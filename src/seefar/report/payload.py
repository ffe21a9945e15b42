"""Data block of the HTML report: everything its script reads, as plain JSON with arrays in base64."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from seefar.data.images import Images
from seefar.evaluation.triage import MEANING
from seefar.explanation.explain import Explanation
from seefar.report.content import ReportContent
from seefar.report.panels import IN_LOGITS

MANY_CELLS = 256
"""Maps with more cells than this are kept in 8 bits a cell, smaller ones in 16."""


@dataclass(frozen=True)
class Payload:
    """What the script reads: values for JSON, and the sprite sheets."""

    values: dict[str, Any]
    pictures: Sheet
    neighbours: Sheet | None


def make_payload(content: ReportContent) -> Payload:
    """Everything the script of the page reads."""
    pictures = make_sheet(content.images, exact=True)
    near, explanation = content.neighbours, _explanation_on_page(content)
    sheet = None if near is None or not len(near.images) else make_sheet(near.images, exact=False)
    values: dict[str, Any] = {
        "run": content.name,
        "data": content.data,
        "classes": list(content.classes),
        "faults": MEANING,
        "mistakes": mistake_rows(content),
        "probabilities": pack(np.exp(content.log_probabilities).astype("<f4")),
        "pictures": _sheet_values(pictures),
        "maps": None if explanation is None else _map_values(explanation),
        "votes": None if content.votes is None else pack(content.votes.astype("<u2")),
        "neighbours": None,
    }
    if near is not None and sheet is not None:
        values["neighbours"] = {
            **_sheet_values(sheet),
            "each": near.indices.shape[1],
            "indices": pack(near.indices.astype("<i4")),
            "rows": pack(near.rows.astype("<i4")),
            "distances": pack(near.distances.astype("<f4")),
        }
    return Payload(values, pictures, sheet)


def mistake_rows(content: ReportContent) -> list[dict[str, Any]]:
    """One plain dictionary a mistake, for the script and for the table of a page without script."""
    verdicts = {verdict.index: verdict for verdict in content.verdicts or ()}
    explanation = _explanation_on_page(content)
    explained = {} if explanation is None else _explained(explanation, content.classes)
    copies = {} if content.neighbours is None else {copy.index: copy for copy in content.neighbours.duplicates}
    rows = []
    for number, mistake in enumerate(content.mistakes):
        row: dict[str, Any] = {
            "index": mistake.index,
            "true": mistake.true,
            "predicted": mistake.predicted,
            "confidence": round(mistake.confidence, 6),
            "true_probability": float(f"{mistake.true_probability:.6g}"),
            "loss": round(mistake.loss, 6),
        }
        if content.files is not None:
            row["file"] = content.files[number]
        if mistake.index in verdicts:
            row["fault"], row["why"] = verdicts[mistake.index].fault, verdicts[mistake.index].sentence
        if content.votes is not None and content.votes[number].any():
            row["disagreement"] = round(disagreement(content.votes[number]), 4)
        if mistake.index in copies:
            copy = copies[mistake.index]
            turned = ", mirrored" if copy.mirrored else ""
            row["copy"] = (
                f"The image itself is nearly training image {copy.training}{turned}: their fine detail correlates "
                f"{copy.likeness:.2f}."
            )
        rows.append(row | explained.get(mistake.index, {}))
    return rows


def disagreement(votes: NDArray[np.int64]) -> float:
    """Entropy in bits of how people voted, (K,): 0 if all agree.

    Example:
        >>> disagreement(np.array([25, 25]))
        1.0
    """
    shares = votes[votes > 0] / votes.sum()
    return float(-(shares * np.log2(shares)).sum())


def pack(array: NDArray[Any]) -> str:
    """The bytes of an array, little-endian by its type, in base64."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _explanation_on_page(content: ReportContent) -> Explanation | None:
    """The explanation without the mistakes that a page has no room for."""
    if content.explanation is None or len(content.mistakes) == content.metrics.mistakes:
        return content.explanation
    there = {mistake.index for mistake in content.explanation.mistakes}
    return content.explanation.of([mistake for mistake in content.mistakes if mistake.index in there])


def _explained(explanation: Explanation, classes: tuple[str, ...]) -> dict[int, dict[str, Any]]:
    found = zip(explanation.mistakes, explanation.repairs, explanation.health, strict=True)
    return {
        mistake.index: {
            "map": number,
            "outcome": repair.outcome,
            "sentence": repair.sentence(mistake, classes),
            "answer": repair.answer,
            "answer_after": round(repair.answer_probability, 6),
            "predicted_after": round(repair.predicted_after, 6),
            "true_after": round(repair.true_after, 6),
            "health": health.badge,
            "reasons": list(health.reasons),
        }
        for number, (mistake, repair, health) in enumerate(found)
    }


def _map_values(explanation: Explanation) -> dict[str, Any]:
    """The maps of both classes as integers, each mistake's with a scale of its own; contrast is their difference."""
    pair = np.stack([explanation.predicted, explanation.true], axis=1)  # (M, 2, h, w)
    (h, w), image_size = pair.shape[2:], explanation.hidden.shape[1:]
    largest, kind = (127, "<i1") if h * w > MANY_CELLS else (32767, "<i2")
    finite = np.nan_to_num(pair, nan=0.0, posinf=0.0, neginf=0.0)
    scales = np.maximum(np.abs(finite).max((1, 2, 3), initial=0), 1e-12)
    values = np.rint(finite / scales[:, None, None, None] * largest)
    return {
        "cells": [h, w],
        "spacing": explanation.grid.spacing,
        "origin": explanation.grid.origin,
        "bits": 8 if largest == 127 else 16,
        "values": pack(values.astype(kind)),
        "scales": pack((scales / largest).astype("<f4")),
        "hidden": pack(np.packbits(explanation.hidden.reshape(len(pair), math.prod(image_size)), axis=1)),
        "hide": explanation.hide,
        "method": explanation.method,
        "unit": "logits" if explanation.method in IN_LOGITS else "no unit",
    }


def _sheet_values(sheet: Sheet) -> dict[str, Any]:
    return {"columns": sheet.columns, "height": sheet.height, "width": sheet.width, "exact": sheet.exact}


LARGEST_EXACT = 6_000_000
"""Bytes of pixels up to which a sheet is kept without loss: 2,000 images of CIFAR-10."""
LONGEST_SIDE = 16_383
"""Pixels that WebP can have on a side."""


@dataclass(frozen=True)
class Sheet:
    """A sprite sheet. Image i is in column i modulo `columns`.

    Attributes:
        uri: the picture, as a data URI.
        columns: images in a row.
        count: images.
        height, width: of one image, in pixels.
        exact: whether every pixel is as it was.
    """

    uri: str
    columns: int
    count: int
    height: int
    width: int
    exact: bool


def make_sheet(images: Images, *, exact: bool, quality: int = 80) -> Sheet:
    """Lay images side by side in one picture: WebP, or PNG where Pillow has no WebP or the sheet is too long for it.

    Args:
        images: uint8 (N, H, W, 3).
        exact: keep every pixel, as long as there are at most `LARGEST_EXACT` bytes of them.
        quality: of a sheet that is not exact, 0 to 100.
    """
    count, height, width = images.shape[:3]
    columns = max(1, math.isqrt(max(count - 1, 0)) + 1)
    rows = max(1, -(-count // columns))
    tiles = np.zeros((rows * columns, height, width, 3), np.uint8)
    tiles[:count] = images
    grid = tiles.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)
    exact = exact and images.size <= LARGEST_EXACT
    webp = features.check("webp") and max(grid.shape[:2]) <= LONGEST_SIDE
    data = BytesIO()
    if webp:
        Image.fromarray(grid).save(data, "WEBP", lossless=exact, quality=60 if exact else quality, method=4)
    else:
        Image.fromarray(grid).save(data, "PNG", optimize=True)
    kind = "webp" if webp else "png"
    uri = f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
    return Sheet(uri, columns, count, height, width, exact or not webp)
