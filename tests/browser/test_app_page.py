"""The live page in a real Chromium: paint over an image and see the prediction change, drop a picture."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from browsing import Opened, becomes, violations
from PIL import Image
from report_content import make_content

from seefar.app import Live, listen, make_live, make_server
from seefar.explanation.occlusion import hide
from seefar.model.inference import log_softmax
from seefar.model.resnet import ResNet18
from seefar.report.content import ReportContent

pytest.importorskip("uvicorn")

pytestmark = pytest.mark.slow
HOSTILE = ('"><script>alert(1)</script>', "<img src=x onerror=alert(2)>", "a=b&c#d %", "dog")


@pytest.fixture
def content() -> ReportContent:
    return make_content(6, HOSTILE)


@pytest.fixture
def live(content: ReportContent, make_net: Callable[..., ResNet18]) -> Live:
    return make_live(make_net(4), content)


@pytest.fixture
def page(browser: Any, live: Live) -> Iterator[Any]:
    """The page with the card of the first mistake; at the end nothing was complained of, and nobody else asked."""
    listening = listen("127.0.0.1", 0)
    server = make_server(live)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    one = Opened(browser, address, viewport={"width": 1200, "height": 1000})
    one.page.locator("#tiles li button").first.click()
    yield one.page
    one.end(address)
    server.should_exit = True
    thread.join()
    listening.close()


def settled(page: Any) -> dict[str, str]:
    """What `shares` is when all that is painted was answered."""
    becomes(page, lambda: page.get_attribute("#live-status", "aria-busy"), "false")
    return shares(page)


def shares(page: Any) -> dict[str, str]:
    """The probability of each class that the card names."""
    script = "rows => rows.map(row => [row.cells[0].firstChild.textContent, row.cells[1].innerText.trim()])"
    return dict(page.eval_on_selector_all("#card-answers tr", script))


def of_network(live: Live, image: np.ndarray) -> list[float]:
    return np.exp(log_softmax(live.explainer.logits(image[None])))[0].tolist()


def says(share: str, probability: float) -> bool:
    """Whether a percentage, rounded as the page does, is this probability."""
    return abs(float(share.rstrip("%")) - 100 * probability) <= 0.51


def test_the_prediction_for_a_painted_image_is_the_networks(page: Any, live: Live, content: ReportContent) -> None:
    mistake, before, outlined = content.mistakes[0], shares(page), content.explanation.hidden[:1]
    assert page.inner_text("#contrast-name") == f"Why {HOSTILE[mistake.predicted]}, not {HOSTILE[mistake.true]}"
    page.click("#cover")
    painted = hide(content.test.images[mistake.index][None], outlined, "grey")[0]
    wanted = of_network(live, painted)
    assert all(says(share, wanted[HOSTILE.index(name)]) for name, share in settled(page).items())
    assert HOSTILE[mistake.true] in shares(page)
    assert page.inner_text("#live-status").endswith("%")
    first = int(np.argmax(wanted))
    if first != mistake.true:  # its map is against the label
        assert page.inner_text("#contrast-name") == f"Why {HOSTILE[first]}, not {HOSTILE[mistake.true]}"
    assert page.is_disabled("#hide")  # it would take the strokes back
    assert page.inner_text("#card-title").endswith("painted over")
    assert page.is_hidden("#part-test")  # of the image as it was
    page.click("#clear")
    assert settled(page) == before
    assert page.is_disabled("#clear")
    assert page.is_visible("#part-test")
    page.check("#hide")
    assert page.inner_text("#net-head") == "when hidden"
    page.click("#cover")
    assert not page.is_checked("#hide")


def test_strokes_of_the_brush_change_the_prediction_and_are_undone(page: Any, live: Live) -> None:
    before, box = shares(page), page.locator("#card-picture").bounding_box()

    def stroke(row: float) -> None:
        page.mouse.move(box["x"] + 20, box["y"] + row * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] - 20, box["y"] + row * box["height"], steps=4)
        page.mouse.up()

    page.select_option("#brush-colour", "black")
    page.evaluate("document.querySelector('#brush-size').value = 8")
    colour = "canvas => [...canvas.getContext('2d').getImageData(canvas.width / 2, canvas.height * 0.9, 1, 1).data]"
    assert page.locator("#card-picture").evaluate(colour)[:3] != [0, 0, 0]
    stroke(0.9)
    once = settled(page)
    assert once != before
    assert page.inner_text("#live-status").endswith("%")
    assert page.locator("#card-picture").evaluate(colour) == [0, 0, 0, 255]
    stroke(0.2)
    assert settled(page) not in (before, once)
    page.click("#undo")
    assert settled(page) == once
    page.click("#undo")
    assert settled(page) == before
    page.select_option("#against", label=HOSTILE[3])
    becomes(page, lambda: page.inner_text("#contrast-name").endswith(", not dog"), True)


DROP = """([name, text]) => {
  const held = new DataTransfer(), bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  held.items.add(new File([bytes], name));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: held, bubbles: true, cancelable: true }));
}"""


def test_a_picture_that_is_dropped_gets_a_card_and_is_painted_over(page: Any, live: Live) -> None:
    stored, name = BytesIO(), '<img src=x onerror="alert(3)">.png'
    image = np.random.default_rng(2).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(image).save(stored, "PNG")
    page.evaluate(DROP, ["notes.txt", base64.b64encode(b"no picture").decode()])
    becomes(page, lambda: "cannot be read as a picture" in page.inner_text("#live-status"), True)
    page.evaluate(DROP, [name, base64.b64encode(stored.getvalue()).decode()])
    becomes(page, lambda: page.inner_text("#card-place").split(" · ")[0], name)
    wanted = of_network(live, image)
    second, first = np.argsort(wanted)[-2:]
    assert page.inner_text("#card-title") == f"{HOSTILE[first]} rather than {HOSTILE[second]}"
    assert all(says(share, wanted[HOSTILE.index(one)]) for one, share in shares(page).items())
    assert page.is_visible("#card-facts")
    assert page.is_hidden("#part-near")
    assert page.is_hidden("#copy-link")  # nobody else has it
    page.click("#cover")
    settled(page)
    page.keyboard.press("Escape")
    page.locator("#own-list button").click()
    assert page.inner_text("#card-title") == f"{HOSTILE[first]} rather than {HOSTILE[second]}"
    assert page.eval_on_selector_all("#own img, dialog img", "images => images.length") == 0


def test_axe_reports_no_violation_and_nothing_scrolls_sideways(page: Any) -> None:
    for width in (360, 1280):
        page.set_viewport_size({"width": width, "height": 760})
        for part in ("#card", "#own"):
            assert page.locator(part).evaluate("part => part.getBoundingClientRect().right") <= width
            assert page.locator(part).evaluate("part => part.scrollWidth - part.clientWidth") <= 0
        image, answer = (page.locator(part).bounding_box() for part in ("#card-picture", "#live-status"))
        assert image["y"] > 0
        assert answer["y"] + answer["height"] < 760  # the prediction is seen while painting
        assert violations(page) == []
