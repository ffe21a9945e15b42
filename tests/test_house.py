"""The layout of the source: imports point downwards, in chains that a reader can follow; figures need no pyplot."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import seefar
from house import files_read, longest_chain, modules, public_names

ORDER = (
    "errors",
    "choices",
    "seeds",
    "progress",
    "runs",
    "data",
    "model",
    "maps",
    "training",
    "evaluation",
    "explanation",
    "report",
    "artifacts",
    "pipeline",
    "app",
    "cli",
    "__main__",
)
"""Each may import those before it. `__init__` names public functions and imports them when they are first used."""
LONGEST_CHAIN, MOST_NAMES = 14, 50
"""As many as can be kept in mind; `benchmarks/house.py` prints what there is."""
MODULES = modules()


def imported(path: Path) -> Iterator[str]:
    """First parts of what it imports from seefar, also within functions and for type checkers."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "seefar":
            names = [alias.name for alias in node.names] if node.module == "seefar" else [node.module.split(".")[1]]
            yield from (name for name in names if name in ORDER)


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_downwards(name: str) -> None:
    place = ORDER.index(name.split(".")[0])
    assert [other for other in imported(MODULES[name]) if ORDER.index(other) > place] == []


def test_the_house_does_not_grow() -> None:
    chain = longest_chain()
    assert len(chain) <= LONGEST_CHAIN, f"{len(chain)} modules: {', '.join(chain)}"
    assert len(files_read()) < 10  # from a command to its table
    assert public_names() <= MOST_NAMES


def test_pyplot_is_not_used_and_what_only_a_training_on_the_cpu_needs_is_imported_there() -> None:
    texts = [path.read_text(encoding="utf-8") for path in MODULES.values()]
    assert not any("matplotlib.pyplot" in text for text in texts)
    tops = [node for text in texts for node in ast.parse(text).body]
    names = {alias.name for node in tops if isinstance(node, ast.Import) for alias in node.names}
    assert "torch" in names
    assert not names & {"albumentations", "cv2"}


@pytest.mark.parametrize("name", sorted(seefar._HOMES))
def test_every_public_name_is_there_and_documented(name: str) -> None:
    thing = getattr(seefar, name)
    assert thing is getattr(import_module(seefar._HOMES[name]), name)
    assert getattr(thing, "__doc__", None)


def test_every_public_function_has_an_example_that_doctest_runs() -> None:
    functions = [name for name in seefar.__all__ if inspect.isfunction(getattr(seefar, name))]
    assert len(functions) > 30
    assert [name for name in functions if ">>>" not in (getattr(seefar, name).__doc__ or "")] == []
