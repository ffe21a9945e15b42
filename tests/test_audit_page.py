"""The page docs/audit.md: its commands and its Python are executed in order, on pictures made by code."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seefar.cli.main import main
from seefar.data.shapes import load_shapes
from seefar.training.run import Run

PAGE = Path(__file__).parents[1] / "docs" / "audit.md"
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*not measurably more than")
def test_the_page_as_it_stands(in_folder: Path, coarse: None, tiny: Run, monkeypatch: pytest.MonkeyPatch) -> None:
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
    commands = [(kind, text) for kind, text in BLOCKS if "compare" not in text]
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
    (gate,) = (text for _, text in BLOCKS if "compare" in text)
    words = shlex.split(gate.replace("old", "mine", 1).replace(" new ", " in-python "))[1:]
    assert main([*words, "--data", "photos"]) in (0, 1)
