"""The page as text: its policy, what it shows of any content, and that it never grows without bound."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from report_content import make_content

import seefar
from seefar.artifacts import Calibrations
from seefar.data.shapes import load_shapes
from seefar.errors import DataError, RunError
from seefar.evaluation.verdict import count_faults
from seefar.report.content import ReportContent
from seefar.report.page import MOST_PAIRS, accuracy_scale, render_report

HOSTILE = ('"><script>alert(1)</script>', "</script><img src=x onerror=alert(2)>", "{{ 7 * 7 }}", "=1+1")


def data_block(page: str) -> dict[str, Any]:
    return json.loads(re.search(r'<script type="application/json" id="values">(.*?)</script>', page, re.S)[1])


@pytest.fixture(scope="module")
def content() -> ReportContent:
    content = make_content(40)
    return replace(content, calibration_after=replace(content.calibration, temperature=1.25))


@pytest.fixture(scope="module")
def page(content: ReportContent) -> str:
    return render_report(content)


def test_the_policy_allows_exactly_the_styles_and_script_of_the_page_which_loads_nothing(page: str) -> None:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)[1].replace("&#39;", "'")
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; img-src data:; ")
    styles, scripts = re.findall(r"<style>(.*?)</style>", page, re.S), re.findall(r"<script>(.*?)</script>", page, re.S)
    assert len(styles) == 2  # one of them for browsers without script
    assert len(scripts) == 1
    for text in (*styles, *scripts):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert " style=" not in page  # a style attribute would be refused by the policy
    assert not re.findall(r"https?://", page)
    links = [link for link in re.findall(r'(?:src|href)="([^"]*)"', page) if link[0] != "#"]
    assert all(link.startswith(("data:,", "data:image/")) for link in links)


def test_names_that_are_markup_are_text() -> None:
    files = tuple(f"<b>{number}</b>.png" for number in range(120))
    content = make_content(classes=HOSTILE, name="<i>run</i>", data="caf\udce9")
    page = render_report(replace(content, test=replace(content.test, files=files)))
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "<i>" not in page
    assert "{{ 7 * 7 }}</bdi></th>" in page  # no template runs on a name
    assert "caf?" in page
    assert data_block(page)["classes"] == list(HOSTILE)
    assert "&lt;b&gt;0&lt;/b&gt;.png" in page


def test_names_from_right_to_left_do_not_turn_the_words_around_them() -> None:
    page = render_report(make_content(12, ("שלום", "cat")))
    text = re.search(r'<div class="findings".*?</div>', page, re.S)[0]
    assert set(re.findall("\u2068(.*?)\u2069", text)) == {"שלום"}
    assert re.search("[^\u2068]שלום", text) is None


def test_the_page_is_complete_without_optional_parts() -> None:
    none = dict.fromkeys(("explanation", "analysis", "votes", "neighbours", "train", "recipe"))
    page = render_report(make_content(6, **none, history=[], command=(), provenance={}))
    assert 'href="#fault=' not in page
    assert 'href="#outcome=' not in page
    assert page.count('class="plot"') == 1  # reliability
    assert "<code>" not in page
    values = data_block(page)
    assert values["maps"] is values["votes"] is values["neighbours"] is None


def test_each_section_of_the_metrics_has_its_place_on_the_page(content: ReportContent, page: str) -> None:
    metrics, analysis = content.evaluation.metrics, content.analysis
    page = html.unescape(page)
    calibrations = Calibrations(content.calibration, content.calibration_after)
    places = {name for names in re.findall(r'data-shows="([^"]+)"', page) for name in names.split()}
    assert places == {"test", *analysis.sections, *calibrations.sections}
    for one in metrics.classes:
        assert f'<td class="rate">{one.recall:.1%}</td>' in page
        assert f'<td class="rate">{one.precision:.1%}</td>' in page
    for view in analysis.views:
        assert f"<td>{view.meaning}</td><td><b>{view.accuracy:.2%}</b></td>" in page
    for kind in analysis.slices:
        assert f"<td><b>{kind.error_rate:.1%}</b></td>" in page
    for fault, count in count_faults(analysis.verdicts).items():
        assert fault == "errors" or re.search(rf'href="#fault={fault}".*?bar-count">{count}<', page)
    assert f"model finds {len(analysis.issues)} labels improbable" in page
    numbers = (f"error is {content.calibration.ece.value:.1%}", f"score {content.calibration.brier.value:.3f}")
    assert "<dt>command</dt><dd>seefar run demo --data 'my photos'</dd>" in page
    assert all(text in page for text in (*numbers, f"loss {metrics.loss:.3f} nats", "temperature of 1.25"))


@pytest.fixture
def without_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing the charts takes longer than all other parts of a page."""
    monkeypatch.setattr("seefar.report.page.page_charts", lambda _content: [])


@pytest.mark.usefixtures("without_charts")
def test_the_most_frequent_confusions_count_each_direction_by_itself(content: ReportContent) -> None:
    page = render_report(replace(content, analysis=None, explanation=None))
    assert page == render_report(replace(content, analysis=None, explanation=None))
    confusion = np.array(content.evaluation.metrics.confusion) * ~np.eye(4, dtype=bool)
    t, p = np.unravel_index(confusion.argmax(), confusion.shape)
    names = content.test.classes
    links = re.findall(r'<a href="#true=(\w+)&amp;predicted=(\w+)" class="filter-link"><span class="bar-name">', page)
    assert links[0] == (names[t], names[p])
    shown = [confusion[names.index(one), names.index(other)] for one, other in links[:MOST_PAIRS]]
    assert shown == sorted(confusion.ravel().tolist(), reverse=True)[:MOST_PAIRS]


@pytest.mark.usefixtures("without_charts")
def test_a_mistake_with_its_neighbours_takes_less_than_9_kb() -> None:
    # So 650 stay below 6 MB. Noise is the worst case for a lossless picture, real pictures take a third less.
    content = make_content(100)
    smooth = np.asarray(
        [Image.fromarray(image[::4, ::4]).resize((32, 32), Image.Resampling.BICUBIC) for image in content.test.images]
    )
    near = np.arange(600).reshape(2, 100, 3)
    neighbours = replace(content.neighbours, of_predicted=near[0], of_true=near[1])
    training = seefar.Split(smooth[np.arange(600) % len(smooth)], np.zeros(600, int), content.test.classes)
    test = replace(content.test, images=smooth)
    size = len(render_report(replace(content, test=test, neighbours=neighbours, train=training)).encode())
    assert size < 100 * 9_000 + 200_000


@pytest.mark.usefixtures("without_charts")
def test_a_truncated_page_reports_the_full_count(monkeypatch: pytest.MonkeyPatch) -> None:
    content = make_content(12)
    mistakes = content.evaluation.mistakes
    content = replace(content, explanation=content.explanation.of(mistakes[:8]))
    for most in (5, 10):
        monkeypatch.setattr("seefar.report.content.MOST_MISTAKES", most)
        page = render_report(replace(content))  # the mistakes on a page are computed once
        assert f"{most} of 12 mistakes</h2>" in page
        assert "<b>12 mistakes.</b>" in page
        assert "has room for" in page
        values = data_block(page)
        assert [one["index"] for one in values["mistakes"]] == [one.index for one in mistakes[:most]]
        shown = [one["map"] for one in values["mistakes"] if "map" in one]
        assert shown == list(range(min(8, most)))
    monkeypatch.setattr("seefar.report.content.MOST_MISTAKES", 12)
    page = render_report(replace(content))
    assert "All 12 mistakes</h2>" in page
    assert "has room for" not in page


@pytest.mark.usefixtures("without_charts")
def test_the_matrix_of_a_thousand_classes_has_all_of_them() -> None:
    classes = tuple(f"class {number:03d}" for number in range(1_000))
    content = make_content(300, classes)
    matrix = re.search(r'<table class="matrix many" id="matrix">(.*?)</table>', render_report(content), re.S)[1]
    assert re.findall(r'<th scope="row"><bdi>(.*?)</bdi></th>', matrix) == list(classes)
    found = np.zeros((1_000, 1_000), int)
    for t, row in enumerate(re.findall(r"<tr data-n.*?</tr>", matrix, re.S)):
        p = 0
        for gap, count in re.findall(r'<td class="(?:zero" colspan="(\d+)">|diagonal">|level-\d"><a .*?>)(\d*)<', row):
            if count:
                found[t, p] = int(count)
            p += int(gap or 1)
        assert p == 1_000
    np.testing.assert_array_equal(found, content.evaluation.metrics.confusion)
    assert len(matrix) < 1_000_000  # though it has a million cells


def test_the_scale_has_room_for_what_is_compared(content: ReportContent) -> None:
    metrics = content.evaluation.metrics
    known, other = accuracy_scale(metrics, "cifar10"), accuracy_scale(metrics, "shapes")
    assert [text for _, text in known["marks"]][:2] == ["recipe seed, as published 86%", "people 95.2%"]
    assert all("people" not in text for _, text in other["marks"])
    for scale in (known, other):
        places = [place for place, _ in (*scale["marks"], *scale["ticks"])]
        assert 0 <= min(places) < scale["low"] < scale["value"] < scale["high"] <= max(places) == 100


def test_other_images_and_other_predictions_are_refused(tmp_path: Path) -> None:
    test, other = load_shapes(20, 12).test, load_shapes(20, 14).test
    models = [seefar.ResNet18(width=2).eval() for _ in range(2)]
    first, second = (seefar.evaluate(model, test, progress=seefar.SILENT) for model in models)
    explanation = seefar.explain(models[1], test, second.predictions, second.mistakes[:1], progress=seefar.SILENT)
    for split, of in ((other, None), (test, explanation)):
        with pytest.raises(DataError):
            seefar.write_report(tmp_path / "a.html", split, first, of, name="mine", data="shapes")


def test_a_folder_without_a_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"report\.html is missing"):
        seefar.show_report(tmp_path)
