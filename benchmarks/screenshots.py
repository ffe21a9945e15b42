"""The pictures of the report in docs/figures, from the page of a finished run, in Debian's Chromium.

python benchmarks/screenshots.py [runs/fast/report.html]
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

FIGURES = Path(__file__).parent.parent / "docs" / "figures"
CARD = "#true=cat&predicted=dog&card=1088"
SCREENS = {
    "hero": ("#card=1521", (1180, 700), "light"),
    "report": ("", (1280, 760), "light"),
    "report_gallery": ("#true=cat&predicted=dog&fault=model", (1280, 860), "light"),
    "report_card": (CARD, (1180, 760), "light"),
    "report_dark": (CARD, (1180, 800), "dark"),
    "report_phone": ("", (360, 760), "light"),
}
"""Name of the picture: address within the page, width and height in pixels, colours."""


def main() -> None:
    """Write the pictures."""
    page_file = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/fast/report.html").resolve()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND"]
        )
        for name, (address, (width, height), colours) in SCREENS.items():
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=colours)
            page.goto(page_file.as_uri() + address)
            if colours == "dark":
                page.check("#hide")
            page.wait_for_timeout(500)  # until what fades in is there
            page.screenshot(path=FIGURES / f"{name}.png")
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
