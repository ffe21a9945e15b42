"""The lowest versions that CI tests are those that pyproject.toml admits."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PINNED_ELSEWHERE = {"torch"}
"""Tested at one version only, for want of small builds of older ones."""


def test_ci_tests_the_lower_bounds() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lowest_file = ROOT / ".ci" / "lowest.txt"
    listed = project.split("dependencies = [", 1)[1].split("]", 1)[0]
    bounds = dict(re.findall(r'"([a-z0-9-]+)[>=]=([0-9.]+)"', listed))
    tested = dict(re.findall(r"^([a-z0-9-]+)==([0-9.]+)$", lowest_file.read_text(encoding="utf-8"), re.MULTILINE))
    assert len(bounds) > 5
    for name in set(bounds) - PINNED_ELSEWHERE:
        assert f"{tested[name]}.0".startswith(f"{bounds[name]}."), name
