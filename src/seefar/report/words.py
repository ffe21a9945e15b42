"""Words of the HTML report: how to read it, the command that reproduces the run, its provenance."""

from __future__ import annotations

import shlex
from dataclasses import asdict

from seefar.evaluation.triage import HARD_NETS
from seefar.report.content import ReportContent
from seefar.training.recipe import RECIPES, Recipe


def how_to_read(content: ReportContent) -> list[tuple[str, str]]:
    """Titles and paragraphs for readers who see such maps for the first time, about what the page shows."""
    boxes = []
    explanation = content.explanation
    if explanation is not None and explanation.mistakes:
        damaged = explanation.rates.damaged
        broken = (
            ""
            if damaged.share is None
            else f" Hiding the evidence also breaks {damaged.share:.0%} of {damaged.n} correct predictions."
        )
        boxes += [
            (
                "The colours",
                "Red cells are evidence for the class above the map, blue cells are evidence against it, and cells "
                "without colour are neither. The three maps of an image share one scale. \u201cWhy deer, not dog\u201d "
                "is the map for deer minus the map for dog.",
            ),
            (
                "The occlusion test",
                "The outlined region has the strongest evidence for the wrong prediction. It is hidden, and the "
                "network predicts again. Repaired: the prediction is now correct. The control mask has the same shape "
                f"and hides another region.{broken}",
            ),
            (
                "The badge",
                "A good map passed every check: hiding its region has more effect than the control mask, a network "
                "with random weights gives a different map, and the mirrored image gives the mirrored map. Do not rely "
                "on a poor map.",
            ),
        ]
    if content.verdicts:
        boxes.append(
            (
                "The causes",
                "Label: people who checked the label reject it. Ambiguous: people disagree about the image. Hard: at "
                f"least {HARD_NETS} other good networks make a mistake too. Model: none of these, so a better model "
                "can repair it.",
            )
        )
    if content.neighbours is not None:
        boxes.append(
            (
                "The neighbours",
                "Training images that are nearest in the network's last layer: three of the predicted class and three "
                "of the labelled one. Distance 0 is the same direction, 1 is unrelated.",
            )
        )
    boxes.append(
        (
            "The limits",
            "A map is evidence about this network, not about the world. It shows the pixels that the network reacted "
            "to, not the content of the image or where a person would look. All numbers are from this test set only.",
        )
    )
    return boxes


def command_of(recipe: Recipe) -> str:
    """The command that trains this recipe again, quoted for a shell.

    Example:
        >>> from seefar.training.recipe import recipe
        >>> command_of(recipe("demo", data="/home/me/my photos"))
        "seefar run demo --data '/home/me/my photos'"
    """
    base = RECIPES.get(recipe.name)
    if base is None:
        return shlex.join(["seefar", "run", "--name", recipe.name])
    words = ["seefar", "run", recipe.name]
    for name, value in asdict(recipe).items():
        if value == getattr(base, name):
            continue
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", *map(str, value if isinstance(value, tuple) else (value,))]
    return shlex.join(words)


def origin_of(content: ReportContent) -> list[tuple[str, str]]:
    """Run, data, command, versions and machine as names and values, those of the manifest."""
    origin = [("run", content.name), ("data", content.data)]
    if content.command:
        origin.append(("command", shlex.join(content.command)))
    for name, value in content.provenance.items():
        parts = value if isinstance(value, dict) else {name: value}
        origin += [(str(key), str(part)) for key, part in parts.items() if part is not None]
    return origin
