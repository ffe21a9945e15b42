"""The HTML report: one self-contained page, with its mistakes, their maps and a content security policy."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import numpy as np
from jinja2 import Environment, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from seefar.data.images import Split
from seefar.data.reference import Reference
from seefar.errors import DataError, RunError, counted, not_read
from seefar.evaluation.evaluate import SIGNIFICANT, Evaluation, analyse_mistakes
from seefar.evaluation.metrics import Metrics, measure_calibration
from seefar.evaluation.mistakes import Mistake, count_confusions
from seefar.evaluation.verdict import fault_names, rule_of
from seefar.explanation.explain import Explanation
from seefar.report.charts import Chart, history_charts, reliability_chart
from seefar.report.content import ReportContent, in_words, isolate, make_payload, make_sheet
from seefar.runs.files import read_bytes, write_text
from seefar.runs.folder import RunFolder, find_run
from seefar.runs.provenance import provenance

OUTCOMES = {
    "repaired": ("repaired", "the prediction becomes correct"),
    "other": ("changed", "the prediction changes, but stays wrong"),
    "stays": ("unchanged", "the prediction does not change"),
}
"""Name and meaning of each outcome of the occlusion test."""
SCRIPTS = ("draw.js", "report.js", "card.js", "notes.js", "lesson.js", "explore.js", "tools.js", "start.js")
WITHOUT_SCRIPT = ".needs-script { display: none; }"  # the style that a browser without script adds
LEVELS = 6  # shades of the confusion matrix
MOST_PAIRS = 8
FEW_COLUMNS = 20  # have room for decimals
LEAST_IN_SLICE = 10  # images; the error rate of fewer says nothing
MOST_WORST = 6  # pictures next to the accuracy
DATA_NAMES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "fashion_mnist": "Fashion-MNIST"}
REFERENCES = {"cifar10": (("recipe seed, as published", 0.86), ("people", 0.952))}
"""Accuracies to compare with: that published for the recipe `seed`, and the mean of people (Peterson et al. 2019)."""


def write_report(
    path: str | Path,
    split: Split,
    evaluation: Evaluation,
    explanation: Explanation | None = None,
    *,
    name: str,
    data: str,
    reference: Reference | None = None,
) -> Path:
    """The page of any model's mistakes: one HTML file that loads nothing. `seefar.report_run` writes that of a run.

    Args:
        path: the file; its folder is created.
        split: the images.
        evaluation: of the model on these images, see `seefar.evaluate`.
        explanation: of all its mistakes or some, see `seefar.explain`.
        name: of the model, as the page shows it.
        data: name of the data set, likewise.
        reference: votes of people and predictions of networks for CIFAR-10's test images.

    Raises:
        DataError: the evaluation or the reference is of other images, or the explanation of other predictions.

    Examples:
        >>> import tempfile, seefar
        >>> from seefar.data.shapes import load_shapes
        >>> test = load_shapes(train=20, test=12).test
        >>> evaluation = seefar.evaluate(seefar.ResNet18(width=2).eval(), test, progress=seefar.SILENT)
        >>> page = seefar.write_report(tempfile.mkdtemp() + "/a.html", test, evaluation, name="mine", data="shapes")
        >>> "mistakes" in page.read_text(encoding="utf-8")
        True
    """
    predictions = evaluation.predictions
    if not predictions.are_for(split):
        raise DataError("The evaluation is for other images than this split: evaluate it with seefar.evaluate.")
    if explanation and (explanation.model, explanation.images) != (predictions.model, predictions.images):
        raise DataError("The explanation is for other predictions than the evaluation: explain these predictions.")
    known = predictions.has_probabilities
    content = ReportContent(
        name=name,
        data=data,
        test=split,
        evaluation=evaluation,
        calibration=measure_calibration(predictions.logits, predictions.labels) if known else None,
        explanation=explanation,
        analysis=analyse_mistakes(predictions, split, reference),
        votes=None if reference is None else reference.counts,
        provenance=provenance(),
    )
    write_text(Path(path), render_report(content))
    return Path(path)


def render_report(content: ReportContent, *, live: bool = False) -> str:
    """The page as HTML text: one file that loads nothing, readable without script.

    Its content security policy allows exactly the styles and the script in it, by their SHA-256. All names are escaped.
    `live` is with the brush and the drop zone of `seefar.app`, which need its server.
    """
    template, style = _asset("report.html.j2"), _asset("report.css")
    script = '"use strict";\n(() => {\n' + "".join(map(_asset, (*SCRIPTS, *(("live.js",) if live else ())))) + "})();\n"
    style += _asset("live.css") if live else ""
    payload, subsets = make_payload(content), {subset.name for subset in content.subsets}
    metrics, recipe, classes = content.evaluation.metrics, content.recipe, content.test.classes
    pairs, kinds = _pair_bars(metrics), content.analysis.slices if content.analysis else []
    page = {
        "policy": _policy([style, WITHOUT_SCRIPT], script) + ("; connect-src 'self'" if live else ""),
        "style": Markup(style),
        "without_script": Markup(WITHOUT_SCRIPT),
        "script": Markup(script),
        # One letter outside of ASCII would double the size of the text in the browser.
        "payload": htmlsafe_json_dumps(payload, allow_nan=False, separators=(",", ":")),
        "name": content.name,
        "data": DATA_NAMES.get(content.data, content.data),
        "classes": classes,
        "n": f"{metrics.n:,}",
        "mistakes": f"{metrics.mistakes:,}",
        "accuracy": f"{100 * metrics.accuracy:.2f}",
        "interval": metrics.interval,
        "scale": accuracy_scale(metrics, content.data),
        "worst": _worst(content),
        "recipe": recipe,
        "blocks": _blocks(content, pairs),
        "charts": page_charts(content),
        "charts_title": "Training" if content.history else "Calibration",
        "on_page": f"{len(content.mistakes):,}",
        "findings": [
            (isolate(finding.text[:1].upper() + finding.text[1:], classes), _link(**finding.filters))
            for finding in content.findings
        ],
        "views": content.analysis.views if content.analysis else (),
        "slices": [
            (part, _link(set=part.name) if part.name in subsets else "") for part in kinds if part.n >= LEAST_IN_SLICE
        ],
        "differs": any(part.p_holm < SIGNIFICANT for part in kinds),
        "faults": payload["faults"] if content.verdicts else {},
        "similar": payload["similar"]["of"] if payload["similar"] else "logits",
        "matrix": _matrix(metrics),
        "pairs": pairs,
        "rates": content.explanation.rates if content.explanation and content.explanation.mistakes else None,
        "has_loss": metrics.loss is not None,
        "has_neighbours": content.neighbours is not None,
        "causes": rule_of(content.verdicts).definition,
        "has_verdicts": bool(content.verdicts),
        "rows": payload["mistakes"][: len(content.mistakes)],
        "origin": content.origin,
        "settings": [
            (name.replace("_", " "), in_words(value)) for name, value in (asdict(recipe) if recipe else {}).items()
        ],
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["interval"] = lambda ends, digits: f"{100 * ends[0]:.{digits}f}-{100 * ends[1]:.{digits}f}%"
    text = environment.from_string(template).render(page=page)
    return text.encode("utf-8", "replace").decode("utf-8")  # paths of other encodings have surrogates


@dataclass(frozen=True)
class Bar:
    """A bar that is a link to the mistakes that it counts; `kind` is the class of its colour in the style."""

    names: tuple[str, ...]
    text: str
    count: int
    total: int
    link: str
    kind: str = ""


@dataclass(frozen=True)
class Bars:
    """Bars under a title; `shows` as in the page."""

    title: str
    bars: tuple[Bar, ...]
    note: Sequence[tuple[str, str]] = ()  # sentences below, each with the class of its sign in the style
    marks: Sequence[tuple[float, str]] = ()  # shares to compare the first bar with, each with the class of its sign
    shows: str = ""


def page_charts(content: ReportContent) -> list[Chart]:
    """Loss and accuracy of the training and the reliability diagram, where they are known."""
    evaluation, plain = content.evaluation, content.calibration
    charts = history_charts(content.history, evaluation.metrics.accuracy) if content.history else []
    if plain is not None:
        charts.append(reliability_chart(plain, evaluation.predictions.confidence, content.calibration_after))
    return charts


def _asset(name: str) -> str:
    return (resources.files("seefar.report") / "assets" / name).read_text(encoding="utf-8")


def _policy(styles: Sequence[str], script: str) -> str:
    def source(text: str) -> str:
        digest = hashlib.sha256(text.encode("utf-8")).digest()
        return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"

    return (
        f"default-src 'none'; img-src data:; style-src {' '.join(map(source, styles))}; script-src {source(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _link(**filters: str) -> str:
    """The address of the mistakes that filters show; empty without filters."""
    return "#" + "&".join(f"{key}={quote_plus(value)}" for key, value in filters.items()) if filters else ""


def accuracy_scale(metrics: Metrics, data: str) -> dict[str, Any]:
    """The accuracy on a line from a round number to 100%, with values to compare it with; positions are in per cent.

    `value`, and `low` and `high` of its interval; `marks` of what is compared and `ticks`, each a place and a text;
    `summary`, all of it in words.
    """
    marks = REFERENCES.get(data, ())
    chance = 1 / len(metrics.classes)
    lowest = min(metrics.interval[0], *(share for _, share in marks), 1.0)
    locator = MaxNLocator(4, steps=[1, 2, 5, 10])
    ticks = [float(tick) for tick in locator.tick_values(100 * lowest - 2, 100) if 0 <= tick <= 100]
    bottom = ticks[0] / 100
    if bottom <= chance:
        marks = (*marks, ("chance", chance))

    def place(share: float) -> float:
        return 100 * (share - bottom) / (1 - bottom)

    named = [(place(share), f"{name} {100 * share:.1f}%".replace(".0%", "%")) for name, share in marks]
    compared = f" For comparison: {'; '.join(text for _, text in named)}." if named else ""
    return {
        "value": place(metrics.accuracy),
        "low": place(metrics.interval[0]),
        "high": place(metrics.interval[1]),
        "marks": named,
        "ticks": [(place(tick / 100), f"{tick:g}") for tick in ticks],
        "summary": f"This run: accuracy {metrics.accuracy:.2%}.{compared}",
    }


def _worst(content: ReportContent) -> list[tuple[Mistake, str]]:
    """The mistakes with the highest loss, for the top of the page, with their pictures."""
    worst = sorted(content.mistakes, key=lambda mistake: -mistake.loss)[:MOST_WORST]
    return [(item, make_sheet(content.test.images[item.index][None], exact=True)["uri"]) for item in worst]


def _blocks(content: ReportContent, pairs: Bars) -> list[Bars]:
    """Beside the accuracy: causes of the mistakes and the occlusion test; where one is missing, the confusions."""
    blocks = []
    if any(verdict.fault != "unknown" for verdict in content.verdicts):
        rule, faults = rule_of(content.verdicts), [verdict.fault for verdict in content.verdicts]
        names = {fault: (name, rule.meaning[fault]) for fault, name in fault_names(rule).items()}
        note = [("", f"By {rule.name}. {rule.reliability}")]
        blocks.append(_counted("Causes of the mistakes", "fault", names, faults, note=note, shows="faults"))
    if content.explanation is not None and content.explanation.mistakes:
        rates, outcomes = content.explanation.rates, [repair.outcome for repair in content.explanation.repairs]
        compared = [
            ("control", rates.shifted.share, "The control mask repairs {:.0%}."),
            ("broken", rates.damaged.share, "The same hiding breaks {:.0%} of correct predictions."),
        ]
        marks = [(share, kind) for kind, share, _ in compared if share is not None]
        note = [(f"sign {kind}", text.format(share)) for kind, share, text in compared if share is not None]
        title = "What if the evidence is hidden?"
        blocks.append(_counted(title, "outcome", OUTCOMES, outcomes, note=note, marks=marks))
    if len(blocks) < 2 and pairs.bars:
        blocks.append(Bars(pairs.title, pairs.bars[: 4 if blocks else MOST_PAIRS]))
    return blocks


def _counted(title: str, key: str, kinds: Mapping[Any, tuple[str, str]], values: Sequence[str], **more: Any) -> Bars:
    """A bar for each kind of value, given its name and its meaning."""
    bars = (
        Bar((name,), meaning, values.count(kind), len(values), _link(**{key: kind}), kind)
        for kind, (name, meaning) in kinds.items()
    )
    return Bars(title, tuple(bars), **more)


def _pair_bars(metrics: Metrics) -> Bars:
    """The most frequent confusions of a true class with a predicted one; each direction of a pair counts by itself."""
    bars = []
    for t, p, count in count_confusions(metrics.confusion)[:MOST_PAIRS]:
        true, predicted = metrics.classes[t].name, metrics.classes[p].name
        text, link = f"{count / metrics.mistakes:.0%} of the mistakes", _link(true=true, predicted=predicted)
        bars.append(Bar((true, predicted), text, count, metrics.mistakes, link))
    return Bars("Most frequent confusions", tuple(bars), shows="confused_pairs")


def _matrix(metrics: Metrics) -> list[dict[str, Any]]:
    """Rows of the confusion matrix with recall and precision; empty cells are the `gap` before the next cell."""
    confusion = np.array(metrics.confusion).reshape(len(metrics.classes), -1)
    diagonal = np.eye(len(confusion), dtype=bool)
    most, rows = int(confusion[~diagonal].max(initial=0)) or 1, []
    for t, label in enumerate(metrics.classes):
        cells, end = [], 0
        for p in np.flatnonzero((confusion[t] > 0) | diagonal[t]).tolist():
            count, other = int(confusion[t, p]), metrics.classes[p].name
            level = max(1, round(LEVELS * (count / most) ** 0.5))  # the root spreads small counts
            text = f"{counted(count, 'image')} of {label.name} predicted as {other}"
            link = _link(true=label.name, predicted=other)
            cells.append(
                {"gap": p - end, "count": count, "diagonal": t == p, "level": level, "link": link, "text": text}
            )
            end = p + 1
        recall, precision = (_share(value, len(confusion)) for value in (label.recall, label.precision))
        rest = len(confusion) - end
        rows.append(
            {"name": label.name, "recall": recall, "precision": precision, "n": label.n, "cells": cells, "gap": rest}
        )
    return rows


def _share(value: float | None, columns: int) -> str:
    return "-" if value is None else f"{100 * value:.0f}" if columns > FEW_COLUMNS else f"{value:.1%}"


@dataclass(frozen=True)
class ReportFrame:
    """A report that a notebook shows when it is the last value of a cell."""

    text: str = field(repr=False)
    height: int

    def _repr_html_(self) -> str:
        return (
            f'<iframe title="Report of a run" sandbox="allow-scripts allow-downloads" width="100%" '
            f'height="{self.height}" style="border:0" srcdoc="{html.escape(self.text)}"></iframe>'
        )


def show_report(folder: RunFolder | str | Path, height: int = 860) -> ReportFrame:
    """The report of a run within a notebook: a frame of its own, so that neither changes the other.

    Args:
        folder: the run folder, its path, or the bare name of one under `runs/`.
        height: of the frame, in pixels.

    Raises:
        RunError: the folder has no report.

    Examples:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "report.html").write_text("<p>a report")
        >>> show_report(folder)._repr_html_()[-36:]
        'srcdoc="&lt;p&gt;a report"></iframe>'
    """
    run = find_run(folder)
    try:
        return ReportFrame(read_bytes(run.report, follow=False).decode("utf-8", "replace"), height)
    except FileNotFoundError as error:
        raise RunError(
            f"{run.report} is missing: write it with seefar.report_run(run, data), or `seefar report {run.name}`."
        ) from error
    except OSError as error:
        raise not_read(run.report, error) from error
