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
