"""The two figures of docs/performance.md, from the JSON in results/.

python benchmarks/plots.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
DPI = 120
COLOURS = {"quick": "tab:blue", "fast": "tab:green", "seed": "tab:gray"}
PUBLISHED_ACCURACY = 0.86  # of the asked-for recipe on the test set, after 20 epochs of 50,000 images
PUBLISHED_IMAGES = 20 * 50_000


def time_to_accuracy(curves: list[dict[str, Any]], images_a_second: float) -> Figure:
    """Held-out accuracy of the recipes over time, and the published end of the asked-for one.

    Args:
        curves: one of time_to_accuracy.py for each recipe.
        images_a_second: of a plain loop with batch 4, which says how long the published training takes here.
    """
    figure = Figure(figsize=(8, 4.5), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for measured in curves:
        name, points = measured["recipe"], measured["points"]
        minutes = [point["seconds"] / 60 for point in points]
        accuracy = [100 * point["held_out_accuracy"] for point in points]
        axes.plot(minutes, accuracy, "o-", color=COLOURS[name], markersize=3, label=f"{name}: {len(points)} epochs")
    axes.plot(
        PUBLISHED_IMAGES / images_a_second / 60,
        100 * PUBLISHED_ACCURACY,
        "D",
        color="tab:red",
        label="asked-for recipe: published end, at the speed of a plain loop",
    )
    axes.set(xscale="log", xlabel="minutes", ylabel="accuracy on 5,000 held-out images (%)")
    axes.set_xticks([2, 5, 10, 20, 50, 100, 200, 500], labels=["2", "5", "10", "20", "50", "100", "200", "500"])
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def step_time(measured: dict[str, Any]) -> Figure:
    """The parts of a training step, longest first."""
    parts = measured["parts"]
    figure = Figure(figsize=(8, 3.2), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(list(parts), [part["milliseconds"] for part in parts.values()], color="tab:blue")
    axes.bar_label(bars, [f"{part['share']:.1%}" for part in parts.values()], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(xlabel=f"milliseconds of a step of 128 images, {measured['compute']}")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def main() -> None:
    """Draw both into docs/figures/."""

    def read(name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((ROOT / "results" / f"{name}.json").read_text(encoding="utf-8"))
        return found

    plain = read("throughput")["results"]["plain_4"]["median"]
    recipes = [path.stem for path in (ROOT / "results" / "time_to_accuracy").glob("*.json")]
    curves = [read(f"time_to_accuracy/{name}") for name in sorted(recipes, reverse=True)]
    figures = {
        "time_to_accuracy": time_to_accuracy(curves, plain),
        "step_time": step_time(read("profile")),
    }
    for name, figure in figures.items():
        figure.savefig(ROOT / "docs" / "figures" / f"{name}.png", metadata={"Software": None})


if __name__ == "__main__":
    main()
