"""What the site has beside `docs/`: the README as its first page, files that pages link to, and the command line.

A file keeps its place in the repository, except that `docs/` is the root of the site. Links are rewritten by that rule.
"""

from __future__ import annotations

import inspect
import os
import posixpath
import pydoc
import re
import subprocess
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from seefar.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?<=\]\()[^)#\s]+")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README, every file outside `docs/` that a page links to, directly or through another page."""
    waiting, added = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], set[Path]()
    while waiting:
        page = waiting.pop()
        for target in sorted(_linked(page) - added):
            added.add(target)
            if not target.is_relative_to(ROOT / "docs"):
                files.append(File.generated(config, site_path(target), content=target.read_bytes()))
                waiting += [target] if target.suffix == ".md" else []
    if ROOT / "README.md" not in added:
        files.append(File.generated(config, "index.md", content=(ROOT / "README.md").read_bytes()))
    files.append(File.generated(config, "cli.md", content=command_line()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Links that lead where `on_files` put their targets."""
    if re.search(r"<img\b", markdown):
        raise PluginError(f"{page.file.src_uri}: write pictures as ![text](path), so that their links are checked.")
    # In a search, pages on one subject come first.
    if page.file.src_uri.startswith(("reference/", "results/", "decisions/", "index.md")):
        page.meta["search"] = {"boost": 0.1}
    if page.file.src_uri.startswith("reference/"):
        markdown = with_summary(markdown)
    source = next((path for path in _sources() if site_path(path) == page.file.src_uri), None)
    return markdown if source is None else LINK.sub(lambda link: _place(link[0], source, config.repo_url), markdown)


def site_path(path: Path) -> str:
    """Where a file of the repository is on the site; source files are shown as text."""
    if path == ROOT / "README.md":
        return "index.md"
    place = path.relative_to(ROOT).as_posix().removeprefix("docs/")
    return f"{place}.txt" if path.suffix in ("", ".py", ".sh", ".cff", ".toml") else place


def with_summary(markdown: str) -> str:
    """A page of the reference with a table of its objects, one line each, before the first one."""
    names = re.findall(r"^::: (\S+)", markdown, flags=re.MULTILINE)
    lines = {name: (inspect.getdoc(pydoc.locate(name)) or "").splitlines() for name in names}
    rows = [
        f"| [`{name.rsplit('.', 1)[-1]}`](#{name}) | {line[0].replace('|', '/')} |"
        for name, line in lines.items()
        if line
    ]
    table = "\n".join(["| name | what it is |", "|---|---|", *rows])
    return markdown.replace("\n::: ", f"\n{table}\n\n::: ", 1)


def command_line() -> str:
    """The reference of the command line: the help of every command."""
    codes = "0 done, 1 the condition of `compare --fail-if` holds, 2 wrong input or data, 130 interrupted and resumable"
    parts = [f"# Command line\n\nExit codes: {codes}.\n"]
    environment = {**os.environ, "COLUMNS": "72", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    for name in COMMANDS:
        words = [sys.executable, "-m", "seefar", name, "--help"]
        shown = subprocess.run(words, env=environment, capture_output=True, encoding="utf-8", check=True)
        plain = re.sub(r"\x1b\[[0-9;]*m", "", shown.stdout)
        parts.append(f"## seefar {name}\n\n```text\n{plain.strip()}\n```\n")
    return "\n".join(parts)


def _sources() -> list[Path]:
    return [path for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "results").rglob("*.md"))]


def _linked(page: Path) -> set[Path]:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    paths = {(page.parent / link).resolve() for link in links if "://" not in link and not link.startswith("mailto:")}
    return {path for path in paths if path.is_file() and path.suffix != ".ipynb"}


def _place(link: str, source: Path, repository: str) -> str:
    target = (source.parent / link).resolve()
    if "://" in link or not target.exists() or not target.is_relative_to(ROOT):
        return link
    if target.suffix == ".ipynb":  # shown with its pictures there
        return f"{repository}/blob/main/{target.relative_to(ROOT).as_posix()}"
    if target.is_dir():
        target = ROOT / "README.md"  # a folder of the repository has no page
    return posixpath.relpath(site_path(target), posixpath.dirname(site_path(source)) or ".")
