"""README, docs, help and page are in plain English: short sentences, and none of the words of the old dialect."""

from __future__ import annotations

import ast
import contextlib
import io
import re
from pathlib import Path

import pytest

from seefar.cli import main as cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
REPLACED = re.compile(
    r"\b(told|anew|begun|goes on|went on|wanted|as it lies|lies in|stands (?:at|in|beside|below|behind)|mends?|"
    r"costliest|surest|speaks? for|spoke for|lets? go|taken for|takes it for|whose fault|the same mask elsewhere|"
    r"right answers?|wrong answers?|is had|be had|nets?)\b",
    re.IGNORECASE,
)
"""Words and phrases that have a plainer or a standard form, see the glossary."""
EMPTY_NAMES = {"told", "kept", "found", "one", "there", "place", "about"}
"""Names of values that do not say what the values are."""
LONGEST = 30


def prose(markdown: str) -> str:
    """The sentences of a page: without code, tables, link targets, headings."""
    text = re.sub(r"```.*?```", "", markdown, flags=re.DOTALL)
    text = re.sub(r"^(\||#|    |!\[|:::).*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"`[^`]*`", "CODE", text)
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)


def sentences(text: str) -> list[str]:
    """Parts of a text that end with a full stop, colon, semicolon, question mark, or with a paragraph or list item."""
    parts = re.split(r"(?<=[.:;?!])\s+|\n\s*\n|\n\s*(?=[-*>] |\d+\. )", text)
    return [" ".join(part.split()) for part in parts if part.strip()]


def help_text(name: str) -> str:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), pytest.raises(SystemExit):
        cli.parse([name, "--help"])
    return re.sub(r"[│╭╮╰╯─]|\x1b\[[0-9;]*m", " ", shown.getvalue())


def assert_plain(text: str) -> None:
    assert REPLACED.findall(text) == []
    assert [sentence for sentence in sentences(text) if len(sentence.split()) > LONGEST] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_are_in_plain_english(path: Path) -> None:
    assert_plain(prose(path.read_text(encoding="utf-8")))


def test_help_and_report_are_in_plain_english() -> None:
    for name in cli.COMMANDS:
        assert REPLACED.findall(help_text(name)) == []
    template = ROOT / "src" / "seefar" / "report" / "assets" / "report.html.j2"
    assert_plain(re.sub(r"\{[{%#].*?[}%#]\}|<[^>]*>", " ", template.read_text(encoding="utf-8")))


def test_names_of_values_say_what_they_are() -> None:
    names = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.arg):
                names.add(node.arg)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
    assert names & EMPTY_NAMES == set()
