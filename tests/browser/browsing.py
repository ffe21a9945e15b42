"""What the tests in a browser share: where Chromium is, waiting, and axe."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("no Chromium on this machine", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_core_python.base", reason="axe-core-python is not installed")

TILES = "#tiles > li"
READY = "html[data-ready]"


class Opened:
    """A page of the report, with what it complained of and what it asked the network for."""

    def __init__(self, browser: Any, address: str, **context: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **context})
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda one: one.type == "error" and self.complaints.append(one.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append("a dialog") or dialog.dismiss())
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        if context.get("java_script_enabled", True):
            self.page.wait_for_selector(READY, state="attached")

    def reload(self) -> None:
        self.page.reload()
        self.page.wait_for_selector(READY, state="attached")

    def close_card(self) -> None:
        """Close the card. Its step of the history is undone a moment later."""
        self.page.keyboard.press("Escape")
        becomes(self.page, "document.getElementById('card').open || Boolean(history.state?.card)", False)

    def shown(self) -> list[int]:
        return self.page.eval_on_selector_all(TILES, "tiles => tiles.map(tile => tile.mistake.index)")

    def end(self, *allowed: str) -> None:
        """Close the page; it must have asked for what begins like this only, and complained of nothing."""
        self.context.close()
        assert [url for url in self.requests if not url.startswith((*allowed, "data:"))] == []
        assert [text for text in self.complaints if "400 (Bad Request)" not in text] == []


def becomes(page: Any, what: str | Callable[[], object], value: object) -> None:
    """Wait until a value of the page is this one. Playwright's own waiting needs `eval`, which the policy refuses."""

    def found() -> object:
        return page.evaluate(what) if isinstance(what, str) else what()

    for _ in range(250):
        if found() == value:
            return
        page.wait_for_timeout(20)
    assert found() == value


def violations(page: Any) -> list[tuple[str, list[str]]]:
    """The rules that axe finds violated, each with some of the elements."""
    page.evaluate(Path(axe.__file__).with_name("axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in found["violations"]]
