"""The layout of the source: imports point downwards, chains are short, and each random stream has one purpose."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import seefar
from house import files_read, longest_chain, modules, public_names
from seefar.data.images import Data
from seefar.data.shapes import load_shapes
from seefar.seeds import Stream

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


def test_size_and_import_chain_stay_within_their_limits() -> None:
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
def test_every_public_name_exists_and_is_documented(name: str) -> None:
    thing = getattr(seefar, name)
    assert thing is getattr(import_module(seefar._HOMES[name]), name)
    assert getattr(thing, "__doc__", None)


def test_every_public_function_has_an_example_that_doctest_runs() -> None:
    functions = [name for name in seefar.__all__ if inspect.isfunction(getattr(seefar, name))]
    assert len(functions) > 30
    assert [name for name in functions if ">>>" not in (getattr(seefar, name).__doc__ or "")] == []


ROOT = Path(__file__).parents[1]
SOURCES = [*(ROOT / "src" / "seefar").rglob("*.py"), *(ROOT / "benchmarks" / "lab").rglob("*.py")]


def test_each_stream_draws_for_one_purpose() -> None:
    """(Stream.X, 0) and Stream.X alone draw the same numbers, so a stream in two places is one too many."""
    alone, with_zero = (np.random.default_rng(seed).integers(2**31) for seed in (9, (9, 0)))
    assert alone == with_zero
    texts = {path.name: path.read_text(encoding="utf-8") for path in SOURCES if path.name != "seeds.py"}
    used = Counter(name for text in texts.values() for name in re.findall(r"\bStream\.([A-Z_]+)", text))
    assert used == Counter(stream.name for stream in Stream)
    assert len({stream.value for stream in Stream}) == len(Stream)


def test_every_seed_has_a_stream_except_shapes() -> None:
    without = [
        f"{path.name}: {call}"
        for path in SOURCES
        for line in path.read_text(encoding="utf-8").splitlines()
        for call in re.findall(r"\bdefault_rng\((?!\(?Stream\.)[^)]*\)", line)
        if ">>>" not in line
    ]
    probes = ["adapt.py: default_rng(0)", "explain.py: default_rng(0)"]  # noise that shows the shapes of activations
    transforms = ["batches.py: default_rng(0)", "batches.py: default_rng(seed)"]  # a user's, seeded from a stream
    assert sorted(without) == sorted([*probes, *transforms, "shapes.py: default_rng((seed, part)"])


def test_shapes_has_its_recorded_checksum() -> None:
    data: Data = load_shapes(train=20, test=10)
    assert data.train.fingerprint == "d4b01cff6566d128cf26968c75e78d187f9a42184916fa7570da5b08cdee6018"
