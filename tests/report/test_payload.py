"""The data block of the page: numbers that survive their packing, in the order of the mistakes."""

from __future__ import annotations

import base64
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from report_content import make_content

from seefar.report import content as content_of_page
from seefar.report.content import Beside, make_payload, make_sheet
from seefar.report.page import render_report


def unpack(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def pixels(sheet: dict) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(base64.b64decode(sheet["uri"].split(",")[1]))).convert("RGB"))


def test_explained_mistakes_come_first_and_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_of_page, "MOST_MISTAKES", 3)
    content = make_content(5)
    ranked = content.evaluation.mistakes
    some = content.explanation.of([ranked[4], ranked[2]])
    assert replace(content, explanation=None).mistakes == ranked[:3]
    assert replace(content, explanation=some).mistakes == [ranked[0], ranked[2], ranked[4]]


def test_a_sheet_has_every_pixel_of_every_image() -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 5, 4, 3), np.uint8)
    sheet = make_sheet(images, exact=True)
    picture = pixels(sheet)
    for number, image in enumerate(images):
        y, x = 5 * (number // sheet["columns"]), 4 * (number % sheet["columns"])
        np.testing.assert_array_equal(picture[y : y + 5, x : x + 4], image)


@pytest.mark.parametrize(("cells", "kind", "error"), [(8, "<i2", 1e-4), (32, "<i1", 1e-2)])
def test_maps_are_exact_to_a_small_part_of_their_scale(cells: int, kind: str, error: float) -> None:
    content = make_content(3, cells=cells)
    values = make_payload(content)["maps"]
    numbers = unpack(values["values"], kind).reshape(3, 2, cells, cells)
    scales = unpack(values["scales"], "<f4")
    pair = np.stack([content.explanation.predicted, content.explanation.true], 1)
    largest = np.abs(pair).max((1, 2, 3))
    found = numbers * scales[:, None, None, None]
    assert (np.abs(found - pair).max((1, 2, 3)) <= error * largest).all()


def test_neighbours_are_in_the_order_of_the_mistakes_and_each_image_occurs_once() -> None:
    content = make_content(2)
    first, second = content.mistakes  # highest loss first; the neighbours are by index
    in_order = first.index < second.index
    near = replace(
        content.neighbours,
        of_predicted=np.array([[5, 2], [7, -1]])[:: 1 if in_order else -1],
        of_true=np.array([[2, 9], [0, 5]])[:: 1 if in_order else -1],
        distance_predicted=np.array([[0.1, 0.2], [0.3, np.nan]])[:: 1 if in_order else -1],
        distance_true=np.array([[0.5, 0.6], [0.7, 0.8]])[:: 1 if in_order else -1],
    )
    flat = np.arange(18, dtype=np.uint8).reshape(18, 1, 1, 1) * np.ones((1, 8, 8, 3), np.uint8) * 10
    values = make_payload(replace(content, neighbours=near, train=replace(content.train, images=flat)))["neighbours"]
    assert unpack(values["indices"], "<i4").tolist() == [5, 2, 2, 9, 7, -1, 0, 5]
    assert unpack(values["rows"], "<i4").tolist() == [2, 1, 1, 4, 3, -1, 0, 2]  # of 0, 2, 5, 7, 9
    assert unpack(values["distances"], "<f4")[:4].tolist() == pytest.approx([0.1, 0.2, 0.5, 0.6])
    sheet = pixels(values)
    for row, training in enumerate((0, 2, 5, 7, 9)):
        y, x = 8 * (row // values["columns"]), 8 * (row % values["columns"])
        assert sheet[y + 4, x + 4].astype(int) == pytest.approx([10 * training] * 3, abs=3)


def test_mistakes_of_the_other_run_come_last_and_are_counted_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("seefar.report.page.page_charts", lambda _content: [])
    content = make_content(4)
    labels, ours = content.test.labels, content.evaluation.predictions.predicted
    theirs = np.where(np.isin(np.arange(12), [5, 7]), (labels + 1) % 4, ours)  # 4 to 11 are correct predictions
    alone = replace(content.explanation.mistakes[0], index=7)
    explanation = replace(content.explanation, mistakes=[alone, *content.mistakes[1:]])
    both = replace(content, beside=Beside("other", theirs, explanation))
    values = make_payload(both)
    assert [row["index"] for row in values["mistakes"][:4]] == [one.index for one in content.mistakes]
    assert [(row["index"], row["true"], row["predicted"]) for row in values["mistakes"][4:]] == [
        (index, labels[index], labels[index])
        for index in (7, 5)  # the explained one first
    ]
    assert values["beside"]["predicted"] == theirs[[row["index"] for row in values["mistakes"]]].tolist()
    assert values["beside"]["index"] == [7, *(one.index for one in content.mistakes[1:])]
    assert len(unpack(values["votes"], "<u2")) == 4 * (4 + 2)
    body = render_report(both).split("<dialog")[0]
    assert body.count("<tr><td>") == render_report(content).split("<dialog")[0].count("<tr><td>")
    assert "breaks 2 correct predictions" in body
