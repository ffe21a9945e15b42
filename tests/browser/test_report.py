"""The page in a real Chromium. Skipped, with the reason, where there is none."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_content import make_content

from seefar.explanation.occlusion import hide
from seefar.maps.grid import to_pixels
from seefar.report.content import ReportContent
from seefar.report.figures import DARKEST, tint
from seefar.report.page import ReportFrame, render_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("no Chromium on this machine", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_core_python.base", reason="axe-core-python is not installed")

pytestmark = pytest.mark.slow
HOSTILE = ('"><script>alert(1)</script>', "</script><img src=x onerror=alert(2)>", "a=b&c#d %", "=1+1")
TILES = "#tiles > li"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        arguments = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND"]
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()


class Opened:
    """A page of the report, with what it complained of and what it asked the network for."""

    def __init__(self, browser: Any, file: Path, hash_: str = "", **context: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **context})
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda one: one.type == "error" and self.complaints.append(one.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append("a dialog") or dialog.dismiss())
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri() + hash_)
        if context.get("java_script_enabled", True):
            self.page.wait_for_selector("html[data-ready]", state="attached")

    def shown(self) -> list[int]:
        return self.page.eval_on_selector_all(TILES, "tiles => tiles.map(tile => tile.mistake.index)")


@pytest.fixture(scope="module")
def content() -> ReportContent:
    return make_content(60)


@pytest.fixture(scope="module")
def file(content: ReportContent, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_report(content), encoding="utf-8")
    return path


def image_of(content: ReportContent, number: int) -> np.ndarray:
    """The image of a mistake, uint8 (H, W, 3)."""
    return content.test.images[content.mistakes[number].index]


def becomes(page: Any, expression: str, value: object) -> None:
    """Wait until a value of the page is this one. Playwright's own waiting needs `eval`, which the policy refuses."""
    for _ in range(250):
        if page.evaluate(expression) == value:
            return
        page.wait_for_timeout(20)
    assert page.evaluate(expression) == value


@pytest.fixture
def opened(browser: Any, file: Path) -> Iterator[Opened]:
    """A fresh page; at the end nothing may have been complained of, and nothing asked for but the file itself."""
    one = Opened(browser, file)
    yield one
    one.context.close()
    assert one.complaints == []
    assert [url for url in one.requests if not url.startswith(("file:", "data:", "blob:"))] == []


def test_filters_show_exactly_the_mistakes_that_fit(opened: Opened, content: ReportContent) -> None:
    page, mistakes = opened.page, content.mistakes
    fault = {verdict.index: verdict.fault for verdict in content.verdicts}
    outcome = {m.index: r.outcome for m, r in zip(mistakes, content.explanation.repairs, strict=True)}
    assert opened.shown() == [m.index for m in sorted(mistakes, key=lambda m: -m.loss)]
    page.select_option("[name=true]", "cat")
    assert opened.shown() == [m.index for m in mistakes if m.true == 1]
    page.select_option("[name=fault]", "model")
    wanted = [m.index for m in mistakes if m.true == 1 and fault[m.index] == "model"]
    assert opened.shown() == wanted
    assert page.text_content("#count") == f"{len(wanted)} of 60"
    page.click("#reset")
    page.select_option("[name=outcome]", "repaired")
    page.select_option("[name=order]", "confidence")
    fit = [m for m in mistakes if outcome[m.index] == "repaired"]
    assert opened.shown() == [m.index for m in sorted(fit, key=lambda m: -m.confidence)]
    page.go_back()
    assert opened.shown() == [m.index for m in fit]


def test_people_who_disagree_most_come_first(opened: Opened, content: ReportContent) -> None:
    opened.page.select_option("[name=order]", "people")
    entropy = {verdict.index: verdict.entropy for verdict in content.verdicts}
    assert all(entropy[first] >= entropy[second] for first, second in pairwise(opened.shown()))


def test_a_cell_of_the_confusion_matrix_opens_exactly_its_pictures(opened: Opened, content: ReportContent) -> None:
    for true, predicted in ((1, 2), (3, 0)):
        opened.page.click(f".matrix tbody tr:nth-child({true + 1}) td:nth-child({predicted + 2}) a")
        pair = [m.index for m in content.mistakes if (m.true, m.predicted) == (true, predicted)]
        assert opened.shown() == pair
        assert len(pair) == content.evaluation.metrics.confusion[true][predicted]
    assert opened.page.evaluate("location.hash") == "#true=ship&predicted=airplane"


def test_the_keyboard_moves_through_tiles_and_card(opened: Opened, content: ReportContent) -> None:
    page, order = opened.page, [m.index for m in content.mistakes]

    def focused() -> int:
        return page.evaluate("document.activeElement.closest('li').mistake.index")

    columns = page.evaluate("getComputedStyle(document.getElementById('tiles')).gridTemplateColumns.split(' ').length")
    page.focus(f"{TILES} button[tabindex='0']")
    for key, place in (("ArrowRight", 1), ("ArrowDown", 1 + columns), ("ArrowUp", 1), ("End", 59), ("Home", 0)):
        page.keyboard.press(key)
        assert focused() == order[place], key
    page.keyboard.press("Enter")
    assert page.is_visible("#card")
    assert f"Test image {order[0]} " in page.text_content("#card-place")
    page.keyboard.press("ArrowRight")
    assert f"Test image {order[1]} " in page.text_content("#card-place")
    page.keyboard.press("Escape")
    assert not page.is_visible("#card")
    # The event of the closed dialog, which moves the focus to the mistake last seen, comes a moment after the closing.
    becomes(page, "document.activeElement.closest('li')?.mistake.index", order[1])


def test_a_mistake_that_is_nearly_a_training_image_says_so(opened: Opened, content: ReportContent) -> None:
    page, (first, second, *_) = opened.page, content.mistakes
    page.evaluate(f"location.hash = 'card={first.index}'")
    page.wait_for_selector("#card-near canvas")
    copy = (
        "This image is a near-duplicate of training image 4321, mirrored: the correlation of their fine detail is 0.88."
    )
    assert page.inner_text("#card-copy") == copy
    page.keyboard.press("ArrowRight")
    assert f"Test image {second.index} " in page.text_content("#card-place")
    assert not page.is_visible("#card-copy")


def test_a_view_is_shared_by_its_address(browser: Any, file: Path, content: ReportContent) -> None:
    chosen = next(m for m in content.mistakes if m.true == 2)
    one = Opened(browser, file, f"#true=dog&order=index&card={chosen.index}")
    assert one.shown() == sorted(m.index for m in content.mistakes if m.true == 2)
    assert one.page.text_content("#card-title").startswith("dog predicted as ")
    assert f"Test image {chosen.index} " in one.page.text_content("#card-place")
    one.page.keyboard.press("Escape")
    becomes(one.page, "location.hash", "#true=dog&order=index")  # the event of the closed dialog comes later
    nonsense = Opened(browser, file, "#true=nobody&fault=toString&order=__proto__&card=x")
    assert len(nonsense.shown()) == 60
    assert one.complaints == nonsense.complaints == []


def pixels_of(page: Any, canvas: str) -> np.ndarray:
    """What a canvas of the card shows, one value for each pixel of the image, int (32, 32, 3)."""
    script = """(id) => {
      const canvas = document.getElementById(id), {width, height} = canvas;
      return [width, ...canvas.getContext("2d").getImageData(0, 0, width, height).data];
    }"""
    side, *data = page.evaluate(script, canvas)
    step = side // 32
    return np.array(data, np.uint8).reshape(side, side, 4)[step // 2 :: step, step // 2 :: step, :3].astype(int)


def test_the_maps_are_those_of_the_figures(opened: Opened, content: ReportContent) -> None:
    page, explanation = opened.page, content.explanation
    page.click(TILES)
    image = image_of(content, 0)
    scale = max(np.abs(getattr(explanation, name)[0]).max() for name in ("contrast", "predicted", "true"))
    values = to_pixels(explanation.predicted[:1], (32, 32), explanation.grid, smooth=False)[0]
    wanted = tint((image.mean(2) - DARKEST) / (255 - DARKEST), values, scale)
    assert np.abs(pixels_of(page, "card-predicted") - wanted).max() <= 2
    page.uncheck("#maps")
    np.testing.assert_array_equal(pixels_of(page, "card-predicted"), image)


def test_hiding_shows_what_the_occlusion_test_showed_the_network(opened: Opened, content: ReportContent) -> None:
    page = opened.page
    page.click(TILES)
    before = page.text_content("#card-answers")
    page.check("#hide")
    found = pixels_of(page, "card-picture")
    wanted = hide(image_of(content, 0)[None], content.explanation.hidden[:1], "blur")[0].astype(int)
    inside = np.zeros((32, 32), bool)
    inside[9:19, 5:15] = True  # the outline is drawn around what is hidden, rows 8 to 19 and columns 4 to 15
    assert np.abs(found - wanted)[inside].max() <= 1
    after = page.text_content("#card-answers")
    assert after != before
    assert "13%" in after  # predicted_after, 0.125
    assert "63%" in after  # true_after, 0.625


def test_the_table_holds_the_shown_mistakes(opened: Opened, content: ReportContent, tmp_path: Path) -> None:
    opened.page.select_option("[name=predicted]", "cat")
    with opened.page.expect_download() as waiting:
        opened.page.click("#download")
    waiting.value.save_as(tmp_path / "table.csv")
    rows = list(csv.DictReader(StringIO((tmp_path / "table.csv").read_text(encoding="utf-8-sig"))))
    wanted = [m for m in content.mistakes if m.predicted == 1]
    assert [int(row["index"]) for row in rows] == [m.index for m in wanted]
    assert {row["predicted"] for row in rows} == {"cat"}
    assert [float(row["loss"]) for row in rows] == pytest.approx([m.loss for m in wanted], abs=1e-6)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_axe_finds_nothing_serious(browser: Any, file: Path, scheme: str, width: int) -> None:
    size = {"viewport": {"width": width, "height": 900}}
    one = Opened(browser, file, color_scheme=scheme, reduced_motion="reduce", **size)
    assert one.page.evaluate("document.documentElement.scrollWidth") <= width
    script = Path(axe.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    for card in (False, True):
        if card:
            one.page.click(TILES)
        one.page.evaluate(script)
        found = one.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        serious = [
            (violation["id"], [node["html"] for node in violation["nodes"]][:3])
            for violation in found["violations"]
            if violation["impact"] in ("serious", "critical")
        ]
        assert serious == []
    one.context.close()


def test_hostile_names_are_text(browser: Any, tmp_path: Path) -> None:
    files = tuple(f"<img src=x onerror=alert({number})>.png" for number in range(72))
    path, content = tmp_path / "report.html", make_content(24, HOSTILE, name="</title>x")
    content = replace(content, test=replace(content.test, files=files))
    path.write_text(render_report(content), encoding="utf-8")
    one = Opened(browser, path)
    page = one.page
    assert page.title().startswith("</title>x: ")
    names = page.eval_on_selector_all(".matrix tbody th", "all => all.map(one => one.textContent)")
    assert tuple(names) == HOSTILE
    page.click(TILES)
    assert "<img src=x onerror=" in page.text_content("#card-place")
    page.keyboard.press("Escape")
    for name in HOSTILE:
        page.select_option("[name=true]", name)
        address = page.evaluate("location.hash")
        assert Opened(browser, path, address).shown() == one.shown()
    page.select_option("[name=true]", "=1+1")
    with page.expect_download() as waiting:
        page.click("#download")
    waiting.value.save_as(tmp_path / "table.csv")
    assert ",'=1+1," in (tmp_path / "table.csv").read_text(encoding="utf-8-sig")  # no formula for a spreadsheet
    assert page.query_selector("img[src=x]") is None
    assert one.complaints == []


def test_without_script_the_verdict_and_the_table_are_there(browser: Any, file: Path) -> None:
    one = Opened(browser, file, java_script_enabled=False)
    assert one.page.is_visible("h1")
    assert one.page.is_visible(".plot >> nth=0")
    assert one.page.is_visible(".plain")
    assert not one.page.is_visible("#filters")


def test_a_notebook_shows_the_page_in_a_frame(browser: Any, file: Path, tmp_path: Path) -> None:
    outside = tmp_path / "notebook.html"
    frame = ReportFrame(file.read_text(encoding="utf-8"), 700)._repr_html_()
    outside.write_text(f"<!doctype html><title>n</title>{frame}", encoding="utf-8")
    context = browser.new_context()
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(outside.as_uri())
    inner = page.frames[1]
    inner.wait_for_selector("html[data-ready]", state="attached", timeout=20_000)
    inner.click(".matrix a >> nth=0")
    assert "of 60" in inner.text_content("#count")
    inner.click(TILES)
    assert inner.is_visible("#card")
    assert page.url == outside.as_uri()
    assert errors == []
    context.close()
