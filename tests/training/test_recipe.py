from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seefar.cli.main import parse
from seefar.errors import RecipeError
from seefar.training.recipe import RECIPES, Recipe, few_steps_warning, read_recipe, recipe


def test_the_recipe_seed_has_the_settings_of_the_assignment() -> None:
    seed = RECIPES["seed"]
    assert (seed.epochs, seed.batch_size, seed.momentum, seed.learning_rate) == (20, 4, 0.9, 0.001)
    assert (seed.schedule, seed.nesterov, seed.weight_decay, seed.label_smoothing) == ("constant", False, 0, 0)
    assert (seed.crop_padding, seed.cutout, seed.cutout_probability, seed.cutout_fill) == (0, 16, 0.5, 127)
    assert (seed.flip, seed.standardize, seed.log_every, seed.width) == ("none", False, 2000, 64)


def test_changing_one_field_keeps_the_others() -> None:
    changed = recipe("quick", epochs=7)
    assert changed.epochs == 7
    assert changed.scales == RECIPES["quick"].scales
    assert changed.differences(RECIPES["quick"]) == f"epochs 7, not {RECIPES['quick'].epochs}"
    assert all(Recipe.from_json(one.to_json()) == one for one in RECIPES.values())


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_invalid_recipes_are_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        Recipe.from_json(text)


OUT_OF_RANGE: dict[str, list[Any]] = {
    "epochs": [0, "5", 1.5, True],
    "batch_size": [1, np.array([4])],
    "learning_rate": [0.0, float("nan"), float("inf"), "0.1", True, 10**400],
    "scales": [(), (0.1,), (1.0, 2.0), 1.0, "1", ("1",)],
    "cutout": [33, -1],
    "image_size": [600],
    "nesterov": [1],
    "schedule": ["cosine"],
    "flip": [True],
    "name": [3],
}


@pytest.mark.parametrize(("field", "values"), OUT_OF_RANGE.items(), ids=OUT_OF_RANGE)
def test_unusable_values_are_refused(field: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(RecipeError, match=rf"Recipe \S+: {field} must be "):
            Recipe(**{field: value})


def test_numpys_numbers_become_plain_ones() -> None:
    found = recipe("fast", epochs=np.int64(3), learning_rate=np.float32(0.5), scales=np.array([0.5, 1]), warm_up=0)
    assert (found.epochs, found.learning_rate, found.scales, found.warm_up) == (3, 0.5, (0.5, 1.0), 0.0)
    assert [type(part) for part in (found.epochs, found.learning_rate, found.warm_up)] == [int, float, float]


def test_few_steps_get_a_proposal_that_has_enough() -> None:
    """102 pictures: 8 steps ended at chance, 280 steps at 97%."""
    assert "--epochs 200" in (few_steps_warning(102, 128, 8) or "")
    for images, batch_size, epochs in ((102, 16, 40), (50_000, 128, 5), (4000, 64, 10)):
        assert few_steps_warning(images, batch_size, epochs) is None


def test_a_recipe_of_a_file(in_folder: Path) -> None:
    Path("mine.toml").write_text('base = "quick"\nepochs = 7\nscales = [0.5, 1.0]\n')
    Path("other.json").write_text('{"name": "named", "seed": 3}')
    assert read_recipe("mine.toml") == replace(recipe("quick", epochs=7, scales=(0.5, 1.0)), name="mine")
    command = parse(["run", "other.json", "--epochs", "2"])
    assert command.recipe == replace(recipe("fast", seed=3, epochs=2), name="named")


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("a.toml", "epochs = ", "a.toml"),
        ("a.json", "[1]", "a list"),
        ("a.toml", f"x = {'[' * 5000}", "a.toml"),
        ("a.toml", "epoch = 3", "epoch"),
        ("a.toml", "epochs = 0", "epochs"),
        ("a.toml", 'base = "slow"', "slow"),
        ("a.toml", 'name = "/tmp/elsewhere"', "/tmp/elsewhere"),
        ("two`s.toml", "epochs = 3", "two`s"),
        ("no.toml", None, "no.toml"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(in_folder: Path, name: str, text: str | None, named: str) -> None:
    if text is not None:
        Path(name).write_text(text)
    with pytest.raises(RecipeError, match=named):
        read_recipe(name)
