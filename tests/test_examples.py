"""Every script in examples/ runs from an empty folder, on the built-in data, and so do two pages of the docs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seefar.cli.main import main
from seefar.data.shapes import load_shapes
from seefar.training.run import Run

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
DOCS = Path(__file__).parents[1] / "docs"


def test_there_are_six_short_examples() -> None:
    assert len(EXAMPLES) == 6
    assert all(15 <= len(path.read_text(encoding="utf-8").splitlines()) <= 45 for path in EXAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(script: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.slow
def test_the_tutorial_on_own_pictures_runs(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = DOCS / "your-own-pictures.md"
    monkeypatch.setenv("SEEFAR_CACHE", str(in_folder / "cache"))
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)
    assert "their centre is used" in capsys.readouterr().out
    assert names["data"].image_size == names["run"].image_size == (72, 96)
    assert (len(names["data"].train), len(names["data"].test)) == (48, 12)
    assert names["leaks"].duplicates == ()
    assert (in_folder / "runs" / "spots" / "report.html").exists()
    assert (in_folder / "picture.png").exists()
    assert names["found"].contrast.shape == (9, 12)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*not measurably more than")
def test_the_page_on_audits_runs(in_folder: Path, coarse: None, tiny: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (DOCS / "audit.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(bash|python)\n(.*?)```", text, re.DOTALL)
    test = load_shapes(train=20, test=40).test
    rng = np.random.default_rng(0)
    lines = ["file,predicted"]
    for number, label in enumerate(test.labels.tolist()):
        name = f"IMG_{number:04d}.jpg"
        for folder in ("photos", "field"):
            path = in_folder / folder / test.classes[label] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(test.images[number]).resize((72, 60)).save(path)
        lines.append(f"{name},{test.classes[label if rng.random() < 0.8 else rng.integers(10)]}")
    Path("mine.csv").write_text("\n".join(lines) + "\n")
    Path("runs").mkdir()
    tiny.folder.path.rename("runs/fast")
    monkeypatch.setattr(sys, "path", [*sys.path])
    commands = [(kind, text) for kind, text in blocks if "compare" not in text]
    assert [kind for kind, _ in commands] == ["bash", "python", "bash", "bash", "python"]
    for kind, text in commands:
        if text.startswith("# my_model.py"):
            Path("my_model.py").write_text(text)
        elif kind == "python":
            exec(text, {})
        else:
            assert main(shlex.split(text)[1:]) == 0
    for name in ("mine", "with-maps", "field", "in-python"):
        assert main(["verify", name]) == 0
    (gate,) = (text for _, text in blocks if "compare" in text)
    words = shlex.split(gate.replace("old", "mine", 1).replace(" new ", " in-python "))[1:]
    assert main([*words, "--data", "photos"]) in (0, 1)
