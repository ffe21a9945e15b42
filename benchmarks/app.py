"""The app on a run in Chromium: milliseconds until the map of a mistake, a dropped or a painted picture is drawn.

    python benchmarks/app.py runs/fast > results/app.json

The run must be evaluated, so that its mistakes are at hand. Each wait is from the click, the drop or the end of the
stroke until the new map is drawn in the page, so it holds the browser, both ways between them, the network and the
figure.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Error, Page, sync_playwright

import seefar
from seefar.app import make_app, open_studio
from seefar.progress import SILENT
from seefar.runs.provenance import provenance

MAP = "document.querySelector('#map img')"
NEW_MAP = f"""old => new Promise((done, failed) => {{
  const begun = performance.now();
  const look = () => {{
    const map = {MAP};
    if (map && map.src != old && map.complete && map.naturalWidth) requestAnimationFrame(done);
    else if (performance.now() - begun > 30000) failed("no new map in 30 s");
    else requestAnimationFrame(look);
  }};
  look();
}})"""
SETTLED = 700  # milliseconds that the page is left alone between two waits


@contextmanager
def served(run: Path) -> Iterator[tuple[str, float]]:
    """The address of the app, and the seconds until it said so."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.perf_counter()
    words = [sys.executable, "-m", "seefar", "app", str(run), "--port", str(port), "--quiet"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.startswith("http"):
                raise SystemExit(f"The app did not start: {line}")
            yield f"http://127.0.0.1:{port}", time.perf_counter() - started
        finally:
            process.terminate()


def wait(page: Page, action: Callable[[], None]) -> float:
    """Milliseconds from the end of an action until a new map is drawn."""
    old = page.evaluate(f"{MAP}.src")
    action()
    started = time.perf_counter()
    page.evaluate(NEW_MAP, old)
    waited = 1000 * (time.perf_counter() - started)
    page.wait_for_timeout(SETTLED)
    return waited


def stroke(page: Page, number: int) -> None:
    """A short stroke over the picture, each a little lower than the one before."""
    box: Any = page.locator("#canvas canvas").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 60, y - 100 + 20 * number)
    page.mouse.down()
    page.mouse.move(x + 60, y - 100 + 20 * number, steps=4)
    page.mouse.up()


def measure(page: Page, folder: Path, rounds: int) -> dict[str, list[float]]:
    """Waits of each kind."""
    found: dict[str, list[float]] = {"next_mistake": [], "previous_mistake": [], "dropped": [], "painted": []}
    turn = {name: page.get_by_role("button", name=f"{name.title()} mistake") for name in ("next", "previous")}
    for number in range(rounds):
        found["painted"].append(wait(page, partial(stroke, page, number % 10)))
        found["next_mistake"].append(wait(page, turn["next"].click))
    for _ in range(rounds):
        found["previous_mistake"].append(wait(page, turn["previous"].click))
    choose = page.locator("#file input[type=file]")
    for number in range(rounds):
        pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        file = folder / f"{number}.jpg"
        Image.fromarray(pixels).resize((4000, 3000)).save(file)  # 12 megapixels, as of a camera
        found["dropped"].append(wait(page, partial(choose.set_input_files, file)))
        page.locator("#file").get_by_label("Clear").click()
        page.wait_for_timeout(SETTLED)
    return found


def without_browser(run: Path, rounds: int) -> list[float]:
    """Milliseconds of the network and the figure alone."""
    studio, name = open_studio(run, progress=SILENT)
    make_app(studio, name)
    waits = []
    for number in range(rounds + 1):
        started = time.perf_counter()
        studio.answer(studio.mistake(number)[0])
        waits.append(1000 * (time.perf_counter() - started))
    return waits[1:]  # the first makes the twin


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    seefar.load_run(options.run, "cpu")  # fails here if there is none
    with (
        tempfile.TemporaryDirectory() as folder,
        served(options.run) as (address, start),
        sync_playwright() as browsers,
    ):
        browser = browsers.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        for _ in range(50):  # the first line is printed a moment before the port is open
            try:
                page.goto(address)
                break
            except Error:
                page.wait_for_timeout(200)
        page.wait_for_selector("#map img")
        page.wait_for_timeout(2 * SETTLED)
        waits = measure(page, Path(folder), options.rounds)
        version = browser.version
        browser.close()
    waits["network_and_figure_alone"] = without_browser(options.run, options.rounds)
    result = {
        "command": f"python benchmarks/app.py {options.run}",
        **provenance(),
        "chromium": version,
        "seconds_to_start": round(start, 1),
        **{
            f"{name}_ms": {"median": round(statistics.median(some)), "most": round(max(some)), "n": len(some)}
            for name, some in waits.items()
        },
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
