"""What the README prints works as printed, and its figures are those of the results."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import seefar
from seefar.cli import main as cli
from seefar.data import Data
from seefar.data.shapes import load_shapes
from seefar.evaluation.metrics import wilson_interval
from seefar.training.recipe import RECIPES, Recipe

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands(also: tuple[str, ...] = ()) -> list[str]:
    lines = [line.split("  #")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    return [line for line in lines if line.startswith(("seefar ", *also))]


@pytest.mark.parametrize("command", commands())
def test_every_command_is_reachable(command: str) -> None:
    words = shlex.split(command)[1:]
    if words != ["--help"]:
        cli.parse(words)


@pytest.mark.slow
def test_the_commands_work_in_the_order_printed(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one folder, with narrow nets in place of the recipes, and shapes in place of CIFAR-10."""
    shapes = load_shapes(60, 40)
    names = tuple(["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"])
    stand_in = Data("cifar10", replace(shapes.train, classes=names), replace(shapes.test, classes=names))
    monkeypatch.setattr("seefar.data.load_official", lambda *_args, **_options: stand_in)
    monkeypatch.setattr("seefar.data.cached_shapes", lambda: shapes)
    for name, whole in RECIPES.items():
        monkeypatch.setitem(RECIPES, name, replace(whole, width=2, epochs=1, batch_size=16, scales=(1.0,)))
    shutil.copytree(ROOT / "results" / "fast", in_folder / "results" / "fast")
    predicted = stand_in.test.labels.copy()
    predicted[:5] = (predicted[:5] + 1) % 10
    np.savez(in_folder / "results" / "fast" / "predictions.npz", predicted=predicted)
    for command in commands(also=("mkdir",)):
        if command.startswith("mkdir"):
            subprocess.run(command, shell=True, check=True)
        elif command.startswith("seefar app"):  # serves until it is interrupted, see test_app.py
            cli.parse(shlex.split(command)[1:])
        elif command == "seefar explain fast":  # all of its mistakes: thousands, of pictures that it does not know
            assert cli.main(["explain", "fast", "--explain", "shown", "--top", "1", "--quiet"]) == 0
        elif "--help" in command:
            with pytest.raises(SystemExit):
                cli.main(shlex.split(command)[1:])
        else:
            words = [word.replace("5000", "20") for word in shlex.split(command)[1:]]  # to hold out, of 60
            assert cli.main([*words, "--quiet"]) == 0, command
    assert cli.main(["verify", "quick"]) == 0


@pytest.mark.slow
@pytest.mark.usefixtures("coarse")
def test_the_python_example_runs(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On 40 shapes, with a narrow network."""
    monkeypatch.setattr(seefar, "load_data", lambda _name: load_shapes(40, 20), raising=False)
    monkeypatch.setattr(seefar, "recipe", lambda name: replace(RECIPES[name], width=2, epochs=1), raising=False)
    (example,) = blocks("python")
    exec(example, {})
    assert (in_folder / "mistakes.png").exists()
    assert (in_folder / "maps.png").exists()


@pytest.mark.parametrize("name", ["fast", "quick", "seed"])
def test_the_figures_are_those_of_the_results_of_the_current_recipes(name: str) -> None:
    assert Recipe.from_json((ROOT / "results" / name / "recipe.json").read_text(encoding="utf-8")) == RECIPES[name]
    test = json.loads((ROOT / "results" / name / "metrics.json").read_text(encoding="utf-8"))["test"]
    (row,) = [line for line in README.splitlines() if line.startswith(f"| `{name}`")]
    low, high = wilson_interval(test["n"] - test["mistakes"], test["n"])
    assert f"{test['accuracy']:.2%} ({100 * low:.2f}-{100 * high:.2f}) | {test['mistakes']:,} |" in row


def test_the_readme_is_short() -> None:
    assert len(README.split()) <= 900


def test_every_file_names_the_repository_as_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import owner

    assert ROOT / "README.md" in owner.files()
    for path in owner.files():
        text = path.read_text(encoding="utf-8")
        assert owner.fill(text, owner.repository()) == text, path
