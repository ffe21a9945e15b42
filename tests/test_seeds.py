from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np

from seefar.data.images import Data
from seefar.data.shapes import load_shapes
from seefar.seeds import Stream

ROOT = Path(__file__).parents[1]
MODULES = [*(ROOT / "src" / "seefar").rglob("*.py"), *(ROOT / "benchmarks" / "lab").rglob("*.py")]


def test_each_stream_draws_for_one_purpose() -> None:
    """(Stream.X, 0) and Stream.X alone draw the same numbers, so a stream in two places is one too many."""
    alone, with_zero = (np.random.default_rng(seed).integers(2**31) for seed in (9, (9, 0)))
    assert alone == with_zero
    texts = {path.name: path.read_text(encoding="utf-8") for path in MODULES if path.name != "seeds.py"}
    used = Counter(name for text in texts.values() for name in re.findall(r"\bStream\.([A-Z_]+)", text))
    assert used == Counter(stream.name for stream in Stream)
    assert len({stream.value for stream in Stream}) == len(Stream)


def test_every_seed_has_a_stream_but_that_of_shapes() -> None:
    without = [
        f"{path.name}: {call}"
        for path in MODULES
        for line in path.read_text(encoding="utf-8").splitlines()
        for call in re.findall(r"\bdefault_rng\((?!\(?Stream\.)[^)]*\)", line)
        if ">>>" not in line
    ]
    probes = ["adapt.py: default_rng(0)", "explain.py: default_rng(0)"]  # noise that shows the shapes of activations
    transforms = ["batches.py: default_rng(0)", "batches.py: default_rng(seed)"]  # a user's, seeded from a stream
    assert sorted(without) == sorted([*probes, *transforms, "shapes.py: default_rng((seed, part)"])


def test_the_images_of_shapes_are_those_they_always_were() -> None:
    data: Data = load_shapes(train=20, test=10)
    assert data.fingerprint == "d4b01cff6566d128cf26968c75e78d187f9a42184916fa7570da5b08cdee6018"
