from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from report_content import make_content

from seefar.errors import DataError, RunError
from seefar.report.curves import accuracy_scale, history_charts, nice_ticks
from seefar.report.page import render_report, show_report
from seefar.report.payload import disagreement, make_payload, make_sheet, pack
from seefar.training.history import HistoryRow
from seefar.training.recipe import Recipe

HOSTILE = ('"><script>alert(1)</script>', "</script><img src=x onerror=alert(2)>", "{{ 7 * 7 }}", "=1+1")


def data_block(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="values">(.*?)</script>', page, re.S)[1])


def test_the_policy_allows_exactly_the_styles_and_scripts_of_the_page() -> None:
    page = render_report(make_content())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)[1].replace("&#39;", "'")
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; img-src data:; ")
    styles, scripts = re.findall(r"<style>(.*?)</style>", page, re.S), re.findall(r"<script>(.*?)</script>", page, re.S)
    assert len(styles) == 1
    assert len(scripts) == 2
    for text in (*styles, *scripts):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert " style=" not in page  # a style attribute would be refused by the policy


def test_nothing_is_loaded_from_anywhere() -> None:
    page = render_report(make_content())
    assert not re.findall(r"https?://", page)
    assert set(re.findall(r'(?:src|href)="([^#"][^"]*)"', page)) == {"data:,"}


def test_names_that_are_markup_are_text() -> None:
    content = make_content(classes=HOSTILE, files=[f"<b>{n}</b>.png" for n in range(40)], name="<i>run</i>")
    page = render_report(content)
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "<i>" not in page
    assert "{{ 7 * 7 }}</th>" in page  # no template runs on a name
    assert data_block(page)["classes"] == list(HOSTILE)
    assert "&lt;b&gt;0&lt;/b&gt;.png" in page


def test_the_page_is_readable_without_script() -> None:
    content = make_content(5)
    page = render_report(content)
    body = page.split("<body>")[1].split("<dialog")[0]
    assert f"{100 * content.metrics.accuracy:.2f}" in body
    assert body.count("<polyline") == 2
    table = re.search(r'<table class="plain">.*?</table>', body, re.S)[0]
    assert table.count("<tr>") == 1 + 5
    for mistake, repair in zip(content.mistakes, content.explanation.repairs, strict=True):
        assert f"<tr><td>{mistake.index}</td>" in table
        assert repair.sentence(mistake, content.classes).split(",")[0] in table


def test_without_what_is_optional_the_page_is_whole() -> None:
    none = dict.fromkeys(("explanation", "verdicts", "votes", "neighbours", "calibration"))
    page = render_report(make_content(6, **none, history=[], provenance={}))
    assert "Most often confused" in page
    assert "Whose fault are they" not in page
    values = data_block(page)
    assert values["maps"] is values["votes"] is values["neighbours"] is None


def test_no_mistake_at_all() -> None:
    content = make_content(6)
    classes = content.metrics.classes[:2]
    right = replace(content.metrics, mistakes=0, accuracy=1.0, confusion=((3, 0), (0, 3)), classes=classes)
    none = {"mistakes": [], "images": content.images[:0], "log_probabilities": np.zeros((0, 4)), "verdicts": []}
    optional = dict.fromkeys(("votes", "neighbours", "explanation"))
    assert "<h2>No mistakes</h2>" in render_report(replace(content, metrics=right, **none, **optional))


def test_650_mistakes_with_their_neighbours_stay_below_6_mb() -> None:
    # Noise is the worst case for a lossless picture: 3 bytes a pixel in base64. Real pictures take a third less.
    content = make_content(650)
    smooth = np.asarray(
        [Image.fromarray(image[::4, ::4]).resize((32, 32), Image.Resampling.BICUBIC) for image in content.images]
    )
    near = content.neighbours
    training = np.asarray([smooth[n % 650] for n in range(3900)])
    rows = np.arange(3900).reshape(650, 6)
    neighbours = replace(near, indices=rows, rows=rows, distances=rows / 3900, images=training)
    assert len(render_report(replace(content, images=smooth, neighbours=neighbours)).encode()) < 6_000_000


def test_lengths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="40 mistakes, but 39 images"):
        make_content(40, images=np.zeros((39, 32, 32, 3), np.uint8))


def test_a_sheet_holds_every_pixel_of_every_image() -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 5, 4, 3), np.uint8)
    sheet = make_sheet(images, exact=True)
    picture = np.asarray(Image.open(BytesIO(base64.b64decode(sheet.uri.split(",")[1]))).convert("RGB"))
    for number, image in enumerate(images):
        y, x = 5 * (number // sheet.columns), 4 * (number % sheet.columns)
        np.testing.assert_array_equal(picture[y : y + 5, x : x + 4], image)


@pytest.mark.parametrize(("cells", "kind", "error"), [(8, "<i2", 1e-4), (32, "<i1", 1e-2)])
def test_maps_are_kept_to_a_small_part_of_their_scale(cells: int, kind: str, error: float) -> None:
    content = make_content(3, cells=cells)
    values = make_payload(content).values["maps"]
    numbers = np.frombuffer(base64.b64decode(values["values"]), kind).reshape(3, 2, cells, cells)
    scales = np.frombuffer(base64.b64decode(values["scales"]), "<f4")
    pair = np.stack([content.explanation.predicted, content.explanation.true], 1)
    largest = np.abs(pair).max((1, 2, 3))
    found = numbers * scales[:, None, None, None]
    assert (np.abs(found - pair).max((1, 2, 3)) <= error * largest).all()


def test_disagreement_is_the_entropy_in_bits() -> None:
    assert disagreement(np.array([50, 0, 0])) == 0
    assert disagreement(np.array([25, 25, 0])) == pytest.approx(1)
    assert disagreement(np.array([10, 10, 20])) == pytest.approx(1.5)
    assert pack(np.array([1, -1], "<i2")) == base64.b64encode(b"\x01\x00\xff\xff").decode()


def test_ticks_are_round_and_enclose_the_values() -> None:
    assert nice_ticks(0, 2.3, 5) == [0, 0.5, 1, 1.5, 2, 2.5]
    assert nice_ticks(21, 94, 5) == [20, 40, 60, 80, 100]
    assert len(nice_ticks(5, 5)) >= 2


def test_curves_lie_where_the_numbers_say() -> None:
    rows = [HistoryRow(5, 1, 1.0, 32, 0.1, 2.0, 0.5, 0.5, 0.6), HistoryRow(10, 2, 2.0, 32, 0.1, 1.0, 1.0, 1.0, 0.8)]
    loss, accuracy = history_charts(rows, 0.75)
    assert loss.lines[0].points == "500.0,0.0 1000.0,500.0"  # epochs 1 and 2 of 2; 2 and 1 nats on a scale of 0 to 2
    assert [tick.text for tick in accuracy.y] == ["50%", "60%", "70%", "80%", "90%", "100%"]
    assert accuracy.lines[0].points == "500.0,1000.0 1000.0,0.0"
    assert accuracy.lines[1].points == "500.0,800.0 1000.0,400.0"
    assert (accuracy.dots[0].x, accuracy.dots[0].y) == pytest.approx((100, 50))


def test_the_scale_holds_what_is_compared() -> None:
    metrics = make_content(10).metrics
    known, other = accuracy_scale(metrics, "cifar10"), accuracy_scale(metrics, "shapes")
    assert [mark.text for mark in known.marks][:2] == ["recipe seed, as published 86%", "people 95.2%"]
    assert all("people" not in mark.text for mark in other.marks)
    assert known.low < known.value < known.high


def test_the_command_makes_the_same_recipe_again() -> None:
    page = render_report(make_content(2, recipe=replace(Recipe(), seed=3, nesterov=False)))
    assert "<code>seefar run fast --seed 3 --no-nesterov</code>" in page


def test_a_folder_without_a_report_is_named(tmp_path) -> None:
    with pytest.raises(RunError, match=r"report\.html is missing"):
        show_report(tmp_path)
