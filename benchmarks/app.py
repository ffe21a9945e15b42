"""The live page of a run in Chromium: milliseconds from a dab of the brush, or a dropped picture, to the answer.

    python benchmarks/app.py runs/fast > results/app.json

Each wait ends when the new probabilities and maps are drawn, so it holds the browser, both ways between them, and the
network. `server_ms` is the part of the server without the way to it. Run it on a quiet machine.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

import seefar
from lab.measuring import arguments, print_result, seconds, spread
from seefar.app import make_live
from seefar.pipeline import report_content
from seefar.progress import SILENT
from seefar.training.run import load_for

WATCH = """() => {
  const drawn = (since) => requestAnimationFrame(() => setTimeout(() => window.waits.push(performance.now() - since)));
  const [picture, file] = ["card-picture", "own-file"].map((id) => document.getElementById(id));
  let since = null;
  window.waits = [];
  picture.addEventListener("pointerdown", () => { since = performance.now(); });
  file.addEventListener("change", () => { since = performance.now(); }, true);
  document.getElementById("card").addEventListener("card-shown", () => {
    if (since !== null) drawn(since);
    since = null;
  });
}"""
SETTLED = 300  # milliseconds that the page is left alone between two waits


@contextmanager
def served(run: Path) -> Iterator[tuple[str, float]]:
    """The address of the app, and the seconds until it was printed."""
    started = time.perf_counter()
    words = [sys.executable, "-m", "seefar", "app", str(run), "--port", "0", "--quiet"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.startswith("http"):
                raise SystemExit(f"The app did not start: {line}")
            yield line.split()[0], time.perf_counter() - started
        finally:
            process.terminate()


def waited(page: Page, count: int) -> float:
    """The wait number `count`, from 1, in milliseconds."""
    for _ in range(1000):
        if page.evaluate("window.waits.length") >= count:
            page.wait_for_timeout(SETTLED)
            return float(page.evaluate(f"window.waits[{count - 1}]"))
        page.wait_for_timeout(20)
    raise SystemExit("no answer in 20 s")


def measure(page: Page, folder: Path, rounds: int) -> dict[str, list[float]]:
    """Waits of both kinds."""
    found: dict[str, list[float]] = {"painted": [], "dropped": []}
    page.locator("#tiles li button").first.click()
    page.evaluate(WATCH)
    box: Any = page.locator("#card-picture").bounding_box()
    for number in range(rounds):
        row, column = divmod(number % 25, 5)
        page.mouse.move(box["x"] + box["width"] * (column + 1) / 6, box["y"] + box["height"] * (row + 1) / 6)
        page.mouse.down()
        page.mouse.up()
        found["painted"].append(waited(page, number + 1))
    for number in range(rounds):
        pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        file = folder / f"{number}.jpg"
        Image.fromarray(pixels).resize((4000, 3000)).save(file)  # 12 megapixels, as of a camera
        page.locator("#own-file").set_input_files(file)
        found["dropped"].append(waited(page, rounds + number + 1))
    return found


def without_browser(run: Path, rounds: int) -> list[float]:
    """Milliseconds of the server alone, for a painted image."""
    trained = seefar.load_run(run)
    content = report_content(trained, load_for(trained.recipe, progress=SILENT), progress=SILENT)
    live = make_live(trained.model, content)
    images = np.random.default_rng(0).integers(0, 256, (rounds + 1, *live.image_size, 3), dtype=np.uint8)
    waits = [1000 * seconds(lambda image=image: live.predict(image.tobytes(), "0")) for image in images]
    return waits[1:]  # the first makes the twin


def main() -> None:
    """Measure and print one JSON object."""
    options = arguments(__doc__, "run", rounds=25)
    run = Path(options.run)
    with (
        tempfile.TemporaryDirectory() as folder,
        served(run) as (address, start),
        sync_playwright() as browsers,
    ):
        browser = browsers.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.goto(address)
        page.wait_for_selector("html[data-ready]", state="attached")
        page.wait_for_timeout(2 * SETTLED)
        waits = measure(page, Path(folder), options.rounds)
        version = browser.version
        browser.close()
    waits["server"] = without_browser(run, options.rounds)
    result = {
        "chromium": version,
        "seconds_to_start": round(start, 1),
        **{f"{name}_ms": {**spread(some), "most": max(some)} for name, some in waits.items()},
    }
    print_result(result)


if __name__ == "__main__":
    main()
