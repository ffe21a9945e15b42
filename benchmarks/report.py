"""The HTML report of a run: seconds to write it, its size, and in Chromium the time to the first paint and of a filter.

    python benchmarks/report.py runs/fast > results/report.json

The run must be explained. Chromium opens the file from disk again each time. A filter is timed from the change of its
value to the second animation frame after it, when its result has been drawn (`filter_ms`). `handed_over_ms` is the time
to the first task after the first frame, when that frame was given to the compositor. The rest is painting the images,
and waiting.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from lab.measuring import arguments, print_result, spread, timed
from seefar.pipeline import report_run
from seefar.training.run import load_for, load_run

FILTER = """() => new Promise((done) => {
  const select = document.querySelector("[name=true]"), start = performance.now();
  select.selectedIndex = 1;
  select.dispatchEvent(new Event("change", {bubbles: true}));
  const passed = () => performance.now() - start, channel = new MessageChannel();
  let handed_over_ms;
  channel.port1.onmessage = () => { handed_over_ms = passed(); };
  requestAnimationFrame(() => {
    channel.port2.postMessage(0);
    requestAnimationFrame(() => done({handed_over_ms, filter_ms: passed()}));
  });
})"""
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
SHIFT = """() => new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((one) => { sum += one.value; }))
    .observe({type: "layout-shift", buffered: true});
  setTimeout(() => done(sum), 200);
})"""


def open_once(browser: Browser, report: Path) -> dict[str, float]:
    """Milliseconds until the first paint, until every card can be opened, and of a filter; and how far things moved."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    started = time.perf_counter()
    page.goto(report.resolve().as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    found = {
        "ready_ms": 1000 * (time.perf_counter() - started),
        "first_contentful_paint_ms": page.evaluate(FIRST_PAINT),
        "layout_shift": page.evaluate(SHIFT),
        **page.evaluate(FILTER),
    }
    page.close()
    return found


def main() -> None:
    """Measure and print one JSON object."""
    options = arguments(__doc__, "run", rounds=15)
    run = load_run(options.run)
    data = load_for(run.recipe)
    run.folder.report.unlink(missing_ok=True)  # else it is not written again
    report, seconds = timed(lambda: report_run(run, data))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        rounds = [open_once(browser, report) for _ in range(options.rounds)]
        version = browser.version
        browser.close()
    result = {
        "chromium": version,
        "write_seconds": round(seconds, 2),
        "size_mb": round(report.stat().st_size / 1e6, 3),
        **{
            name: {**spread(values), "most": max(values)}
            for name in rounds[0]
            for values in [[one[name] for one in rounds]]
        },
    }
    print_result(result)


if __name__ == "__main__":
    main()
