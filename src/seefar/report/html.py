"""HTML report: one self-contained page of a run, with its mistakes, their maps and a content security policy."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any
from urllib.parse import quote_plus

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from seefar.evaluation.metrics import Metrics
from seefar.evaluation.mistakes import count_confusions
from seefar.evaluation.triage import MEANING
from seefar.report.content import ReportContent
from seefar.report.curves import Scale, accuracy_scale, history_charts, reliability_chart
from seefar.report.payload import make_payload
from seefar.report.words import command_of, how_to_read, origin_of

OUTCOMES = {
    "repaired": "the answer becomes right",
    "other": "it becomes wrong in another way",
    "stays": "it does not change",
}
LEVELS = 6  # shades of the confusion matrix
MOST_PAIRS = 8
MOST_CLASSES = 50  # in the confusion matrix
DATA_NAMES = {"cifar10": "CIFAR-10"}


def render_report(content: ReportContent) -> str:
    """The page as HTML text: one file that loads nothing, readable without script.

    Styles, scripts and pictures stand in the page itself; its content security policy allows exactly these, by their
    SHA-256, and no others. All names are escaped, so a class called `<script>` is text.

    Args:
        content: what to show.
    """
    assets = {name: _asset(name) for name in ("report.html.j2", "report.css", "first.js", "draw.js", "report.js")}
    script = f'"use strict";\n(() => {{\n{assets["draw.js"]}{assets["report.js"]}}})();\n'
    payload = make_payload(content)
    metrics, recipe = content.metrics, content.recipe
    scale = accuracy_scale(metrics, content.data)
    pairs = _confused_pairs(metrics)
    page = {
        "fingerprint": content.fingerprint,
        "policy": _policy([assets["report.css"]], [assets["first.js"], script]),
        "style": Markup(assets["report.css"]),
        "first_script": Markup(assets["first.js"]),
        "script": Markup(script),
        "payload": Markup(_json_in_html(payload.values)),
        "pictures": payload.pictures.uri,
        "neighbours": "" if payload.neighbours is None else payload.neighbours.uri,
        "name": content.name,
        "data": DATA_NAMES.get(content.data, content.data),
        "classes": content.classes,
        "n": f"{metrics.n:,}",
        "mistakes": f"{metrics.mistakes:,}",
        "accuracy": f"{100 * metrics.accuracy:.2f}",
        "low": f"{100 * metrics.interval[0]:.2f}",
        "high": f"{100 * metrics.interval[1]:.2f}",
        "scale": scale,
        "scale_summary": _scale_summary(metrics, scale),
        "recipe": recipe,
        "blocks": _blocks(content, pairs),
        "charts": _charts(content),
        "charts_title": "Training" if content.history else "Calibration",
        "on_page": f"{len(content.mistakes):,}",
        "matrix": _matrix(metrics),
        "pairs": pairs,
        "reading": how_to_read(content),
        "has_verdicts": bool(content.verdicts),
        "rows": payload.values["mistakes"],
        "command": command_of(recipe) if recipe else "",
        "origin": origin_of(content),
        "settings": [
            (name.replace("_", " "), str(value)) for name, value in (asdict(recipe) if recipe else {}).items()
        ],
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.from_string(assets["report.html.j2"]).render(page=page)


@dataclass(frozen=True)
class Bar:
    """A bar that is a link: what it stands for, how many, its length in per cent."""

    name: str
    text: str
    count: str
    percent: float
    link: str


@dataclass(frozen=True)
class Bars:
    """Bars under a title, with a note below."""

    title: str
    bars: tuple[Bar, ...]
    note: str = ""


def _asset(name: str) -> str:
    return (resources.files("seefar.report") / "assets" / name).read_text(encoding="utf-8")


def _policy(styles: Sequence[str], scripts: Sequence[str]) -> str:
    def hashes(texts: Sequence[str]) -> str:
        digests = (hashlib.sha256(text.encode("utf-8")).digest() for text in texts)
        return " ".join(f"'sha256-{base64.b64encode(digest).decode('ascii')}'" for digest in digests)

    return (
        f"default-src 'none'; img-src data:; style-src {hashes(styles)}; script-src {hashes(scripts)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _json_in_html(values: Any) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _link(**filters: str) -> str:
    return "#" + "&".join(f"{key}={quote_plus(value)}" for key, value in filters.items())


def _scale_summary(metrics: Metrics, scale: Scale) -> str:
    beside = "; ".join(mark.text for mark in scale.marks)
    return f"This run: {metrics.accuracy:.2%} right.{f' To compare: {beside}.' if beside else ''}"


def _blocks(content: ReportContent, pairs: Bars) -> list[Bars]:
    """Beside the accuracy: whose fault the mistakes are and what hiding did, and where these are missing, the pairs."""
    blocks = []
    if content.verdicts:
        found = [verdict.fault for verdict in content.verdicts]
        blocks.append(_counted("Whose fault are they?", "fault", MEANING, found))
    if content.explanation is not None and content.explanation.mistakes:
        rates = content.explanation.rates
        note = ""
        if rates.repaired.share is not None and rates.shifted.share is not None:
            note = (
                f"It repairs {rates.repaired.share:.0%}; hiding a region of the same shape elsewhere repairs "
                f"{rates.shifted.share:.0%}."
            )
        outcomes = [repair.outcome for repair in content.explanation.repairs]
        blocks.append(_counted("What if the evidence is hidden?", "outcome", OUTCOMES, outcomes, note))
    if len(blocks) < 2 and pairs.bars:
        blocks.append(Bars(pairs.title, pairs.bars[: 4 if blocks else MOST_PAIRS]))
    return blocks


def _counted(title: str, key: str, kinds: Mapping[Any, str], found: Sequence[str], note: str = "") -> Bars:
    counts = {kind: found.count(kind) for kind in kinds}
    bars = (
        Bar(kind, text, f"{counts[kind]:,}", 100 * counts[kind] / max(1, len(found)), _link(**{key: kind}))
        for kind, text in kinds.items()
    )
    return Bars(title, tuple(bars), note)


def _confused_pairs(metrics: Metrics) -> Bars:
    most = count_confusions(metrics.confusion)[:MOST_PAIRS]
    names = [one.name for one in metrics.classes]
    bars = (
        Bar(
            f"{names[t]} \N{RIGHTWARDS ARROW} {names[p]}",
            f"{count / max(1, metrics.mistakes):.0%} of the mistakes",
            f"{count:,}",
            100 * count / most[0].n,
            _link(true=names[t], predicted=names[p]),
        )
        for t, p, count in most
    )
    return Bars("Most often confused", tuple(bars))


def _charts(content: ReportContent) -> list[Any]:
    charts = history_charts(content.history, content.metrics.accuracy)
    if content.calibration is not None:
        charts.append(reliability_chart(content.calibration, content.calibration_after))
    return charts


def _matrix(metrics: Metrics) -> list[dict[str, Any]]:
    """Rows and columns of the confusion matrix; of very many classes those that most mistakes are of, or go to."""
    names = [one.name for one in metrics.classes]
    confusion = np.array(metrics.confusion).reshape(len(names), -1)
    wrong = confusion * ~np.eye(len(names), dtype=bool)
    most = int(wrong.max(initial=0)) or 1
    chosen = sorted(np.argsort(-(wrong.sum(0) + wrong.sum(1)), kind="stable")[:MOST_CLASSES].tolist())
    return [
        {
            "name": names[t],
            "cells": [
                {
                    "count": count,
                    "diagonal": t == p,
                    "level": max(1, round(LEVELS * (count / most) ** 0.5)),  # small counts are told apart too
                    "link": _link(true=names[t], predicted=names[p]),
                    "text": f"{count} {'image' if count == 1 else 'images'} of {names[t]} called {names[p]}",
                }
                for p in chosen
                for count in [int(confusion[t, p])]
            ],
        }
        for t in chosen
    ]
