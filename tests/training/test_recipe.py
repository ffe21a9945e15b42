from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seefar.data.shapes import load_shapes
from seefar.errors import RecipeError
from seefar.training.loop import train
from seefar.training.recipe import RECIPES, Recipe, few_steps_warning, recipe


def test_the_asked_for_recipe_is_exactly_what_was_asked_for() -> None:
    seed = RECIPES["seed"]
    assert (seed.epochs, seed.batch_size, seed.momentum, seed.learning_rate) == (20, 4, 0.9, 0.001)
    assert (seed.schedule, seed.nesterov, seed.weight_decay, seed.label_smoothing) == ("constant", False, 0, 0)
    assert (seed.crop_padding, seed.cutout, seed.cutout_probability, seed.cutout_fill) == (0, 16, 0.5, 127)
    assert (seed.flip, seed.standardize, seed.log_every, seed.width) == ("none", False, 2000, 64)


def test_the_default_is_fast_with_twenty_epochs_at_full_size() -> None:
    assert recipe() == RECIPES["fast"] == Recipe()
    fast = recipe()
    assert (fast.epochs, fast.width, fast.scales, fast.crop_padding, fast.momentum) == (20, 64, (1.0,), 4, 0.9)
    assert all(name == one.name for name, one in RECIPES.items())


def test_changing_one_field_keeps_the_others() -> None:
    changed = recipe("quick", epochs=7)
    assert changed.epochs == 7
    assert changed.scales == RECIPES["quick"].scales
    assert changed.differences(RECIPES["quick"]) == f"epochs 7, not {RECIPES['quick'].epochs}"


@pytest.mark.parametrize("name", list(RECIPES))
def test_json_gives_the_same_recipe_back(name: str) -> None:
    assert Recipe.from_json(RECIPES[name].to_json()) == RECIPES[name]


def test_unknown_names_list_what_there_is() -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'quik'.*fast, quick, seed, demo"):
        recipe("quik")
    with pytest.raises(RecipeError, match=r"no field 'epoch'.*epochs"):
        recipe("quick", epoch=3)


WRONG = [("20", "true"), ("20", '"20"'), ("[\n    1.0\n  ]", "1.0"), ("momentum", "impulse"), ("{", "")]


@pytest.mark.parametrize("text", ["", "[]", "{}", *(RECIPES["seed"].to_json().replace(*change, 1) for change in WRONG)])
def test_other_texts_are_no_recipe(text: str) -> None:
    with pytest.raises(RecipeError):
        Recipe.from_json(text)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch_size", 1),
        ("width", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("momentum", 1.0),
        ("weight_decay", -1.0),
        ("label_smoothing", 1.0),
        ("warm_up", 1.0),
        ("scales", ()),
        ("scales", (0.1,)),
        ("scales", (1.0, 2.0)),
        ("cutout", 33),
        ("cutout_fill", 256),
        ("cutout_probability", 1.1),
        ("image_size", 600),
        ("seed", -1),
        ("held_out", -1),
        ("log_every", 0),
        ("epochs", "5"),
        ("epochs", 1.5),
        ("epochs", True),
        ("learning_rate", "0.1"),
        ("learning_rate", True),
        ("nesterov", 1),
        ("scales", 1.0),
        ("scales", "1"),
        ("scales", ("1",)),
        ("schedule", "cosine"),
        ("flip", True),
        ("name", 3),
        ("batch_size", np.array([4])),
        ("learning_rate", 10**400),
    ],
)
def test_values_that_no_training_can_use_are_refused(field: str, value: Any) -> None:
    with pytest.raises(RecipeError, match=rf"Recipe \S+: {field} must be "):
        Recipe(**{field: value})


def test_numpys_numbers_become_plain_ones() -> None:
    found = recipe("fast", epochs=np.int64(3), learning_rate=np.float32(0.5), nesterov=np.bool_(True), warm_up=0)
    assert (found.epochs, found.learning_rate, found.nesterov, found.warm_up) == (3, 0.5, True, 0.0)
    assert [type(part) for part in (found.epochs, found.learning_rate, found.nesterov, found.warm_up)] == [
        int,
        float,
        bool,
        float,
    ]
    assert recipe("fast", scales=np.array([0.5, 1])).scales == recipe("fast", scales=[0.5, 1]).scales == (0.5, 1.0)
    assert Recipe.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        *((spelling, "pics") for spelling in ("pics", "pics/", "./pics", "./pics//")),
        *((spelling, "../pics") for spelling in ("../pics", ".././pics/")),
        *((name, name) for name in ("cifar10", "shapes", "", "/pics", ".")),
        *((spelling, "./shapes") for spelling in ("./shapes", "shapes/", ".//shapes/")),  # a folder, not the built-in
    ],
)
def test_a_folder_is_the_same_data_however_it_is_spelled(given: str, meant: str) -> None:
    found = recipe("demo", data=given)
    assert found.data == meant
    assert Recipe.from_json(found.to_json().replace(f'"data": "{meant}"', f'"data": "{given}"')) == found


def test_a_small_folder_gets_a_proposal_that_was_seen_to_work() -> None:
    """102 pictures: 8 steps ended at chance, `--epochs 40 --batch-size 16` (280 steps) at 97 %."""
    assert "--epochs 40 --batch-size 16" in (few_steps_warning(102, 128, 8) or "")


@pytest.mark.parametrize(("images", "batch_size", "epochs"), [(102, 16, 40), (50_000, 128, 5), (4000, 64, 10)])
def test_enough_steps_need_none(images: int, batch_size: int, epochs: int) -> None:
    assert few_steps_warning(images, batch_size, epochs) is None


@pytest.mark.parametrize("images", [2, 16, 17, 500, 3000])
def test_the_proposal_is_enough(images: int) -> None:
    text = few_steps_warning(images, 128, 1)
    assert text is not None
    epochs = int(text.split("--epochs ")[1].split()[0])
    assert few_steps_warning(images, 16, epochs) is None


def test_training_gives_it_once(in_folder: Path) -> None:
    lines: list[str] = []

    class Watch:
        def line(self, text: str) -> None:
            lines.append(text)

        def update(self, stage: str, done: int, total: int, note: str = "") -> None:
            pass

    tiny = recipe("demo", width=2, epochs=1, batch_size=16)
    train(tiny, load_shapes(train=32, test=10), in_folder / "run", progress=Watch())
    assert [line for line in lines if "too few for a useful accuracy" in line] == [few_steps_warning(32, 16, 1)]
