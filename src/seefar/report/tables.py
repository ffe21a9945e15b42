"""Text files: `mistakes.csv`, joined from columns by data set index, and the model card of an exported network."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib import resources

from jinja2 import Environment, StrictUndefined

from seefar.data.images import Split
from seefar.errors import printable
from seefar.evaluation.metrics import Metrics
from seefar.evaluation.mistakes import Mistake
from seefar.explanation.explain import Explanation
from seefar.explanation.neighbours import Neighbours
from seefar.training.recipe import Recipe

Table = Mapping[str, Mapping[int, object]]
"""Columns by name, each with values by data set index."""
FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # the last four are the wide forms of the first four
"""First characters of a cell that a spreadsheet evaluates as a formula."""


def mistakes_csv(mistakes: Sequence[Mistake], classes: Sequence[str], *tables: Table) -> str:
    """`mistakes.csv`: one line for each mistake, classes by name; `tables` are further columns.

    Text that a spreadsheet would evaluate as a formula starts with an apostrophe, also in the CSV of the page.
    """
    columns = {name: column for table in tables for name, column in table.items()}
    lines = io.StringIO(newline="")
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["index", "true", "predicted", "confidence", "true_probability", "loss", *columns])
    for m in mistakes:
        numbers = (f"{m.confidence:.6f}", f"{m.true_probability:.6g}", f"{m.loss:.6f}")
        if math.isnan(m.loss):
            numbers = "", "", ""
        more = (column.get(m.index) for column in columns.values())
        writer.writerow(map(_cell, [m.index, classes[m.true], classes[m.predicted], *numbers, *more]))
    return lines.getvalue()


def _cell(value: object) -> object:
    """The value, after an apostrophe if a spreadsheet would evaluate it as a formula (OWASP, CSV injection)."""
    if not isinstance(value, str) or not value.startswith(FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def files_table(split: Split) -> Table:
    """The column `file` with the file name of each image; no column for images without files.

    Control characters in names are escaped, because a terminal that shows the table would execute them.
    """
    return {} if split.files is None else {"file": {at: printable(name) for at, name in enumerate(split.files)}}


def occlusion_table(explanation: Explanation, classes: Sequence[str]) -> Table:
    """Results of the occlusion test and the health checks, for each mistake of an explanation."""
    rows: dict[int, dict[str, object]] = {}
    for mistake, repair, health in zip(explanation.mistakes, explanation.repairs, explanation.health, strict=True):
        top, left, bottom, right = repair.box
        rows[mistake.index] = {
            "outcome": repair.outcome,
            "hidden_share": f"{repair.share:.2f}",
            "top": top,
            "left": left,
            "bottom": bottom,
            "right": right,
            "evidence_hidden": f"{repair.evidence:.4f}",
            "answer_hidden": classes[repair.answer],
            "predicted_probability_hidden": f"{repair.predicted_after:.6f}",
            "true_probability_hidden": f"{repair.true_after:.6f}",
            "control_share": None if repair.control_share is None else f"{repair.control_share:.2f}",
            "health": health.badge,
            "health_reasons": "; ".join(health.reasons),
            "sentence": repair.sentence(mistake.predicted, classes),
        }
    names = next(iter(rows.values()), {})
    return {name: {index: row[name] for index, row in rows.items()} for name in names}


def neighbours_table(neighbours: Neighbours) -> Table:
    """The nearest training images of each mistake, and the mistakes that are near-duplicates of training images."""
    table: dict[str, dict[int, object]] = {}
    for name in ("predicted", "true"):
        nearest, distances = getattr(neighbours, f"of_{name}"), getattr(neighbours, f"distance_{name}")
        rows = list(zip(neighbours.index.tolist(), nearest.tolist(), distances[:, 0].tolist(), strict=True))
        table[f"neighbours_{name}"] = {
            index: " ".join(str(item) for item in near if item >= 0) for index, near, _ in rows
        }
        table[f"distance_{name}"] = {index: f"{far:.4f}" for index, near, far in rows if near[0] >= 0}
    mistakes = set(neighbours.index.tolist())
    table["duplicate_of"] = {item.index: item.training for item in neighbours.duplicates if item.index in mistakes}
    return table


# ---- Model card ----

DESCRIPTIONS = {
    "weights.safetensors": "all weights, with the normalisation, as safetensors; the header has recipe and classes",
    "model.onnx": "ONNX, float32: input `images` uint8 (N, H, W, 3), outputs `logits` (N, K) and `maps` (N, K, h, w)",
}
"""Files that a card describes."""


def model_card(recipe: Recipe, classes: Sequence[str], metrics: Metrics | None, files: Sequence[str]) -> str:
    """The text of a model card: `README.md` beside the weights, in the form of the Hugging Face hub.

    Without `metrics` of the test set it claims no accuracy. `files` are names of the files beside the card.
    """
    environment = Environment(autoescape=False, undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters |= {
        "json": json.dumps,  # a JSON string is a YAML string
        "printable": printable,
        "percent": lambda share, digits: f"{share:.{digits}%}",
        "cell": _markdown_cell,
    }
    template = (resources.files("seefar.report") / "assets" / "model_card.md.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        recipe=recipe,
        classes=classes,
        metrics=metrics,
        files=files,
        descriptions=DESCRIPTIONS,
        cifar10=recipe.data == "cifar10",
    )


def _markdown_cell(text: str) -> str:
    """A class name inside Markdown: as text, never as HTML, a link, a picture, or the end of a table cell."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")
    return re.sub(r"([\\`\[\]|])", r"\\\1", text)
