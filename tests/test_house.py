"""The layout of the source: imports point downwards, chains are short, and each random stream has one purpose."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from pathlib import Path

import numpy as np

import seefar
from house import files_read, imports, longest_chain, modules, public_names
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


def rank(module: str) -> int:
    return ORDER.index(module.split(".")[0])


def test_imports_point_downwards() -> None:
    pairs = [(name, other) for name, others in imports().items() for other in others]
    assert [f"{name} imports {other}" for name, other in pairs if rank(other) > rank(name)] == []


def test_size_and_import_chain_stay_within_their_limits() -> None:
    chain = longest_chain()
    assert len(chain) <= LONGEST_CHAIN, f"{len(chain)} modules: {', '.join(chain)}"
    assert len(files_read()) < 10  # from a command to its table
    assert public_names() <= MOST_NAMES


def test_pyplot_is_not_used_and_what_only_a_training_on_the_cpu_needs_is_imported_there() -> None:
    for path in modules().values():
        text = path.read_text(encoding="utf-8")
        assert "matplotlib.pyplot" not in text, path
        assert not re.search(r"^(import|from) (albumentations|cv2)", text, re.MULTILINE), path


def test_every_public_name_exists_and_every_function_has_an_example_that_doctest_runs() -> None:
    public = {name: getattr(seefar, name) for name in seefar.__all__}
    assert [name for name, thing in public.items() if not thing.__doc__] == []
    functions = {name: thing for name, thing in public.items() if inspect.isfunction(thing)}
    assert len(functions) > 30
    assert [name for name, thing in functions.items() if ">>>" not in thing.__doc__] == []


ROOT = Path(__file__).parents[1]
SOURCES = [*(ROOT / "src" / "seefar").rglob("*.py"), *(ROOT / "benchmarks" / "lab").rglob("*.py")]


def test_each_stream_draws_for_one_purpose() -> None:
    """(Stream.X, 0) and Stream.X alone draw the same numbers, so a stream in two places is one too many."""
    alone, with_zero = (np.random.default_rng(seed).integers(2**31) for seed in (9, (9, 0)))
    assert alone == with_zero
    texts = {path.name: path.read_text(encoding="utf-8") for path in SOURCES if path.name != "seeds.py"}
    used = Counter(name for text in texts.values() for name in re.findall(r"\bStream\.([A-Z_]+)", text))
    assert used == Counter(stream.name for stream in Stream)


def test_shapes_has_its_recorded_checksum() -> None:
    data: Data = load_shapes(train=20, test=10)
    assert data.train.fingerprint == "d4b01cff6566d128cf26968c75e78d187f9a42184916fa7570da5b08cdee6018"


def test_ci_tests_the_lower_bounds_of_the_dependencies() -> None:
    """But for torch, of which older versions have no small builds."""
    listed = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("dependencies = [", 1)[1].split("]", 1)[0]
    bounds = dict(re.findall(r'"([a-z0-9-]+)[>=]=([0-9.]+)"', listed))
    lowest = (ROOT / ".ci" / "lowest.txt").read_text(encoding="utf-8")
    tested = dict(re.findall(r"^([a-z0-9-]+)==([0-9.]+)$", lowest, re.MULTILINE))
    assert len(bounds) > 5
    for name in set(bounds) - {"torch"}:
        assert f"{tested[name]}.0".startswith(f"{bounds[name]}."), name
