"""A few hundred mutated files and command lines; `benchmarks/fuzz.py` does tens of thousands."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mutated_files_and_flags_are_read_right_or_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "SEEFAR_DATA", str(tmp_path / "no data"))
    try:
        import fuzz

        found = fuzz.run_all(tmp_path, count=10, seed=1)
    finally:
        for name in ("fuzz", "mutations"):
            sys.modules.pop(name, None)
    assert found["inputs"] >= 300
    assert found["escapes"] == []
