"""Model card: `README.md` beside the weights, in the form of the Hugging Face hub (YAML, model-index)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources

from jinja2 import Environment, StrictUndefined

from seefar.errors import printable
from seefar.evaluation.metrics import Metrics
from seefar.training.recipe import Recipe

DESCRIPTIONS = {
    "weights.safetensors": "all weights, with the normalisation, as safetensors; the header has recipe and classes",
    "model.onnx": "ONNX, float32: input `images` uint8 (N, H, W, 3), outputs `logits` (N, K) and `maps` (N, K, h, w)",
}
"""Files that a card describes."""


def model_card(recipe: Recipe, classes: Sequence[str], metrics: Metrics | None, files: Sequence[str]) -> str:
    """The text of a model card.

    Args:
        recipe: of the training.
        classes: names of the K classes.
        metrics: of the test set; None if the network was not evaluated: the card then claims no accuracy.
        files: names of the files beside the card, each of them in `DESCRIPTIONS`.
    """
    environment = Environment(autoescape=False, undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters |= {
        "json": json.dumps,  # a JSON string is a YAML string
        "printable": printable,
        "percent": lambda share, digits: f"{share:.{digits}%}",
        "cell": _cell,
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


def _cell(text: str) -> str:
    """A class name inside Markdown: as text, never as HTML or the end of a table cell."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")
