"""The public names: one table, what type checkers read, and what is there agree."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from pathlib import Path

import pytest

import seefar


def test_what_type_checkers_read_is_the_table() -> None:
    tree = ast.parse(Path(seefar.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and "seefar" in (node.module or "")]
    read = {name.name: (node.module or "").removeprefix("seefar.") for node in imports for name in node.names}
    assert read == seefar._HOMES
    assert seefar.__all__ == ["__version__", *seefar._HOMES]
    assert dir(seefar) == sorted(seefar.__all__)


@pytest.mark.parametrize("name", sorted(seefar._HOMES))
def test_every_public_name_is_there_and_documented(name: str) -> None:
    thing = getattr(seefar, name)
    assert thing is getattr(import_module(f"seefar.{seefar._HOMES[name]}"), name)
    assert getattr(thing, "__doc__", None)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = seefar.trian


def test_every_public_function_has_an_example_that_doctest_runs() -> None:
    functions = [name for name in seefar.__all__ if inspect.isfunction(getattr(seefar, name))]
    assert len(functions) > 30
    assert [name for name in functions if ">>>" not in (getattr(seefar, name).__doc__ or "")] == []
