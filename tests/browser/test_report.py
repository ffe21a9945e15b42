"""The page in a real Chromium. Skipped, with the reason, where there is none."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import READY, TILES, Opened, becomes, violations
from report_content import CLASSES, make_content

from seefar.explanation.occlusion import hide
from seefar.maps.grid import to_pixels
from seefar.report.content import Beside, ReportContent
from seefar.report.figures import DARKEST, tint
from seefar.report.page import ReportFrame, render_report

pytestmark = pytest.mark.slow
HOSTILE = ('"><script>alert(1)</script>', "</script><img src=x onerror=alert(2)>", "a=b&c#d %", "=1+1")


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


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    """Opens pages; at the end nothing may have been complained of, and nothing asked for but the files themselves."""
    pages: list[Opened] = []

    def show(page: Path | ReportContent, hash_: str = "", **context: Any) -> Opened:
        if isinstance(page, ReportContent):
            (tmp_path / "report.html").write_text(render_report(page), encoding="utf-8")
            page = tmp_path / "report.html"
        pages.append(Opened(browser, page.as_uri() + hash_, **context))
        return pages[-1]

    yield show
    for one in pages:
        one.end("file:", "blob:")


@pytest.fixture
def opened(show: Callable[..., Opened], file: Path) -> Opened:
    return show(file)


def test_filters_and_matrix_show_exactly_the_mistakes_that_fit(
    opened: Opened, content: ReportContent, tmp_path: Path
) -> None:
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
    page.click("#reset")
    page.select_option("[name=order]", "people")  # those who disagree most come first
    entropy = {verdict.index: verdict.entropy for verdict in content.verdicts}
    assert all(entropy[first] >= entropy[second] for first, second in pairwise(opened.shown()))
    for true, predicted in ((1, 2), (3, 0)):
        page.click(f".matrix tbody tr:nth-child({true + 1}) td:nth-child({predicted + 2}) a")
        pair = [m for m in mistakes if (m.true, m.predicted) == (true, predicted)]
        assert set(opened.shown()) == {m.index for m in pair}
        assert len(pair) == content.evaluation.metrics.confusion[true][predicted]
    with page.expect_download() as waiting:
        page.click("#download")
    waiting.value.save_as(tmp_path / "table.csv")
    rows = list(csv.DictReader(StringIO((tmp_path / "table.csv").read_text(encoding="utf-8-sig"))))
    assert [int(row["index"]) for row in rows] == opened.shown()
    assert {(row["true"], row["predicted"]) for row in rows} == {("ship", "airplane")}
    assert sorted(float(row["loss"]) for row in rows) == pytest.approx(sorted(m.loss for m in pair), abs=1e-6)


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
    assert page.is_visible("#card-copy")
    page.keyboard.press("ArrowRight")
    for _ in range(8):
        page.click("#next")
    assert f"Test image {order[9]} " in page.text_content("#card-place")
    assert not page.is_visible("#card-copy")
    page.keyboard.press("Escape")
    assert not page.is_visible("#card")
    # The event of the closed dialog, which moves the focus to the mistake last seen, comes a moment after the closing.
    becomes(page, "document.activeElement.closest('li')?.mistake.index", order[9])


def test_a_view_is_shared_by_its_address(show: Callable[..., Opened], file: Path, content: ReportContent) -> None:
    chosen = next(m for m in content.mistakes if m.true == 2)
    one = show(file, f"#true=dog&order=index&card={chosen.index}")
    assert one.shown() == sorted(m.index for m in content.mistakes if m.true == 2)
    assert one.page.text_content("#card-title").startswith("dog predicted as ")
    assert f"Test image {chosen.index} " in one.page.text_content("#card-place")
    one.page.keyboard.press("Escape")
    becomes(one.page, "location.hash", "#true=dog&order=index")  # the event of the closed dialog comes later
    nonsense = show(file, "#true=nobody&fault=toString&order=__proto__&card=x")
    assert len(nonsense.shown()) == 60


def pixels_of(page: Any, canvas: str) -> np.ndarray:
    """What a canvas of the card shows, one value for each pixel of the image, int (32, 32, 3)."""
    script = """(id) => {
      const canvas = document.getElementById(id), {width, height} = canvas;
      return [width, ...canvas.getContext("2d").getImageData(0, 0, width, height).data];
    }"""
    side, *data = page.evaluate(script, canvas)
    step = side // 32
    return np.array(data, np.uint8).reshape(side, side, 4)[step // 2 :: step, step // 2 :: step, :3].astype(int)


def test_the_card_shows_the_maps_of_the_figures_and_what_the_occlusion_test_hid(
    opened: Opened, content: ReportContent
) -> None:
    page, explanation = opened.page, content.explanation
    page.click(TILES)
    image = image_of(content, 0)
    scale = max(np.abs(getattr(explanation, name)[0]).max() for name in ("contrast", "predicted", "true"))
    values = to_pixels(explanation.predicted[:1], (32, 32), explanation.grid, smooth=False)[0]
    wanted = tint((image.mean(2) - DARKEST) / (255 - DARKEST), values, scale)
    assert np.abs(pixels_of(page, "card-predicted") - wanted).max() <= 2
    page.uncheck("#maps")
    np.testing.assert_array_equal(pixels_of(page, "card-predicted"), image)
    before = page.text_content("#card-answers")
    page.check("#hide")
    found = pixels_of(page, "card-picture")
    hidden = hide(image_of(content, 0)[None], content.explanation.hidden[:1], "blur")[0].astype(int)
    inside = np.zeros((32, 32), bool)
    inside[9:19, 5:15] = True  # the outline is drawn around what is hidden, rows 8 to 19 and columns 4 to 15
    assert np.abs(found - hidden)[inside].max() <= 1
    after = page.text_content("#card-answers")
    assert after != before
    assert "13%" in after  # predicted_after, 0.125
    assert "63%" in after  # true_after, 0.625


def test_search_counts_and_chips_lead_to_one_image(opened: Opened, content: ReportContent) -> None:
    page, wanted = opened.page, content.mistakes[7]
    page.keyboard.press("/")
    page.keyboard.type(str(wanted.index))
    assert opened.shown() == [m.index for m in content.mistakes if str(m.index).startswith(str(wanted.index))]
    page.keyboard.press("Enter")
    assert page.is_visible("#card")
    page.keyboard.press("Escape")
    page.fill("[name=search]", "150")  # a correct prediction
    assert opened.shown() == []
    assert "150" in page.text_content("#none")
    page.click("#chips button")
    assert len(opened.shown()) == 60
    page.select_option("[name=true]", "cat")
    number = {name: sum(m.true == 1 and m.predicted == k for m in content.mistakes) for k, name in enumerate(CLASSES)}
    option = "(({{ text, disabled }}) => [text, disabled])(document.querySelector('[name=predicted] [value={}]'))"
    becomes(page, option.format("dog"), [f"dog ({number['dog']})", False])  # counted after the tiles are drawn
    becomes(page, option.format("cat"), ["cat (0)", True])


def test_the_threshold_and_the_shares_of_the_matrix(opened: Opened, content: ReportContent) -> None:
    predictions, confusion = content.evaluation.predictions, np.array(content.evaluation.metrics.confusion)
    answered = predictions.confidence >= 0.6
    right = (predictions.predicted == predictions.labels) & answered
    opened.page.fill("#threshold", "60")
    words = opened.page.text_content("#threshold-words")
    assert f"{answered.mean():.1%} of the images" in words
    assert f"{answered.sum() - right.sum()} of 60 mistakes remain" in words
    opened.page.check("#shares")
    found = opened.page.inner_text(".matrix tbody tr:nth-child(2) td:nth-child(3)")
    assert float(found.rstrip("%")) == pytest.approx(100 * confusion[1, 1] / confusion[1].sum(), abs=0.5)


@pytest.mark.parametrize(("width", "height", "tiles"), [(1280, 800, 0), (1920, 1080, 49)])
def test_the_first_screen_has_tiles_and_one_row_of_filters(
    show: Callable[..., Opened], file: Path, width: int, height: int, tiles: int
) -> None:
    page = show(file, viewport={"width": width, "height": height}, reduced_motion="reduce").page
    assert page.evaluate(f"document.querySelector('{TILES}').getBoundingClientRect().top") < 800
    assert page.evaluate("document.getElementById('filters').offsetHeight") == 64
    page.evaluate("document.getElementById('tiles').scrollIntoView()")
    script = "all => all.filter(one => one.getBoundingClientRect().bottom <= innerHeight).length"
    assert page.eval_on_selector_all(TILES, script) >= tiles


def test_a_filter_while_scrolled_shows_its_first_tile_and_focus_is_never_under_the_bars(
    show: Callable[..., Opened], file: Path
) -> None:
    page = show(file, viewport={"width": 1000, "height": 500}, reduced_motion="reduce").page
    page.focus(f"{TILES} button[tabindex='0']")
    for key in ("ArrowDown",) * 3 + ("ArrowUp",) * 3:
        page.keyboard.press(key)
        focused, bar = "document.activeElement", "document.getElementById('filters')"
        assert page.evaluate(f"{focused}.getBoundingClientRect().top - {bar}.getBoundingClientRect().bottom") >= 0
    page.evaluate("scrollTo(0, document.querySelector('#tiles > li:last-child').getBoundingClientRect().top)")
    page.select_option("[name=true]", "cat")
    top, bar = (f"document.querySelector('{name}').getBoundingClientRect()" for name in (f"{TILES}", "#filters"))
    assert 0 <= page.evaluate(f"{top}.top - {bar}.bottom") < 30
    assert page.evaluate(f"{top}.bottom") < 500
    page.goto(file.as_uri() + "#true=cat&search=99999")
    page.reload()
    page.wait_for_selector(READY, state="attached")
    assert 0 < page.evaluate("document.getElementById('none').getBoundingClientRect().bottom") < 500


def test_sections_keep_the_filter_and_closing_a_card_adds_no_history(opened: Opened) -> None:
    page = opened.page
    page.select_option("[name=true]", "cat")
    page.click(".top nav a[href='#training']")
    assert page.evaluate("location.hash") == "#true=cat&at=training"
    shown, length = opened.shown(), page.evaluate("history.length")
    for number in range(3):
        page.click(f"{TILES} >> nth={number}")
        opened.close_card()
    assert page.evaluate("history.length") <= length + 1
    opened.reload()
    assert opened.shown() == shown


LONG = ("Pembroke_Welsh_corgi", "lawn_mower", "x" * 200, "שלום עולם")


def test_long_names_and_a_hundred_classes_fit(show: Callable[..., Opened]) -> None:
    content, hundred = make_content(24, LONG), make_content(60, tuple(f"class {k}" for k in range(100)))
    names = tuple(f"Egyptian_cat/n02124075_ILSVRC2012_val_{number:08d}.JPEG" for number in range(72))
    one = show(replace(content, test=replace(content.test, files=names)))
    page = one.page
    assert page.locator(f"{TILES} bdi").count() == 2 * 24
    head = "document.querySelector('.matrix tbody th').getBoundingClientRect()"
    answers = "all => all.map(one => one.querySelector('.answer').getBoundingClientRect().width)"
    inside = "b => { const r = b.getBoundingClientRect(); return r.left >= 0 && r.right <= innerWidth && r.top >= 0; }"
    for width in (320, 360, 1280):
        page.set_viewport_size({"width": width, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert min(page.eval_on_selector_all(TILES, answers)) > 50
        assert page.evaluate(f"{head}.width") < 160
        page.click(TILES)
        assert all(button.evaluate(inside) for button in page.query_selector_all(".card-head button"))
        one.close_card()
    page = show(hundred).page
    assert page.locator(".matrix tbody tr").count() == 100
    for width in (320, 360, 1280):
        page.set_viewport_size({"width": width, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("getComputedStyle(document.querySelector('.matrix tbody th')).position") == "sticky"


def test_tiles_that_leave_the_screen_give_their_pixels_back(show: Callable[..., Opened]) -> None:
    content, size = make_content(300, cells=4), {"width": 1000, "height": 600}
    page = show(content, "#show=all", viewport=size, reduced_motion="reduce").page
    painted = "[...document.querySelectorAll('#tiles > li')].filter((one) => one.painted).length"
    becomes(page, "document.querySelectorAll('.later').length", 0)  # those below the screen follow one frame later
    becomes(page, f"{painted} > 0", True)
    for part in range(1, 6):
        page.evaluate(f"window.scrollTo(0, document.getElementById('tiles').offsetHeight * {part} / 5)")
        page.wait_for_timeout(60)
    assert page.locator(TILES).count() == 300
    becomes(page, f"{painted} > 0 && {painted} <= 60", True)


def test_print_has_every_picture_and_a_card_one_page(opened: Opened) -> None:
    page = opened.page
    pdf = page.pdf(format="A4", print_background=True)
    assert len(re.findall(rb"/Subtype\s*/Image", pdf)) >= 2 * 60  # each with its transparency; none scrolled to
    page.select_option("#show", "10")
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) == 1
    page.click(TILES)
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) == 1
    page.emulate_media(media="print")
    bounds = "document.querySelector('{}').getBoundingClientRect()"
    assert page.evaluate(f"{bounds.format('.card-head')}.bottom <= {bounds.format('.panels')}.top")


def test_notes_come_back_as_csv(opened: Opened, content: ReportContent, tmp_path: Path) -> None:
    page, (first, second, *_) = opened.page, content.mistakes
    page.click(TILES)
    page.click("#part-notes summary")
    page.select_option("#note-new_label", "ship")
    page.fill("#note-note", '=a "quoted", line')
    opened.close_card()
    opened.reload()
    page.select_option("[name=set]", "corrected label")
    assert opened.shown() == [first.index]
    page.click(".menu summary")
    with page.expect_download() as waiting:
        page.click("#export-notes")
    waiting.value.save_as(tmp_path / "notes.csv")
    rows = list(csv.reader(StringIO((tmp_path / "notes.csv").read_text(encoding="utf-8"))))
    assert rows == [["index", "tag", "new_label", "note"], [str(first.index), "", "ship", '\'=a "quoted", line']]
    more = f'index,tag,new_label,note\n{second.index},look,,"two\nlines"\n'
    (tmp_path / "more.csv").write_text(more, encoding="utf-8")
    assert not page.is_visible("#export-notes")  # the menu closes
    page.set_input_files("#notes-file", tmp_path / "more.csv")
    becomes(page, "document.getElementById('notes-status').textContent", "1 note imported")
    page.select_option("[name=set]", "tag look")
    assert opened.shown() == [second.index]


def test_the_quiz_keeps_the_score_of_both(opened: Opened, content: ReportContent) -> None:
    page = opened.page
    predictions, you, network = content.evaluation.predictions, 0, 0
    page.keyboard.press("p")
    becomes(page, "document.getElementById('lesson').open", True)
    for asked in range(1, 7):
        index = int(page.get_attribute("#lesson-picture", "aria-label").rpartition(" ")[2])
        label, guess = CLASSES[predictions.labels[index]], page.inner_text("#lesson-choices button >> nth=1")
        you += label in guess
        network += bool(predictions.labels[index] == predictions.predicted[index])
        page.keyboard.press("2")
        while "Next" not in page.text_content("#lesson-next"):
            page.keyboard.press(" ")
        assert page.text_content("#lesson-score") == f"You: {you} of {asked}, network: {network}"
        assert label in page.inner_text("#lesson-choices .right")
        page.keyboard.press(" ")
    page.keyboard.press("Escape")
    assert not page.is_visible("#lesson")


def test_more_like_this_starts_with_the_mistake_and_what_is_nearest(opened: Opened, content: ReportContent) -> None:
    page, chosen = opened.page, content.mistakes[5]
    index = [m.index for m in content.mistakes]
    logits = content.evaluation.predictions.logits[index].astype(float)  # the features here are of length 1
    unit = logits / np.linalg.norm(logits, axis=1, keepdims=True)
    near = np.linalg.norm(unit - unit[5], axis=1)
    page.evaluate(f"location.hash = 'card={chosen.index}'")
    page.wait_for_selector("#card[open]", state="attached")
    page.click("#more-like-this")
    becomes(page, "document.getElementById('card').open", False)
    shown = opened.shown()
    assert shown[0] == chosen.index
    assert np.corrcoef([near[index.index(one)] for one in shown], np.arange(60))[0, 1] > 0.9
    opened.reload()
    assert opened.shown() == shown


def test_the_lasso_filters_the_enclosed_mistakes(opened: Opened) -> None:
    page = opened.page
    page.click("#show-landscape")
    box = page.locator("#landscape-canvas").bounding_box()
    half = [(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)]
    corners = [(box["x"] + 2 + x * (box["width"] - 4), box["y"] + 2 + y * (box["height"] - 4)) for x, y in half]
    page.mouse.move(*corners[0])
    page.mouse.down()
    for x, y in corners[1:]:
        page.mouse.move(x, y, steps=8)
    page.mouse.up()
    assert len(opened.shown()) == 30  # positions are ranks
    page.click("#chips button")
    assert len(opened.shown()) == 60


def test_another_run_is_beside_the_mistakes(show: Callable[..., Opened], content: ReportContent) -> None:
    labels, ours = content.test.labels, content.evaluation.predictions.predicted
    theirs, explanation = ours.copy(), content.explanation
    first, second, third = (m.index for m in content.mistakes[:3])
    broken = np.flatnonzero(ours == labels)[:2].tolist()
    theirs[first] = labels[first]
    theirs[second] = next(k for k in range(4) if k not in (labels[second], ours[second]))
    theirs[broken] = (labels[broken] + 1) % 4
    mistakes = [replace(explanation.mistakes[0], index=broken[1]), *explanation.mistakes[1:]]
    one = show(replace(content, beside=Beside("other", theirs, replace(explanation, mistakes=mistakes))))
    page = one.page
    assert len(one.shown()) == 60
    words = "Other repairs 1 of these mistakes, shares 59, and breaks 2 correct predictions"
    assert words in page.text_content(".findings")
    for name, wanted in (("repaired by other", [first]), ("shared, two classes", [second])):
        page.select_option("[name=set]", name)
        assert one.shown() == wanted
    page.select_option("[name=set]", "shared, same class")
    assert third in one.shown()
    page.click(f"{TILES} >> nth=0")
    assert CLASSES[theirs[third]] in page.text_content("#beside-words")
    np.testing.assert_array_equal(pixels_of(page, "card-beside")[20:], pixels_of(page, "card-contrast")[20:])
    one.close_card()
    page.select_option("[name=set]", "broken by other")
    page.select_option("[name=order]", "index")
    assert one.shown() == broken
    assert page.text_content("#count") == "2"
    assert page.locator(f"{TILES} .alone").count() == 1  # one of them is explained
    for number, index in enumerate(broken):
        page.click(f"{TILES} >> nth={number}")
        label, predicted = CLASSES[labels[index]], CLASSES[theirs[index]]
        assert page.text_content("#card-title") == f"{label} predicted as {predicted} by other"
        assert (
            page.text_content("#beside-words") == f"other predicts {predicted}. This run predicts {label}, the label."
        )
        assert page.is_visible("#card-contrast") == bool(number)
        assert page.text_content("#predicted-name").endswith("the prediction of other")
        one.close_card()
    page.keyboard.press("p")
    becomes(page, "document.getElementById('lesson-title').textContent", "Question 1")


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1200)])
def test_axe_reports_no_violation(show: Callable[..., Opened], scheme: str, width: int) -> None:
    size = {"width": width, "height": 900}
    page = show(make_content(8), color_scheme=scheme, reduced_motion="reduce", viewport=size).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for key, element in (("", ""), ("", TILES), ("p", ""), ("", "#show-landscape")):
        page.keyboard.press("Escape")
        becomes(page, "document.getElementById('card').open", False)
        if key:
            page.keyboard.press(key)
        elif element:
            page.click(element)
        assert violations(page) == []


def test_hostile_names_are_text(show: Callable[..., Opened], tmp_path: Path) -> None:
    files = tuple(f"<img src=x onerror=alert({number})>.png" for number in range(72))
    content = make_content(24, HOSTILE, name="</title>x")
    one = show(replace(content, test=replace(content.test, files=files)))
    page = one.page
    assert page.title().startswith("</title>x: ")
    names = page.eval_on_selector_all(".matrix tbody th", "all => all.map(one => one.textContent)")
    assert tuple(names) == HOSTILE
    page.click(TILES)
    assert "<img src=x onerror=" in page.text_content("#card-place")
    one.close_card()
    for name in HOSTILE:
        page.select_option("[name=true]", name)
        address = page.evaluate("location.hash")
        assert show(tmp_path / "report.html", address).shown() == one.shown()
    page.select_option("[name=true]", "=1+1")
    with page.expect_download() as waiting:
        page.click("#download")
    waiting.value.save_as(tmp_path / "table.csv")
    assert ",'=1+1," in (tmp_path / "table.csv").read_text(encoding="utf-8-sig")  # no formula for a spreadsheet
    assert page.query_selector("img[src=x]") is None


def test_without_script_the_verdict_and_the_table_are_there(
    show: Callable[..., Opened], file: Path, content: ReportContent
) -> None:
    page = show(file, java_script_enabled=False).page
    rows = page.locator("noscript tbody tr").all_text_contents()
    for row, mistake, repair in zip(rows, content.mistakes, content.explanation.repairs, strict=True):
        assert row.startswith(str(mistake.index))
        assert row.endswith(repair.sentence(mistake.predicted, content.test.classes))
    assert all(page.is_visible(part) for part in ("h1", ".plot >> nth=0", "noscript .plain"))
    assert not page.is_visible("#filters")


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
