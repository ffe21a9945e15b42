"""The fingerprint of what a page shows: the same for the same, another for anything else."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from report_content import make_content

from seefar.report.content import ReportContent


def changed(value: Any) -> Any:
    """The same with one small thing in it changed."""
    if isinstance(value, np.ndarray):
        other = value.copy()
        other.flat[-1] += 1
        return other
    if isinstance(value, str):
        return f"{value}x"
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, (list, tuple)):
        return [*value[:-1], changed(value[-1])]
    names = [
        field.name for field in fields(value) if isinstance(getattr(value, field.name), (str, int, float, np.ndarray))
    ]
    return replace(value, **{names[-1]: changed(getattr(value, names[-1]))})


@pytest.mark.parametrize("name", [field.name for field in fields(ReportContent) if field.name != "provenance"])
def test_whatever_is_shown_has_its_part_in_the_fingerprint(name: str) -> None:
    content = make_content(6, files=[f"{number}.png" for number in range(6)])
    content = replace(content, calibration_after=content.calibration)
    value = getattr(content, name)
    assert value is not None
    assert replace(content, **{name: changed(value)}).fingerprint != content.fingerprint


def test_the_fingerprint_is_that_of_the_same_content_made_again_by_any_command() -> None:
    one, other = make_content(6), make_content(6)
    assert one.fingerprint == replace(other, provenance={"command": ["another"]}).fingerprint
    assert one.explanation is not None
    repairs = [replace(repair, share=np.float64(repair.share)) for repair in one.explanation.repairs]  # as computed
    assert replace(one, explanation=replace(one.explanation, repairs=repairs)).fingerprint == one.fingerprint
