"""What the site needs beside `docs/`: the README as its first page, and the results that pages link to."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\(([^)#\s]+)")
LINKED = ("README.md", "LICENSE", "CONTRIBUTING.md")
"""Files beside the README that pages link to; folders are left to the repository."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README, and each file outside `docs/` that a page links to, at the same place as in the repository."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for path in sorted({target for page in pages for target in _linked(page) if target.is_file()}):
        place = path.relative_to(ROOT).as_posix()
        if not place.startswith("docs/"):
            source = path.read_bytes()
            name = f"{place}.txt" if path.suffix in ("", ".md", ".py", ".ipynb", ".sh") else place
            files.append(File.generated(config, name, content=source))
    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "index.md", content=_as_in_site(readme)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Links out of `docs/` point to where `on_files` put their targets."""
    return _as_in_site(markdown.replace("](../", "]("))


def _linked(page: Path) -> set[Path]:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    return {(page.parent / link).resolve() for link in links if "://" not in link and not link.startswith("mailto:")}


def _as_in_site(markdown: str) -> str:
    def place(link: re.Match[str]) -> str:
        target = link[1]
        path = ROOT / target
        if "://" in target or not path.exists() or (ROOT / "docs" / target).exists():
            return link[0]
        if path.is_dir():
            return "](index.md"  # a folder of the repository has no page
        return f"]({target}.txt" if path.suffix in ("", ".md", ".py", ".ipynb", ".sh") else link[0]

    return LINK.sub(place, markdown)
