"""Fill the repository's address from pyproject.toml into every file that names it: `python docs/owner.py`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
ADDRESS = re.compile(r"github\.com/([\w.-]+/seefar)(?![\w-])|github/([\w.-]+/seefar)(?![\w-])")
"""`github.com/OWNER/seefar` in links, `github/OWNER/seefar` in links to Colab."""
FILES = ("README.md", "CITATION.cff", "notebooks/seefar_colab.ipynb", "mkdocs.yml", "docs/*.md")


def repository() -> str:
    """`OWNER/seefar`, the one place where it is set."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Repository"]).removeprefix("https://github.com/")


def files() -> list[Path]:
    """The files that name the repository."""
    return sorted(path for pattern in FILES for path in ROOT.glob(pattern))


def fill(text: str, name: str) -> str:
    """A text with the name of the repository in every address.

    Example:
        >>> fill("https://github.com/OWNER/seefar/issues and github/OWNER/seefar/blob", "me/seefar")
        'https://github.com/me/seefar/issues and github/me/seefar/blob'
    """
    return ADDRESS.sub(lambda found: found[0].replace(found[1] or found[2], name), text)


if __name__ == "__main__":
    for path in files():
        old = path.read_text(encoding="utf-8")
        if (new := fill(old, repository())) != old:
            path.write_text(new, encoding="utf-8")
            print(path.relative_to(ROOT))
