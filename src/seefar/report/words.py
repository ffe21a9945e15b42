"""Words of the HTML report: how to read it, the command that makes the run again, where it comes from."""

from __future__ import annotations

from dataclasses import asdict

from seefar.report.content import ReportContent
from seefar.training.recipe import RECIPES, Recipe


def how_to_read(content: ReportContent) -> list[tuple[str, str]]:
    """The box for who sees such maps for the first time; only what the page shows is explained."""
    boxes = []
    explanation = content.explanation
    if explanation is not None and explanation.mistakes:
        damaged = explanation.rates.damaged
        broken = (
            "" if damaged.share is None else f" Of {damaged.n} right answers tried, hiding breaks {damaged.share:.0%}."
        )
        boxes += [
            (
                "The colours",
                "Red cells speak for the class above the map, blue cells against it, and no colour is no evidence. "
                "The three maps of a picture share one scale. \u201cWhy deer, not dog\u201d is the map for deer minus "
                "the map for dog.",
            ),
            (
                "The test",
                "The outlined region holds the strongest evidence for the wrong answer. It is covered, and the network "
                "answers again. Repaired: the answer is right now. A region of the same shape elsewhere is the control."
                + broken,
            ),
            (
                "The badge",
                "A good map passed every check: hiding its region matters more than hiding another, a network of "
                "random weights gives a different map, the mirrored picture gives the mirrored map. Take a poor map "
                "for no map.",
            ),
        ]
    if content.verdicts:
        boxes.append(
            (
                "Whose fault",
                "Label: people who checked it reject the label. Ambiguous: people who saw the picture disagree. Hard: "
                "at least 12 other good networks miss it too. Model: none of these, so worth working on.",
            )
        )
    if content.neighbours is not None:
        boxes.append(
            (
                "The neighbours",
                "Training images that the last layer of the network places nearest, three with the label it answered "
                "and three with the right one. 0 is the same place, 1 is unrelated.",
            )
        )
    boxes.append(
        (
            "The boundaries",
            "A map is evidence about this network, not about the world. It shows what the network reacted to, not what "
            "is in the picture or where a person would look. All numbers are from this test set only.",
        )
    )
    return boxes


def command_of(recipe: Recipe) -> str:
    """The command that trains this recipe again."""
    base = RECIPES.get(recipe.name)
    if base is None:
        return f"seefar run --name {recipe.name}"
    flags = []
    for name, value in asdict(recipe).items():
        if value != getattr(base, name):
            words = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            flag = name.replace("_", "-")
            flags.append(f"--no-{flag}" if value is False else f"--{flag}" if value is True else f"--{flag} {words}")
    return " ".join(["seefar run", recipe.name, *flags])


def origin_of(content: ReportContent) -> list[tuple[str, str]]:
    """Versions and machine, flat: the manifest's own names."""
    found: list[tuple[str, str]] = [("run", content.name), ("data", content.data)]
    for name, value in content.provenance.items():
        if name == "files" or value is None:
            continue
        if name == "command":
            found.append(("last command", " ".join(map(str, value))))
        elif isinstance(value, dict):
            found += [(str(key), str(one)) for key, one in value.items() if one is not None]
        else:
            found.append((name, str(value)))
    return found
