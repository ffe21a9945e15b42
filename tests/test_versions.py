"""The lowest versions that CI tests are those that pyproject.toml admits, and the pinned ones are all there are."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


def test_everything_that_is_installed_for_the_tests_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {canonicalize_name(line.split("==")[0]) for line in lines}
    if f"tyro=={version('tyro')}" not in lines:
        pytest.skip("other versions than the pinned ones are installed, and need other packages")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lists = re.findall(r"^(?:dependencies|dev) = \[\n(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    todo = [Requirement(text) for some in lists for text in re.findall(r'^    "(.*?)"', some, re.MULTILINE)]
    todo = [one for one in todo if one.marker is None or one.marker.evaluate()]
    needed: set[tuple[str, str]] = set()  # names and extras
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        new = {(name, extra) for extra in ("", *wanted.extras)} - needed
        needed |= new
        try:
            of_it = [Requirement(text) for text in (requires(name) if new else None) or ()]
        except PackageNotFoundError:
            pytest.skip(f"not all development packages are installed: {name} is missing")
        todo += [one for one in of_it if one.marker is None or any(one.marker.evaluate({"extra": e}) for _, e in new)]
    names = {name for name, _ in needed}
    assert {"torch", "onnx", "protobuf"} <= names
    assert not names - pinned
