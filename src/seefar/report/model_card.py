"""Model card: `README.md` beside the weights, in the form of the Hugging Face hub (YAML, model-index)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from seefar.evaluation.metrics import Metrics
from seefar.output import printable
from seefar.training.recipe import Recipe

DESCRIPTIONS = {
    "weights.safetensors": "all weights, with the normalisation, as safetensors; the header has recipe and classes",
    "model.onnx": "ONNX, float32: input `images` uint8 (N, H, W, 3), outputs `logits` (N, K) and `maps` (N, K, h, w)",
    "model-int8.onnx": "the same with weights as int8, a quarter of the size",
}
"""Files that a card describes."""


def model_card(recipe: Recipe, classes: Sequence[str], metrics: Metrics | None, files: Sequence[str]) -> str:
    """The text of a model card.

    Args:
        recipe: of the training.
        classes: names of the K classes.
        metrics: of the test set; None if the network was not evaluated: the card then claims no accuracy.
        files: names of the files beside the card, each of them in `DESCRIPTIONS`.

    Example:
        >>> from seefar.training.recipe import recipe
        >>> model_card(recipe("demo"), ("circle", "square"), None, ["weights.safetensors"]).splitlines()[:2]
        ['---', 'license: mit']
    """
    return "\n".join([*_front_matter(recipe, metrics), *_text(recipe, classes, metrics, files)]) + "\n"


def _front_matter(recipe: Recipe, metrics: Metrics | None) -> list[str]:
    data = "cifar10" if recipe.data == "cifar10" else "own"
    lines = ["---", "license: mit", "library_name: seefar", "pipeline_tag: image-classification"]
    lines += ["tags: [resnet-18, image-classification]"]
    if recipe.data == "cifar10":
        lines += ["datasets: [uoft-cs/cifar10]"]
    if metrics is not None:
        name, where = json.dumps(f"seefar {recipe.name}"), json.dumps(recipe.data)  # JSON strings are YAML strings
        lines += ["model-index:", f"- name: {name}", "  results:", "  - task: {type: image-classification}"]
        lines += [f"    dataset: {{name: {where}, type: {data}, split: test}}"]
        lines += [f"    metrics: [{{type: accuracy, value: {metrics.accuracy:.4f}, verified: false}}]"]
    return [*lines, "---"]


def _text(recipe: Recipe, classes: Sequence[str], metrics: Metrics | None, files: Sequence[str]) -> list[str]:
    data = CIFAR10 if recipe.data == "cifar10" else f"`{printable(recipe.data)}`"
    side = recipe.image_size
    lines = ["", f"# ResNet-18, recipe `{printable(recipe.name)}`", ""]
    network = f"A ResNet-18 of BasicBlocks (width {recipe.width})"
    lines += [f"{network}, trained with seefar for {recipe.epochs} epochs on {data}."]
    lines += ["", "## How good it is", ""]
    if metrics is None:
        lines += ["It was not evaluated on a test set."]
    else:
        low, high = metrics.interval
        lines += [
            f"{metrics.accuracy:.2%} of {metrics.n:,} test images (95 % interval {low:.2%} to {high:.2%}), one view, "
            "one training. The test set was read once, after training.",
            "",
            "| class | test images | recognised |",
            "|---|---|---|",
            *(f"| {_cell(one.name)} | {one.n} | {_share(one.recall)} |" for one in metrics.classes),
        ]
    lines += [
        "",
        "## How to use it",
        "",
        f"Pictures: RGB, {side}x{side} pixels, uint8; the network normalises them itself.",
    ]
    lines += ["", *(f"- `{name}`: {_about(name)}" for name in files)]
    lines += ["", f"Classes, in the order of the logits: {', '.join(map(_cell, classes))}.", "", "## Limits", ""]
    lines += [
        f"It knows these {len(classes)} classes only and names one of them for any picture. On other photographs, "
        "sizes and cameras than those of its data it is worse. It is for study, not for decisions about people.",
        "",
        "## How it was trained",
        "",
        "```json",
        recipe.to_json().strip(),
        "```",
    ]
    return lines


def _about(name: str) -> str:
    return {
        "weights.safetensors": "all weights, with the normalisation, as safetensors; the header has recipe and classes",
        "model.onnx": "ONNX, float32: `images` uint8 (N, H, W, 3) in, `logits` (N, K) and `maps` (N, K, h, w) out",
    }.get(name, "see its first lines")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _cell(text: str) -> str:
    """A class name inside Markdown: as text, never as HTML or the end of a table cell."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")
