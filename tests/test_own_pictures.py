"""The tutorial docs/your-own-pictures.md, block by block, from an empty folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "your-own-pictures.md"


@pytest.mark.slow
def test_the_tutorial_runs(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEEFAR_CACHE", str(in_folder / "cache"))
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert "their centre is used" in capsys.readouterr().out
    assert names["data"].image_size == names["run"].image_size == (72, 96)
    assert (len(names["data"].train), len(names["data"].test)) == (48, 12)
    assert names["leaks"].duplicates == ()
    assert (in_folder / "runs" / "spots" / "report.html").exists()
    assert (in_folder / "picture.png").exists()
    assert names["found"].contrast.shape == (9, 12)
