"""The layout of the source: imports follow the way of the data, figures need no pyplot."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "seefar"
# Each may import those before it. `__init__` names public functions and imports them when they are asked for.
STEPS = ("data", "model", "maps", "training", "evaluation", "explanation", "report")
ORDER = (
    "errors",
    "names",
    "choices",
    "seeds",
    "processes",
    "output",
    "progress",
    "runs",
    *STEPS,
    "compared_runs",
    "inputs",
    "saved",
    "findings",
    "result",
    "steps",
    "pipeline",
    "studio",
    "app",
    "cli",
    "__main__",
)
MODULES = [path for path in sorted(SOURCE.rglob("*.py")) if path != SOURCE / "__init__.py"]


def place(path: Path) -> int:
    return ORDER.index(path.relative_to(SOURCE).parts[0].removesuffix(".py"))


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("seefar."):
            yield node.module.split(".")[1]
        if isinstance(node, ast.ImportFrom) and node.module == "seefar":
            yield from (name.name for name in node.names if name.name in ORDER)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_point_down_the_way_of_the_data(path: Path) -> None:
    for name in imported(ast.parse(path.read_text(encoding="utf-8"))):
        assert ORDER.index(name) <= place(path), f"{path.name} imports seefar.{name}"


def test_pyplot_and_its_global_state_are_not_used() -> None:
    assert not [path.name for path in MODULES if "matplotlib.pyplot" in path.read_text(encoding="utf-8")]
