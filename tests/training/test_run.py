"""Folders of trainings: which one is taken, what is read back, what does not belong together, what is written first."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_job import TINY, At

from seefar.data import Data
from seefar.data.images import differing_names
from seefar.data.shapes import load_shapes
from seefar.errors import DataError, Interrupted, RunError
from seefar.progress import SILENT
from seefar.runs.arrays import load_tensors, save_tensors
from seefar.runs.folder import RunFolder, verify
from seefar.training.history import read_history
from seefar.training.loop import train
from seefar.training.run import Run, describe_choice, load_run, open_run, save_weights


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> RunFolder:
    """A finished training, and nothing else."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    for name in ("recipe.json", "data.json", "history.csv", "log.txt", "weights.safetensors"):
        shutil.copy(finished / name, folder.path)
    return folder


def times(folder: RunFolder) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.path.iterdir() if path.name != ".lock"}


def test_a_run_is_read_back_as_it_was(run: Run, trained: Run) -> None:
    assert (run.recipe, run.classes, run.history) == (trained.recipe, trained.classes, trained.history)
    pairs = zip(run.model.state_dict().values(), trained.model.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_finished_training_is_completed_once_and_then_left_as_it_is(folder: RunFolder, few: Data) -> None:
    """A kill between the weights and the manifest leaves neither a manifest nor, perhaps, a checkpoint."""
    folder.checkpoint.touch()
    for _ in range(2):
        before = times(folder)
        train(TINY, few, folder.path, progress=SILENT)
        assert verify(folder) == []
        assert not folder.checkpoint.exists()
    assert times(folder) == before
    manifest = json.loads(folder.manifest.read_text(encoding="utf-8"))
    folder.manifest.write_text(json.dumps({**manifest, "finished": False}))
    train(TINY, few, folder.path, progress=SILENT)
    assert verify(folder) == []


def test_the_manifest_has_every_session_also_those_that_were_killed(few: Data, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")

    def fail() -> None:
        raise ZeroDivisionError

    for precision, minutes in (("float32", 0.0), ("bfloat16", 9.0), ("float32", 9.0)):
        with pytest.raises(ZeroDivisionError):
            train(TINY, few, folder.path, precision=precision, checkpoint_minutes=minutes, progress=At(2, fail))
        assert "finished" in verify(folder)[0]
    train(TINY, few, folder.path, precision="float32", progress=SILENT)
    sessions = json.loads(folder.manifest.read_text(encoding="utf-8"))["training"]["sessions"]
    assert [one["precision"] for one in sessions] == ["float32", "bfloat16", "float32"]
    assert verify(folder) == []


def test_without_a_name_the_folder_is_that_of_the_same_training_or_the_next_free_one(
    few: Data, in_folder: Path
) -> None:
    tiny, longer, other = TINY, replace(TINY, epochs=3), load_shapes(50, 20)
    assert train(tiny, few, progress=SILENT).folder.path == Path("runs/demo")
    assert train(longer, few, progress=SILENT).folder.path == Path("runs/demo-2")
    assert train(longer, other, progress=SILENT).folder.path == Path("runs/demo-3")
    before = times(RunFolder(Path("runs/demo")))
    assert train(tiny, few, progress=SILENT).folder.path == Path("runs/demo")
    assert times(RunFolder(Path("runs/demo"))) == before
    assert open_run(longer, few) == RunFolder(Path("runs/demo-2"))
    assert describe_choice(RunFolder(Path("runs/demo")), tiny, few) is None
    for recipe, data, found, reason in (
        (longer, few, "runs/demo-2", "epochs 3, not 2"),
        (tiny, other, "runs/demo-4", "other images"),
    ):
        line = describe_choice(RunFolder(Path(found)), recipe, data)
        assert line is not None
        assert all(part in line for part in (reason, "runs/demo ", found))
    with pytest.raises(RunError, match="epochs 3, not 2"):
        train(longer, few, "demo", progress=SILENT)


@pytest.mark.parametrize("first", ["disc", "zebra"])
def test_a_class_that_was_renamed_makes_other_data(folder: RunFolder, few: Data, in_folder: Path, first: str) -> None:
    """Also one that moves to another place in their order: images and labels, of which the fingerprint is, agree."""
    names = (first, *few.classes[1:])
    renamed = replace(few, **{part: replace(getattr(few, part), classes=names) for part in ("train", "test")})
    assert renamed.fingerprint == few.fingerprint
    with pytest.raises(RunError, match=first):
        train(TINY, renamed, folder.path, progress=SILENT)


def test_a_relative_path_is_trained_into_and_read_back(few: Data, in_folder: Path) -> None:
    run = train(TINY, few, Path("./mine"), progress=SILENT)
    assert (in_folder / "mine" / "weights.safetensors").exists()
    assert load_run(run.folder.path).recipe == TINY


def test_a_folder_with_nothing_to_resume_from_is_free_for_a_corrected_recipe(few: Data, in_folder: Path) -> None:
    with pytest.raises(DataError, match="400"):
        train(replace(TINY, held_out=400), few, "mine", progress=SILENT)
    assert train(TINY, few, "mine", progress=SILENT).recipe == TINY


def test_weights_whose_recipe_is_missing_are_not_trained_over(folder: RunFolder, few: Data, in_folder: Path) -> None:
    folder.recipe.unlink()
    before = times(folder)
    with pytest.raises(RunError, match=r"recipe\.json"):
        train(TINY, few, folder.path, progress=SILENT)
    assert times(folder) == before
    shutil.copytree(folder.path, in_folder / "runs" / "demo")
    assert open_run(TINY, few).name == "demo-2"


def change_weights(change: Callable[[dict[str, Any], dict[str, Any]], object]) -> Callable[[RunFolder], None]:
    def changed(folder: RunFolder) -> None:
        tensors, about = load_tensors(folder.weights)
        change(tensors, about)
        save_tensors(folder.weights, tensors, about)

    return changed


def cut(size: int) -> Callable[[RunFolder], None]:
    return lambda folder: os.truncate(folder.weights, size)


def flip_a_bit(folder: RunFolder) -> None:
    content = bytearray(folder.weights.read_bytes())
    content[-5] ^= 1
    folder.weights.write_bytes(content)


def rename_a_class(folder: RunFolder) -> None:
    folder.weights.write_bytes(folder.weights.read_bytes().replace(b"circle", b"CIRCLE"))


DAMAGED = {
    "empty": cut(0),
    "truncated": cut(1000),
    "one bit": flip_a_bit,
    "one class": rename_a_class,
    "another network": change_weights(lambda tensors, _: tensors.update({"fc.weight": torch.zeros(7, 7)})),
    "nothing known": change_weights(lambda _, about: about.clear()),
    "no size": change_weights(lambda _, about: about.update(image_size=10**400)),
    "no classes": change_weights(lambda _, about: about.update(classes=[1, None])),
    "a class twice": change_weights(lambda _, about: about.update(classes=["a", "a"])),
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_weights_that_are_damaged_or_of_another_training_are_named(
    folder: RunFolder, damage: Callable[[RunFolder], None]
) -> None:
    damage(folder)
    with pytest.raises(RunError, match=r"weights\.safetensors"):
        load_run(folder)


def test_a_width_that_the_weights_do_not_have_takes_no_memory(folder: RunFolder) -> None:
    wide = replace(TINY, width=4096).to_json()
    folder.recipe.write_text(wide)
    change_weights(lambda _, about: about.update(recipe=wide))(folder)
    with pytest.raises(RunError, match=r"weights\.safetensors.*4096"):
        load_run(folder)


@pytest.mark.parametrize("content", ["", "step,epoch", "a,b\n1,2\n", None])
def test_a_damaged_history_is_a_warning_and_the_network_is_read(folder: RunFolder, content: str | None) -> None:
    folder.history.unlink()
    if content is not None:
        folder.history.write_text(content)
    with pytest.warns(UserWarning, match=r"history\.csv"):
        loaded = load_run(folder)
    assert (loaded.history, loaded.recipe) == ([], TINY)


def test_a_last_line_that_a_kill_cut_off_is_passed_over(folder: RunFolder) -> None:
    rows = read_history(folder.history)
    folder.history.write_text(folder.history.read_text()[:-20])
    assert read_history(folder.history) == rows[:-1]


def test_a_missing_run_names_the_first_ten_beside_it(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"run-{number:02}").mkdir()
        (tmp_path / f"run-{number:02}" / "recipe.json").touch()
    with pytest.raises(RunError, match=r"run-00, .*, run-09 and 2 more"):
        load_run(tmp_path / "mine")


def test_an_unfinished_run_is_none_yet(folder: RunFolder) -> None:
    folder.weights.unlink()
    with pytest.raises(RunError, match="weights"):
        load_run(folder)


@pytest.mark.parametrize("what", ["recipe", "width", "images"])
def test_the_checkpoint_of_another_training_is_refused(few: Data, tmp_path: Path, what: str) -> None:
    """It fits, but for that of another width: the network has the same shape."""
    run, other = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "other")
    recipe = {"images": TINY, "recipe": replace(TINY, seed=1), "width": replace(TINY, width=3)}[what]
    data = Data("few", few.train.take(slice(1, None)), few.test) if what == "images" else few
    for folder, its, images in ((run, TINY, few), (other, recipe, data)):
        with pytest.raises(Interrupted):
            train(its, images, folder.path, progress=At(2, lambda: os.kill(os.getpid(), 2)))
    shutil.copy(other.checkpoint, run.checkpoint)
    with pytest.raises(RunError, match=r"checkpoint\.safetensors"):
        train(TINY, few, run.path, progress=SILENT)


def test_history_and_log_are_on_the_disk_before_the_weights(
    few: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut keeps them together: whoever finds weights finds every row."""
    events: list[str] = []
    rename = os.replace

    def record(file: int) -> None:
        events.append(Path(os.readlink(f"/proc/self/fd/{file}")).name.rpartition("-")[2])

    def record_rename(old: Path, new: Path) -> None:
        events.append(f"rename {new.name}")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", record)
    monkeypatch.setattr(os, "replace", record_rename)
    train(TINY, few, tmp_path / "run", checkpoint_minutes=0.0, progress=SILENT)
    before = events[: events.index("rename weights.safetensors")]
    assert before[-3:] == ["history.csv", "log.txt", "weights.safetensors"]
    checkpoint = events.index("rename checkpoint.safetensors")
    assert events[checkpoint - 2 : checkpoint] == ["history.csv", "checkpoint.safetensors"]
    after = events[events.index("rename weights.safetensors") :]
    assert after[1] == "run"  # the folder, with the name of the weights in it
    assert "rename manifest.json" in after


def test_weights_are_saved_with_what_they_were_trained_as(folder: RunFolder, few: Data) -> None:
    run, other = load_run(folder), replace(TINY, seed=1)
    save_weights(folder, run.model, other, few)
    assert load_run(folder).recipe == other


def test_how_classes_differ_is_named_also_if_their_order_does() -> None:
    assert differing_names(("a", "b", "dog"), ("a", "b", "d")) == "dog, not d"
    assert differing_names(("a", "b"), ("a", "b", "c")) == "2, not 3"
    assert differing_names("vwxyz", "abcde") == "v, not a; w, not b; x, not c; 2 more"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
@pytest.mark.parametrize("name", ["recipe.json", "data.json", "history.csv", "log.txt", "weights.safetensors"])
@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_a_special_file_in_the_place_of_a_training_file_is_named(name: str, kind: str, run: Run) -> None:
    path = run.folder.path / name
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(RunError, match=name):
        load_run(run.folder)


def test_the_home_of_a_user_who_does_not_exist_is_no_run() -> None:
    with pytest.raises(RunError, match="nobody-here"):
        load_run("~nobody-here/r")
