"""Content of the HTML report: everything that is known of a model and its mistakes, and its data for the script."""

from __future__ import annotations

import base64
import hashlib
import math
import shlex
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seefar.data.images import Images, Labels, Split
from seefar.errors import counted
from seefar.evaluation.evaluate import Evaluation, Finding, MistakeAnalysis
from seefar.evaluation.metrics import Calibration
from seefar.evaluation.mistakes import Mistake
from seefar.evaluation.predictions import Predictions
from seefar.evaluation.verdict import Verdict, fault_names, rule_of
from seefar.explanation.explain import Explanation
from seefar.explanation.leaks import Leaks
from seefar.explanation.neighbours import Neighbours
from seefar.explanation.occlusion import Repair
from seefar.maps.formulas import IN_LOGITS
from seefar.maps.sanity import Health
from seefar.training.recipe import Recipe
from seefar.training.state import HistoryRow

MOST_MISTAKES = 5_000
"""The most mistakes on a page: a browser shows as many, with their images, without delay."""


@dataclass(frozen=True, eq=False, repr=False)
class Beside:
    """Another run on the same test images: its predicted classes, int64 (N,), and the explanation of its mistakes."""

    name: str
    predicted: Labels
    explanation: Explanation | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all of it."""
        maps = self.explanation
        arrays = (self.predicted,) if maps is None else (self.predicted, maps.predicted, maps.true, maps.hidden)
        digest = hashlib.sha256(self.name.encode("utf-8", "replace"))
        for array in arrays:
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Subset:
    """Images that a filter of the page can choose: its name and heading in the menu, and how they were chosen."""

    name: str
    group: str
    meaning: str
    indices: Collection[int]


@dataclass(frozen=True, eq=False, repr=False)
class ReportContent:
    """Everything that the page shows. A part that is None is left out, and the page is complete without it."""

    name: str  # of the run or model
    data: str  # name of the data set
    test: Split
    evaluation: Evaluation  # of the test images
    calibration: Calibration | None  # None where only the classes are known
    calibration_after: Calibration | None = None  # with a temperature that was fitted on held-out images
    explanation: Explanation | None = None  # of all mistakes or some
    neighbours: Neighbours | None = None  # of all mistakes; shown if `train` is given
    leaks: Leaks | None = None
    train: Split | None = None
    analysis: MistakeAnalysis | None = None
    votes: NDArray[np.int64] | None = None  # of people for each class, (N, K); all zero for an image without votes
    beside: Beside | None = None  # another run to compare with
    history: Sequence[HistoryRow] = ()  # empty, like the recipe, for a network that was trained elsewhere
    recipe: Recipe | None = None
    command: Sequence[str] = ()  # that trained the network, as arguments
    provenance: Mapping[str, Any] = field(default_factory=dict)  # see `seefar.runs.provenance`

    @property
    def verdicts(self) -> Sequence[Verdict]:
        """Causes of the mistakes, of all or some of them, in any order; empty if they are not known."""
        return (self.analysis and self.analysis.verdicts) or ()

    @cached_property
    def mistakes(self) -> list[Mistake]:
        """The mistakes that a page has room for, in their order: those that are explained, and then the first."""
        mistakes = self.evaluation.mistakes
        explained = set() if self.explanation is None else {mistake.index for mistake in self.explanation.mistakes}
        chosen = sorted(mistakes, key=lambda mistake: mistake.index not in explained)[:MOST_MISTAKES]
        indices = {mistake.index for mistake in chosen}
        return [mistake for mistake in mistakes if mistake.index in indices]

    @cached_property
    def broken(self) -> list[int]:
        """Images that only the other run predicts wrongly, as many as a page has room for: those it explains first."""
        beside, labels, ours = self.beside, self.test.labels, self.evaluation.predictions.predicted
        if beside is None:
            return []
        explained = set() if beside.explanation is None else {mistake.index for mistake in beside.explanation.mistakes}
        broken = np.flatnonzero((ours == labels) & (beside.predicted != labels)).tolist()
        return sorted(broken, key=lambda index: index not in explained)[: MOST_MISTAKES - len(self.mistakes)]

    @cached_property
    def subsets(self) -> list[Subset]:
        """Every subset with a mistake in it; a further property of the images becomes a filter by one more here."""
        subsets = []
        if self.analysis is not None:
            for part in self.analysis.slices:
                subsets.append(Subset(part.name, "Images", part.meaning, self.analysis.subsets[part.name]))
            if self.analysis.issues is not None and self.analysis.trusts_model:
                doubtful = {issue.index for issue in self.analysis.issues}
                subsets.append(Subset("label issue", "Labels", "the label may be wrong (confident learning)", doubtful))
        if self.neighbours is not None:
            copies = {copy.index for copy in self.neighbours.duplicates}
            subsets.append(Subset("near-duplicate", "Images", "nearly the same as a training image", copies))
        if self.leaks is not None:
            named = {index for shared in self.leaks.names for index in shared.tests}
            subsets.append(Subset("shared name", "Images", "file name shared with a training image", named))
        if self.explanation is not None:
            explained = zip(self.explanation.mistakes, self.explanation.health, strict=True)
            badges = [(mistake.index, health.badge) for mistake, health in explained]
            for badge in ("good", "fair", "poor"):
                chosen = {index for index, of in badges if of == badge}
                subsets.append(Subset(f"{badge} map", "Maps", "by the checks of the map", chosen))
        if (other := self.beside) is not None:
            ours = self.evaluation.predictions.predicted
            right, same = other.predicted == self.test.labels, other.predicted == ours
            broken = ~right & (ours == self.test.labels)
            kinds = {
                f"repaired by {other.name}": ("the other run predicts the label (luck)", right),
                f"broken by {other.name}": ("only the other run predicts another class than the label", broken),
                "shared, same class": ("both runs predict the same wrong class", same),
                "shared, two classes": ("the runs predict two different wrong classes", ~right & ~same),
            }
            for name, (meaning, chosen) in kinds.items():
                subsets.append(Subset(name, f"Beside {other.name}", meaning, set(np.flatnonzero(chosen).tolist())))
        on_page = {mistake.index for mistake in self.mistakes}.union(self.broken)
        return [subset for subset in subsets if not on_page.isdisjoint(subset.indices)]

    @property
    def findings(self) -> list[Finding]:
        """Notable results, each a sentence and the filters of its mistakes: the list under "Findings" on the page."""
        kinds, texts = {subset.name: subset.indices for subset in self.subsets}, {}
        for kind, text in self.leaks.findings.items() if self.leaks else ():
            wrong = sum(mistake.index in kinds.get(kind, ()) for mistake in self.mistakes)
            texts[kind] = f"{text}; {wrong or 'none'} of them {'are mistakes' if wrong > 1 else 'is a mistake'}"
        if (other := self.beside) is not None:
            ours = self.evaluation.predictions.predicted != self.test.labels
            theirs = other.predicted != self.test.labels
            texts[f"repaired by {other.name}"] = (
                f"{other.name} repairs {(ours & ~theirs).sum()} of these mistakes, shares {(ours & theirs).sum()}, "
                f"and breaks {counted(int((theirs & ~ours).sum()), 'correct prediction')}"
            )
        findings = [Finding(text, {"set": kind} if kind in kinds else {}) for kind, text in texts.items()]
        return [*findings, *(self.analysis.findings if self.analysis else ())]

    @property
    def origin(self) -> list[tuple[str, str]]:
        """Run, data, command, versions and machine as names and values, those of the manifest."""
        origin = [("run", self.name), ("data", self.data)]
        if self.command:
            origin.append(("command", shlex.join(self.command)))
        for name, value in self.provenance.items():
            parts = value if isinstance(value, dict) else {name: value}
            origin += [(str(key), in_words(part)) for key, part in parts.items() if part is not None]
        return origin


def in_words(value: Any) -> str:
    """A setting for people: `yes` for True, `none` for None, parts of a list or a dictionary in a row."""
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, dict):
        return ", ".join(f"{name} {in_words(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(in_words, value))
    return str(value)


MOST_CORRECT = 120
"""Correct predictions in the quiz of the page."""
QUIZ_CHOICES = 4
MOST_FEATURES = 4096
COMPONENTS = 16
MANY_CELLS = 256
"""Maps with more cells than this have 8 bits a cell, smaller ones 16."""
LARGEST_EXACT = 6_000_000
"""Bytes of pixels up to which a sprite sheet has no loss: 2,000 images of CIFAR-10."""
LONGEST_SIDE = 16_383
"""Pixels that WebP can have on a side."""


def make_payload(content: ReportContent) -> dict[str, Any]:
    """Everything that the script of the page reads, as values for JSON."""
    own = np.array([mistake.index for mistake in content.mistakes], dtype=np.int64)
    index = np.concatenate([own, np.array(content.broken, dtype=np.int64)])
    predictions, explanation = content.evaluation.predictions, content.explanation
    known, rule = predictions.has_probabilities, rule_of(content.verdicts)
    if explanation is not None:
        explanation = _on_page(explanation, own)
    near = None
    if content.neighbours is not None and content.train is not None:
        near = _neighbour_values(content.neighbours, own, content.train.images)
    return {
        "run": content.name,
        "data": content.data,
        "classes": list(content.test.classes),
        "images": len(content.test),
        "fingerprint": predictions.images,
        "correct": _correct_values(content) if known else None,
        "similar": _similar_values(predictions, index) if known else None,
        "coverage": _coverage(predictions) if known else None,
        "faults": {fault: [name, rule.meaning[fault]] for fault, name in fault_names(rule).items()},
        "sets": {subset.name: [subset.group, subset.meaning] for subset in content.subsets},
        "mistakes": [*_mistake_rows(content, explanation), *_broken_rows(content)],
        "probabilities": pack(np.exp(predictions.log_probabilities[index]).astype("<f4")) if known else None,
        "pictures": make_sheet(content.test.images[index], exact=True),
        "maps": None if explanation is None else _map_values(explanation),
        "votes": None if content.votes is None else pack(content.votes[index].astype("<u2")),
        "neighbours": near,
        "beside": None if content.beside is None else _beside_values(content.beside, index),
    }


def _beside_values(beside: Beside, index: NDArray[np.int64]) -> dict[str, Any]:
    """What the other run predicts for the images at `index`, and its maps of those that it predicts wrongly."""
    values: dict[str, Any] = {"name": beside.name, "predicted": beside.predicted[index].tolist()}
    if beside.explanation is None:
        return {**values, "index": [], "maps": None}
    explanation = _on_page(beside.explanation, index)
    return {**values, "index": [mistake.index for mistake in explanation.mistakes], "maps": _map_values(explanation)}


def _on_page(explanation: Explanation, index: NDArray[np.int64]) -> Explanation:
    """The explanation of those mistakes that are on the page, at `index`."""
    on_page = set(index.tolist())
    return explanation.of([mistake for mistake in explanation.mistakes if mistake.index in on_page])


def _similar_values(predictions: Predictions, index: NDArray[np.int64]) -> dict[str, Any] | None:
    """The M mistakes at `index` in the first principal components of their features, int8: near ones are similar."""
    if len(index) < 2:
        return None
    # A published run has no features; the principal components of wider ones take minutes.
    of = "features" if 1 < predictions.features.shape[1] <= MOST_FEATURES else "logits"
    vectors = getattr(predictions, of)[index].astype(np.float64)  # (M, C)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    vectors -= vectors.mean(0)
    axes = np.linalg.eigh(vectors.T @ vectors)[1][:, : -COMPONENTS - 1 : -1]  # (C, 16), the largest variance first
    axes *= np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])  # the sign of an axis is arbitrary
    values = vectors @ axes
    values *= 127 / max(float(np.abs(values).max()), 1e-12)
    return {"of": of, "each": values.shape[1], "values": pack(np.rint(values).astype("<i1"))}


def _correct_values(content: ReportContent) -> dict[str, Any]:
    """The least confident correct predictions, with their most probable classes, for the quiz of the page."""
    predictions = content.evaluation.predictions
    right = np.flatnonzero(predictions.predicted == predictions.labels)
    index = right[np.argsort(predictions.confidence[right], kind="stable")[:MOST_CORRECT]]
    logs = predictions.log_probabilities[index]
    choices = np.argsort(-logs, axis=1, kind="stable")[:, :QUIZ_CHOICES]  # (C, 4), the first is the label
    votes = None if content.votes is None else content.votes[index]
    return {
        "index": index.tolist(),
        "choices": choices.tolist(),
        "shares": pack(np.exp(np.take_along_axis(logs, choices, 1)).astype("<f4")),
        "votes": None if votes is None else pack(np.take_along_axis(votes, choices, 1).astype("<u2")),
        "asked": None if votes is None else votes.sum(1).tolist(),
        "pictures": make_sheet(content.test.images[index], exact=False),
    }


def _coverage(predictions: Predictions) -> dict[str, list[int]]:
    """How many images have at least a confidence of 0, 1, ... 100%, and how many of these are predicted correctly."""
    order = np.argsort(predictions.confidence)
    first = np.searchsorted(predictions.confidence[order], np.arange(101) / 100)  # image of each threshold
    right = np.append(np.cumsum((predictions.predicted == predictions.labels)[order][::-1])[::-1], 0)
    return {"answered": (len(order) - first).tolist(), "right": right[first].tolist()}


def _mistake_rows(content: ReportContent, explanation: Explanation | None) -> list[dict[str, Any]]:
    """One plain dictionary a mistake, for the script and for the table of a page without script."""
    subsets, known = content.subsets, content.evaluation.predictions.has_probabilities
    verdicts = {verdict.index: verdict for verdict in content.verdicts}
    duplicates = () if content.neighbours is None else content.neighbours.duplicates
    copies = {duplicate.index: duplicate for duplicate in duplicates}
    effects: dict[int, dict[str, Any]] = {}
    if explanation is not None:
        explained = zip(explanation.mistakes, explanation.repairs, explanation.health, strict=True)
        for number, (mistake, repair, health) in enumerate(explained):
            sentence = isolate(repair.sentence(mistake.predicted, content.test.classes), content.test.classes)
            effects[mistake.index] = {"map": number, **effect_values(repair, health, sentence)}
    rows = []
    for mistake in content.mistakes:
        row: dict[str, Any] = {"index": mistake.index, "true": mistake.true, "predicted": mistake.predicted}
        if sets := [subset.name for subset in subsets if mistake.index in subset.indices]:
            row["sets"] = sets
        if known:
            row |= {
                "confidence": round(mistake.confidence, 6),
                "true_probability": float(f"{mistake.true_probability:.6g}"),
                "loss": round(mistake.loss, 6),
            }
        if content.test.files is not None:
            row["file"] = content.test.files[mistake.index]
        if mistake.index in verdicts:
            verdict = verdicts[mistake.index]
            row |= {"fault": verdict.fault, "why": isolate(verdict.sentence, content.test.classes)}
            if verdict.entropy is not None:
                row["disagreement"] = round(verdict.entropy, 4)
        if mistake.index in copies:
            copy = copies[mistake.index]
            mirrored = ", mirrored" if copy.mirrored else ""
            row["copy"] = (
                f"This image is a near-duplicate of training image {copy.training}{mirrored}: the correlation of "
                f"their fine detail is {copy.likeness:.2f}."
            )
        rows.append(row | effects.get(mistake.index, {}))
    return rows


def _broken_rows(content: ReportContent) -> list[dict[str, Any]]:
    """Likewise for the images that only the other run predicts wrongly: `predicted` is the label."""
    predictions, files, rows = content.evaluation.predictions, content.test.files, []
    for index in content.broken:
        label = int(content.test.labels[index])
        row: dict[str, Any] = {"index": index, "true": label, "predicted": label}
        if predictions.has_probabilities:
            loss = -float(predictions.log_probabilities[index, label])
            row |= {"confidence": round(math.exp(-loss), 6), "loss": round(loss, 6)}
        rows.append(row if files is None else row | {"file": files[index]})
    return rows


def isolate(text: str, names: Sequence[str]) -> str:
    """The text in which names that are written from right to left do not turn the words around them."""
    for name in _from_right_to_left(tuple(names)):
        text = text.replace(name, f"\u2068{name}\u2069")
    return text


@cache
def _from_right_to_left(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in name)]


def pack(array: NDArray[Any]) -> str:
    """The bytes of an array, little-endian by its type, in base64."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def effect_values(repair: Repair, health: Health, sentence: str) -> dict[str, Any]:
    """The occlusion test of an image, in words too, and how far its map can be trusted."""
    return {
        "outcome": repair.outcome,
        "sentence": sentence,
        "hidden_share": round(repair.share, 4),
        "control_share": None if repair.control_share is None else round(repair.control_share, 4),
        "answer": repair.answer,
        "answer_after": round(repair.answer_probability, 6),
        "predicted_after": round(repair.predicted_after, 6),
        "true_after": round(repair.true_after, 6),
        "health": health.badge,
        "reasons": list(health.reasons),
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


def _neighbour_values(neighbours: Neighbours, index: NDArray[np.int64], images: Images) -> dict[str, Any]:
    """The nearest training images of the M mistakes at `index`, and a sprite sheet of all that occur, each once."""
    row_of = {at: row for row, at in enumerate(neighbours.index.tolist())}
    rows = np.array([row_of[at] for at in index.tolist()], dtype=np.int64)
    indices = np.concatenate([neighbours.of_predicted, neighbours.of_true], axis=1)[rows]  # (M, 2n), -1: fewer
    distances = np.concatenate([neighbours.distance_predicted, neighbours.distance_true], axis=1)[rows]
    used = np.unique(indices[indices >= 0])
    return {
        **make_sheet(images[used], exact=False),
        "each": indices.shape[1],
        "indices": pack(indices.astype("<i4")),
        "rows": pack(np.where(indices < 0, -1, np.searchsorted(used, indices)).astype("<i4")),  # in the sheet
        "distances": pack(distances.astype("<f4")),
    }


def make_sheet(images: Images, *, exact: bool) -> dict[str, Any]:
    """A sprite sheet: images, uint8 (N, H, W, 3), side by side in one picture; image i is in column i % `columns`.

    `exact` keeps every pixel, as long as there are at most `LARGEST_EXACT` bytes of them. WebP, or PNG where the sheet
    is too long for it.
    """
    count, height, width = images.shape[:3]
    columns = max(1, math.isqrt(max(count - 1, 0)) + 1)
    rows = max(1, -(-count // columns))
    tiles = np.zeros((rows * columns, height, width, 3), np.uint8)
    tiles[:count] = images
    grid = tiles.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)
    lossless = exact and images.size <= LARGEST_EXACT
    data, kind = BytesIO(), "png"
    if max(grid.shape[:2]) <= LONGEST_SIDE:
        kind = "webp"
        # In lossless mode `quality` is the effort; 60 makes the sheet hardly larger than 100.
        Image.fromarray(grid).save(data, "WEBP", lossless=lossless, quality=60 if lossless else 80, method=4)
    else:
        Image.fromarray(grid).save(data, "PNG", optimize=True)
    uri = f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
    return {"uri": uri, "columns": columns, "height": height, "width": width}
