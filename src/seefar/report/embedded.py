"""Charts of the page: the curves of the figures on smaller canvases, as SVG in the colours and the type of the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from xml.etree import ElementTree

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray

from seefar.evaluation.metrics import Calibration
from seefar.report.charts import draw_accuracy, draw_loss, draw_reliability
from seefar.report.style import ACCENT, INK, NEUTRAL, ORANGE, PALE, QUIET, RED, Box, new_figure
from seefar.training.state import HistoryRow

WIDTH, HEIGHT = 3.9, 4.4  # inches: at most a third of the page, and the width of a phone, so that no letter shrinks
BOX: Box = (0.62, 0.35, 3.15, 3.55)
COLOURS = {
    INK: "var(--ink)",
    QUIET: "var(--soft)",
    PALE: "var(--line)",
    ACCENT: "var(--accent)",
    ORANGE: "var(--second)",
    NEUTRAL: "var(--neutral)",
    RED: "var(--test)",
    "#ffffff": "var(--paper)",
}
"""Colours of the figures, and the variables of the page's style that replace them: these differ in dark mode."""


@dataclass(frozen=True)
class Chart:
    """One chart of the page; `keys` are the names of its curves, each with the class of its sign in the style."""

    title: str
    svg: Markup
    summary: str
    keys: tuple[tuple[str, str], ...] = ()


def history_charts(history: Sequence[HistoryRow], accuracy: float) -> list[Chart]:
    """Loss and accuracy of a training, with the accuracy on the test set."""
    loss_figure, accuracy_figure = new_figure(WIDTH, HEIGHT), new_figure(WIDTH, HEIGHT)
    draw_loss(loss_figure, BOX, history)
    draw_accuracy(accuracy_figure, BOX, history, accuracy)
    first, last = history[0], history[-1]
    epochs = "1 epoch" if last.epoch == 1 else f"{last.epoch} epochs"
    loss = f"The training loss went from {first.loss:.2f} to {last.loss:.2f} nats in {epochs}."
    shares = (
        f"The training accuracy on augmented images ended at {last.accuracy:.1%}; on the test set, evaluated once, it "
        f"is {accuracy:.2%}."
    )
    held_out = [("held out", "second")] if any(row.held_out_accuracy is not None for row in history) else []
    keys = (("training, as augmented", "main"), *held_out, (f"test {accuracy:.2%}", "test"))
    return [
        Chart("Loss", inline_svg(loss_figure, "loss", loss), loss),
        Chart("Accuracy", inline_svg(accuracy_figure, "accuracy", shares), shares, keys),
    ]


def reliability_chart(calibration: Calibration, confidence: NDArray[np.float64], after: Calibration | None) -> Chart:
    """Accuracy over confidence, and how many images have which confidence; see `plot_reliability`."""
    figure = new_figure(WIDTH, HEIGHT)
    draw_reliability(figure, BOX, calibration, confidence, after)
    side = "overconfident" if calibration.confidence > calibration.accuracy else "underconfident"
    summary = (
        f"On the dashed line the confidence equals the accuracy; this network is {side}. Its expected calibration "
        f"error is {calibration.ece.value:.1%} (95% interval {calibration.ece.interval[0]:.1%} to "
        f"{calibration.ece.interval[1]:.1%}; {calibration.ece_by_chance:.1%} if it were calibrated exactly), its Brier "
        f"score {calibration.brier.value:.3f}, its loss {calibration.loss:.3f} nats."
    )
    keys: tuple[tuple[str, str], ...] = ()
    if after is not None:
        summary += f" With a temperature of {after.temperature:.2f}, fitted on held-out images, {after.ece.value:.1%}."
        keys = (("as trained", "main"), (f"with temperature {after.temperature:.2f}", "second"))
    return Chart("Reliability", inline_svg(figure, "reliability", summary), summary, keys)


def inline_svg(figure: Figure, name: str, summary: str) -> Markup:
    """A figure as an `<svg>` element of a page; the same figure gives the same text.

    Its style attributes become attributes of their own, because the security policy of the page refuses inline
    styles. Text stays text, in the type of the page. The name makes the ids of the figure unique on the page.
    """
    file = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(file.getvalue())
    referenced = set(re.findall(rb"#(\w+)", file.getvalue()))
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        _plain_attributes(element)
        if element.get("id", "").encode() not in referenced:
            element.attrib.pop("id", None)
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    # The style element set joins and ends of all lines.
    root.attrib.update({"class": "plot", "role": "img", "aria-label": summary, "stroke-linejoin": "round"})
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # escaped by ElementTree


def _plain_attributes(element: ElementTree.Element) -> None:
    """Names without namespaces, one attribute for each property of the style, colours as variables of the page."""
    element.tag = element.tag.rpartition("}")[2]
    properties = dict(part.split(": ", 1) for part in element.attrib.pop("style", "").split("; ") if part)
    shorthand = properties.pop("font", "")  # of matplotlib before 3.9, such as 700 9px 'DejaVu Sans'
    if size := re.search(r"[\d.]+px", shorthand):
        weight = re.match(r"\d+ ", shorthand)
        properties |= {"font-size": size[0], "font-weight": weight[0].strip() if weight else "400"}
    properties.pop("font-family", None)
    attributes = {key.rpartition("}")[2]: value for key, value in element.attrib.items()} | properties
    element.attrib.clear()
    for key, value in attributes.items():
        element.set(key, COLOURS.get(value, " ".join(value.split())))
    if element.tag != "text":
        element.text = None
    element.tail = None
