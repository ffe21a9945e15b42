from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from seefar.training.begin import begin_run, choose_folder, taken_instead

from seefar.data import Data, Split
from seefar.data.images import differing_names
from seefar.data.shapes import load_shapes
from seefar.errors import DataError, RunError
from seefar.progress import SILENT
from seefar.runs.folder import RunFolder, find_run, verify
from seefar.runs.tensors import load_tensors, save_tensors
from seefar.training.history import read_history
from seefar.training.loop import train
from seefar.training.recipe import recipe
from seefar.training.run import Run, load_run, save_weights


def test_a_run_is_read_back_as_it_was(run: Run, trained: Run) -> None:
    assert (run.recipe, run.classes, run.history) == (trained.recipe, trained.classes, trained.history)
    pairs = zip(run.model.state_dict().values(), trained.model.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_recipe_that_was_changed_afterwards_is_told(run: Run) -> None:
    path = run.folder.recipe
    path.write_text(path.read_text().replace('"epochs": 4', '"epochs": 40'))
    with pytest.raises(RunError, match=r"do not belong together \(the recipe says epochs 40, not 4\)"):
        load_run(run.folder)


@pytest.mark.parametrize("damage", ["truncated", "empty", "another file", "another network"])
def test_damaged_weights_are_named(run: Run, damage: str) -> None:
    path = run.folder.weights
    tensors, metadata = load_tensors(path)
    if damage == "another network":
        save_tensors(path, {**tensors, "fc.weight": torch.zeros(7, 7)}, metadata)
    elif damage == "another file":
        save_tensors(path, tensors, {})
    else:
        path.write_bytes(path.read_bytes()[: 1000 if damage == "truncated" else 0])
    with pytest.raises(RunError, match=r"weights\.safetensors"):
        load_run(run.folder)


def test_a_damaged_history_is_reported_and_the_network_still_loads(run: Run) -> None:
    path = run.folder.history
    header = path.read_text().splitlines(keepends=True)[0]
    for content in (header, "", header[:10], "a,b\n1,2\n", header + "x,1,1,1,1,1,1,,\n", header + "1,1,1,1,1,,1,,\n"):
        path.write_text(content)
        with pytest.warns(UserWarning, match=r"history\.csv"):
            loaded = load_run(run.folder)
        assert loaded.history == []
        assert loaded.classes == run.classes


def test_a_last_line_that_a_kill_cut_off_is_passed_over(run: Run) -> None:
    path = run.folder.history
    path.write_text(path.read_text()[:-20])
    assert read_history(path) == run.history[:-1]


def test_a_missing_run_names_its_neighbours(run: Run) -> None:
    with pytest.raises(RunError, match=r"holds no run \(its neighbours are run\)"):
        load_run(run.folder.path.parent / "rum")


def test_a_training_from_python_is_sealed(trained: Run) -> None:
    assert verify(trained.folder) == []


def test_a_training_from_python_says_what_it_computed_on(trained: Run) -> None:
    manifest = json.loads((trained.folder.path / "manifest.json").read_text(encoding="utf-8"))
    (sitting,) = manifest["training"]
    assert sitting["device"].startswith("cpu (")
    assert sitting["precision"] in ("float32", "bfloat16")


def test_without_a_name_the_folder_is_that_of_the_same_recipe_and_images_or_the_next_free_one(in_folder: Path) -> None:
    few, other = load_shapes(40, 20), load_shapes(50, 20)
    tiny = recipe("demo", width=2, epochs=1, batch_size=16, log_every=1)
    longer = replace(tiny, epochs=2)
    assert train(tiny, few, progress=SILENT).folder.path == Path("runs/demo")
    assert train(longer, few, progress=SILENT).folder.path == Path("runs/demo-2")
    assert train(longer, other, progress=SILENT).folder.path == Path("runs/demo-3")
    weights = Path("runs/demo/weights.safetensors")
    made = weights.stat().st_mtime_ns
    assert train(tiny, few, progress=SILENT).folder.path == Path("runs/demo")
    assert weights.stat().st_mtime_ns == made
    assert choose_folder(longer, few) == RunFolder(Path("runs/demo-2"))
    with pytest.raises(RunError, match=r"epochs 2, not 1\): a finished training cannot go on for more epochs"):
        train(longer, few, "demo", progress=SILENT)


def test_a_class_that_was_renamed_makes_other_data(in_folder: Path) -> None:
    """Its pictures and labels, of which the fingerprint is, are the same."""
    tiny, few = recipe("demo", width=2, epochs=1, batch_size=16), load_shapes(40, 20)
    names = ("disc", *few.classes[1:])
    renamed = replace(few, **{part: replace(getattr(few, part), classes=names) for part in ("train", "test")})
    assert renamed.fingerprint == few.fingerprint
    train(tiny, few, progress=SILENT)
    with pytest.raises(RunError, match=r"other classes than shapes has now \(disc, not circle\): choose another name"):
        train(tiny, renamed, "demo", progress=SILENT)
    assert train(tiny, renamed, progress=SILENT).folder.path == Path("runs/demo-2")
    assert load_run("demo-2").classes == names


def test_weights_of_another_run_and_missing_ones_are_told_apart(run: Run, tmp_path: Path) -> None:
    save_weights(run.folder, run.model, replace(run.recipe, seed=1), load_shapes(40, 20))
    with pytest.raises(
        RunError,
        match=r"weights\.safetensors and .*recipe\.json do not belong together \(the recipe says seed 0, not 1\)",
    ):
        load_run(run.folder)
    run.folder.weights.unlink()
    with pytest.raises(RunError, match="given again, begins it anew, since no checkpoint is there either"):
        load_run(run.folder)
    run.folder.checkpoint.touch()
    with pytest.raises(RunError, match="given again, goes on with it"):
        load_run(run.folder)


def test_a_relative_path_is_trained_into_and_read_back(in_folder: Path) -> None:
    few = load_shapes(40, 20)
    tiny = recipe("demo", width=2, epochs=1, batch_size=16)
    run = train(tiny, few, Path("./mine"), progress=SILENT)
    assert (in_folder / "mine" / "weights.safetensors").exists()
    assert load_run(run.folder.path).recipe == tiny


def test_weights_whose_recipe_is_gone_are_not_trained_over(run: Run) -> None:
    run.folder.recipe.unlink()
    weights = run.folder.weights.read_bytes()
    with pytest.raises(RunError, match=r"recipe\.json is missing, and weights\.safetensors is there: put the rec"):
        load_run(run.folder)
    with pytest.raises(
        RunError, match=r"recipe.json is missing, and weights.safetensors is there.*put the recipe back"
    ):
        train(run.recipe, load_shapes(40, 20), run.folder.path, progress=SILENT)
    assert run.folder.weights.read_bytes() == weights


def test_a_folder_with_weights_and_no_recipe_is_not_free(run: Run, in_folder: Path) -> None:
    shutil.copytree(run.folder.path, in_folder / "runs" / "demo")
    (in_folder / "runs" / "demo" / "recipe.json").unlink()
    assert choose_folder(recipe("demo"), load_shapes(40, 20)).name == "demo-2"


def test_a_folder_with_nothing_to_go_on_from_is_free_for_a_corrected_recipe(in_folder: Path) -> None:
    few = load_shapes(40, 20)
    tiny = recipe("demo", width=2, epochs=1, batch_size=16)
    with pytest.raises(DataError, match="400"):
        train(replace(tiny, held_out=400), few, "mine", progress=SILENT)
    assert train(tiny, few, "mine", progress=SILENT).recipe == tiny
    (in_folder / "runs/mine/weights.safetensors").unlink()  # its predictions would be of no network that is there
    (in_folder / "runs/mine/predictions.npz").touch()
    with pytest.raises(RunError, match=r"belongs to another recipe \(epochs 2, not 1\)"):
        train(replace(tiny, epochs=2), few, "mine", progress=SILENT)


def test_weights_of_other_images_do_not_belong_to_a_run(tmp_path: Path) -> None:
    tiny = recipe("demo", width=2, epochs=1, batch_size=16, held_out=5)
    one, two = (train(tiny, load_shapes(n, 20), tmp_path / str(n), progress=SILENT).folder for n in (40, 50))
    shutil.copy(two.weights, one.weights)
    with pytest.raises(
        RunError, match=r"weights\.safetensors and .*data\.json do not belong together \(other training"
    ):
        load_run(one)
    one.data.unlink()  # nothing but a training needs it
    assert load_run(one).recipe == tiny


def test_how_classes_differ_is_said_also_if_their_order_does() -> None:
    assert differing_names(("a", "b", "dog"), ("a", "b", "d")) == "dog, not d"
    assert differing_names(("a", "b"), ("a", "b", "c")) == "2, not 3"
    assert differing_names("vwxyz", "abcde") == "v, not a; w, not b; x, not c; 2 more"


def test_a_class_whose_new_name_sorts_elsewhere_is_no_other_image(tmp_path: Path) -> None:
    few, tiny = load_shapes(40, 20), recipe("demo", width=2, epochs=1, batch_size=16)
    train(tiny, few, tmp_path / "run", progress=SILENT)
    names = (*few.classes[1:], "zebra")  # was the first
    renamed = [Split(split.images, (split.labels - 1) % len(names), names) for split in (few.train, few.test)]
    with pytest.raises(RunError, match=r"begun with other classes than few has now \("):
        train(tiny, Data("few", *renamed), tmp_path / "run", progress=SILENT)


def test_of_many_neighbours_the_first_are_named(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"run-{number:02}").mkdir()
        (tmp_path / f"run-{number:02}" / "recipe.json").touch()
    with pytest.raises(RunError, match=r"its neighbours are run-00, .*, run-09 and 2 more\)"):
        load_run(tmp_path / "mine")


def test_why_another_folder_was_taken_is_said(in_folder: Path) -> None:
    own, other, few = recipe("demo"), RunFolder(Path("runs/demo-2")), load_shapes(40, 20)
    with find_run("demo").writing(["a test"]):
        begin_run(find_run("demo"), own, few, write=True)
    assert taken_instead(find_run("demo"), own) is None
    assert taken_instead(other, own) == ("runs/demo was begun with other images or classes: this goes into runs/demo-2")
    assert taken_instead(other, replace(own, epochs=9, seed=2)) == (
        "runs/demo belongs to another recipe (seed 2, not 0; epochs 9, not 5): this goes into runs/demo-2"
    )
    find_run("demo").data.unlink()
    assert taken_instead(other, own) == "runs/demo lacks data.json: this goes into runs/demo-2"
