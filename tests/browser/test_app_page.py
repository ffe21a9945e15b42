"""The app in a real Chromium: paint over a picture and see the answer change, turn mistakes, drop a picture."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from seefar.training.run import Run

sync_api = pytest.importorskip("playwright.sync_api")
pytest.importorskip("gradio")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")]


@pytest.fixture
def address(run: Run) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "seefar", "app", str(run.folder.path), "--port", str(port), "--quiet"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(f"http://127.0.0.1:{port} shows run")
            yield f"http://127.0.0.1:{port}"
        finally:  # or a failed test would wait for it
            process.terminate()


def test_paint_turn_and_drop(address: str, tmp_path: Path) -> None:
    errors: list[str] = []
    hosts: set[str] = set()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda one: errors.append(one.text) if one.type == "error" else None)
        page.on("request", lambda one: hosts.add(one.url.split("/")[2]) if one.url.startswith("http") else None)
        for _ in range(50):  # the first line is printed a moment before the port is open
            try:
                page.goto(address)
                break
            except sync_api.Error:
                page.wait_for_timeout(200)
        page.wait_for_selector("#canvas canvas")
        page.wait_for_selector("#map img")

        # The answer is the one that the mistake says; it came to the browser and back without loss.
        assert said(page) == answered(page)
        page.get_by_role("button", name="Next mistake").click()
        page.wait_for_function("document.querySelector('#about').innerText.startsWith('Mistake 2 of')")
        for _ in range(300):  # the answer comes after the words
            if said(page) == answered(page):
                break
            page.wait_for_timeout(200)
        assert said(page) == answered(page)

        before = page.locator("#answer").inner_text()
        paint(page)
        page.wait_for_function("before => document.querySelector('#answer').innerText != before", arg=before)

        Image.new("RGB", (60, 40), (255, 0, 0)).save(tmp_path / "wide.png")
        page.locator("#file input[type=file]").set_input_files(tmp_path / "wide.png")
        page.wait_for_function("document.querySelector('#about').innerText.startsWith('wide.png: 60x40 pixels, ')")
        assert "the centre square" in page.locator("#about").inner_text()
        browser.close()
    assert hosts == {address.removeprefix("http://")}
    assert not errors


def said(page: Any) -> tuple[str, int]:
    """Class and rounded percentage in the words about a mistake."""
    found = re.search(r"taken for (\w+) at ([\d.]+)%", page.locator("#about").inner_text())
    assert found
    return found[1], round(float(found[2]))


def answered(page: Any) -> tuple[str, int]:
    """Class and percentage of the first answer."""
    found = re.search(r"(\w+)\s+(\d+)%", page.locator("#answer").inner_text())
    assert found
    return found[1], int(found[2])


def paint(page: Any) -> None:
    """Strokes over the middle of the picture."""
    box = page.locator("#canvas canvas").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 100, y - 100)
    page.mouse.down()
    for row in range(10):
        page.mouse.move(x + (100 if row % 2 else -100), y - 100 + 20 * row, steps=5)
    page.mouse.up()
