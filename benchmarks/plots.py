"""The figures of docs/performance.md and of results/seed, from what lies in results/.

python benchmarks/plots.py
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

from matplotlib.figure import Figure

from seefar.training.state import HistoryRow, read_history

ROOT = Path(__file__).parents[1]
DPI = 120
COLOURS = {"quick": "tab:blue", "fast": "tab:green", "seed": "tab:gray"}
PUBLISHED_ACCURACY = 0.86  # of the asked-for recipe on the test set, after 20 epochs of 50,000 images
PUBLISHED_EPOCHS = 20
IMAGES = 50_000  # of an epoch


def time_to_accuracy(curves: list[tuple[dict[str, Any], float]], plain_loop: float) -> Figure:
    """Held-out accuracy of the recipes over time, and the published end of the asked-for one.

    Not all were trained on one machine, so time is counted in full-size epochs: what 50,000 images of 32 pixels take
    at the bare step's rate on the machine of the curve.

    Args:
        curves: one of time_to_accuracy.py for each recipe, and its machine's bare step in images/s.
        plain_loop: the rate of a plain loop with batch 4 as a share of the bare step's, which says how long the
            published training takes.
    """
    figure = Figure(figsize=(8, 4.5), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for measured, bare_step in curves:
        name, points = measured["recipe"], measured["points"]
        time = [point["seconds"] * bare_step / IMAGES for point in points]
        accuracy = [100 * point["held_out_accuracy"] for point in points]
        axes.plot(time, accuracy, "o-", color=COLOURS[name], markersize=3, label=f"{name}: {len(points)} epochs")
    axes.plot(
        PUBLISHED_EPOCHS / plain_loop,
        100 * PUBLISHED_ACCURACY,
        "D",
        color="tab:red",
        label="course assignment: published accuracy, at the speed of a plain loop",
    )
    axes.set(
        xscale="log",
        xlabel="time, in epochs of full-size images at the rate of the bare step",
        ylabel="accuracy on 5,000 held-out images (%)",
    )
    ticks = (0.2, 0.5, 1, 2, 5, 10, 20, 50)
    axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
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


def beside_published(history: list[HistoryRow], published: dict[str, Any]) -> Figure:
    """Loss of every 2,000 steps and training accuracy of every epoch of the asked-for recipe: ours, and published."""
    figure = Figure(figsize=(9, 3.6), dpi=DPI, layout="constrained")
    of_loss, of_accuracy = figure.subplots(1, 2)
    lines = len(published["epochs"][0]["losses"])
    whole = IMAGES / 4 / published["steps_a_line"]  # lines that an epoch would fill
    at = [epoch + (line + 1) / whole for epoch in range(len(published["epochs"])) for line in range(lines)]
    theirs = [loss for epoch in published["epochs"] for loss in epoch["losses"]]
    ours = [row.loss for row in history if row.epoch_accuracy is None]  # an epoch's last line has 500 steps
    ends = [row.epoch_accuracy for row in history if row.epoch_accuracy is not None]
    epochs = range(1, len(ends) + 1)
    for loss, accuracy, colour, label in (
        (ours, [100 * end for end in ends], "tab:blue", "seed, ours"),
        (theirs, [epoch["accuracy"] for epoch in published["epochs"]], "tab:red", "published"),
    ):
        of_loss.plot(at, loss, color=colour, label=label, linewidth=1)
        of_accuracy.plot(epochs, accuracy, "o-", color=colour, label=label, markersize=3, linewidth=1)
    of_loss.set(xlabel="epoch", ylabel="loss, mean of 2,000 steps", ylim=(0, None))
    of_accuracy.set(xlabel="epoch", ylabel="accuracy on the training images (%)")
    for axes in (of_loss, of_accuracy):
        axes.set_xticks(range(0, len(ends) + 1, 5))
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def main() -> None:
    """Draw them into docs/figures/ and results/seed/figures/."""

    def read(name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((ROOT / "results" / f"{name}.json").read_text(encoding="utf-8"))
        return found

    def rate(contender: str, throughput: str = "throughput") -> float:
        median: float = read(throughput)["results"][contender]["median"]
        return median

    def bare_step(machine: dict[str, Any]) -> float:
        if machine.get("gpu"):
            return 128_000 / mean(read("gpu/steps")["batch_128"]["replayed"])  # which is in milliseconds
        return rate("bare_step", "throughput_avx2" if machine.get("instructions") == "AVX2" else "throughput")

    curves = []
    for path in sorted((ROOT / "results" / "time_to_accuracy").glob("*.json"), reverse=True):
        measured = read(f"time_to_accuracy/{path.stem}")
        curves.append((measured, bare_step(measured["machine"])))
    figures = {
        "time_to_accuracy": time_to_accuracy(curves, rate("plain_4") / rate("bare_step")),
        "step_time": step_time(read("profile")),
    }
    for name, figure in figures.items():
        figure.savefig(ROOT / "docs" / "figures" / f"{name}.png", metadata={"Software": None})
    seed = ROOT / "results" / "seed"
    beside = beside_published(read_history(seed / "history.csv"), read("seed/published"))
    beside.savefig(seed / "figures" / "beside_published.png", metadata={"Software": None})


if __name__ == "__main__":
    main()
