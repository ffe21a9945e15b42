"""A run folder that is deleted, moved, edited or fought over while it is written to, and a clock that is set back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_job import TINY, At

import seefar
from seefar.cli.main import main
from seefar.data import Data
from seefar.data.shapes import load_shapes
from seefar.errors import Interrupted, RunError
from seefar.runs.folder import RunFolder, verify


def train(few: Data, folder: Path, progress: seefar.Progress = seefar.SILENT, minutes: float = 0.0) -> bytes:
    return seefar.train(
        TINY, few, folder, device="cpu", checkpoint_minutes=minutes, progress=progress
    ).folder.weights.read_bytes()


@pytest.mark.parametrize("minutes", [0.0, 5.0], ids=["at a checkpoint", "at a row"])
@pytest.mark.parametrize("again", [False, True], ids=["gone", "there again"])
def test_a_folder_that_was_deleted_is_not_made_again_in_part(
    few: Data, tmp_path: Path, minutes: float, again: bool
) -> None:
    run = RunFolder(tmp_path / "run")

    def delete() -> None:
        shutil.rmtree(run.path)
        if again:
            run.path.mkdir()

    with pytest.raises(RunError, match=r"run was deleted, moved or replaced while it was written to"):
        train(few, run.path, At(3, delete), minutes)
    assert list(tmp_path.rglob("*")) == ([run.path] if again else [])
    assert train(few, run.path) == train(few, tmp_path / "whole")
    assert verify(run) == []


def test_a_folder_that_was_moved_goes_on_where_it_is(few: Data, tmp_path: Path) -> None:
    run, moved = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "moved")
    with pytest.raises(RunError, match="deleted, moved or replaced"):
        train(few, run.path, At(4, lambda: run.path.rename(moved.path)))
    assert not run.path.exists()
    rows = []
    assert train(few, moved.path, At(1, lambda: rows.extend(moved.history.read_text().splitlines()))) == train(
        few, tmp_path / "whole"
    )
    assert len(rows) == 1 + 3  # it went on from the third step
    assert verify(moved) == []


def test_nothing_is_written_into_a_copy_that_took_the_place(few: Data, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")

    def replace() -> None:
        run.path.rename(tmp_path / "old")
        shutil.copytree(tmp_path / "old", run.path)

    with pytest.raises(RunError, match=r"deleted, moved or replaced .*\(\.lock is gone, or another\)"):
        train(few, run.path, At(3, replace), minutes=5.0)
    assert run.history.read_bytes() == (tmp_path / "old" / "history.csv").read_bytes()


def test_a_history_that_is_gone_when_a_checkpoint_is_due_is_named(few: Data, tmp_path: Path) -> None:
    """Between two rows, so that no row is written first."""
    run = RunFolder(tmp_path / "run")
    with pytest.raises(RunError, match=r"history\.csv was taken away while it was written"):
        seefar.train(
            replace(TINY, log_every=3),
            few,
            run.path,
            device="cpu",
            checkpoint_minutes=0.0,
            progress=At(1, run.history.unlink),
        )


def test_the_lock_of_the_one_who_took_the_place_is_left_alone(few: Data, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")

    def replace() -> None:
        run.path.rename(tmp_path / "old")
        run.path.mkdir()
        (run.path / ".lock").write_text("1234")

    with pytest.raises(RunError, match="deleted, moved or replaced"):
        train(few, run.path, At(3, replace))
    assert [path.name for path in run.path.iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("history.csv", r"history\.csv"),
        ("recipe.json", r"recipe\.json is missing, and weights\.safetensors is there"),
        ("data.json", r"data\.json is missing"),
    ],
)
def test_a_file_that_was_deleted_meanwhile_need_only_be_put_back(
    few: Data, tmp_path: Path, name: str, said: str
) -> None:
    run, copy = RunFolder(tmp_path / "run"), tmp_path / "copy"

    def delete() -> None:
        shutil.copy(run.path / name, copy)
        (run.path / name).unlink()

    def train_twice() -> None:
        train(few, run.path, At(3, delete))
        train(few, run.path)  # the data are looked at when a run is begun

    with pytest.raises(RunError, match=said):
        train_twice()
    shutil.copy(copy, run.path / name)
    assert train(few, run.path) == train(few, tmp_path / "whole")


def test_a_history_that_was_changed_meanwhile_is_no_history(few: Data, tmp_path: Path) -> None:
    """Cut to its first line it was gone on with, rows missing in silence."""
    run, copy = RunFolder(tmp_path / "run"), tmp_path / "copy"

    def cut() -> None:
        shutil.copy(run.history, copy)
        run.history.write_text(copy.read_text().splitlines(keepends=True)[0])

    with pytest.raises(RunError, match=r"history\.csv was changed while it was written \([\d,]+ bytes were in it"):
        train(few, run.path, At(3, cut))
    with pytest.raises(RunError, match=r"history\.csv has 0 rows up to step 2, 2 were written: put it back.*Or delete"):
        train(few, run.path)
    shutil.copy(copy, run.history)
    assert train(few, run.path) == train(few, tmp_path / "whole")
    assert len(seefar.load_run(run.path).history) == 6


@pytest.mark.parametrize("what", ["recipe", "width", "images"])
def test_the_checkpoint_of_another_training_is_refused(few: Data, tmp_path: Path, what: str) -> None:
    """It fits, but for that of another width: the network has the same shape."""
    run, other = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "other")
    recipe = {"images": TINY, "recipe": replace(TINY, seed=1), "width": replace(TINY, width=3)}[what]
    data = Data("few", few.train.take(slice(1, None)), few.test) if what == "images" else load_shapes(40, 20)
    for folder, its, images in ((run, TINY, few), (other, recipe, data)):
        with pytest.raises(Interrupted):
            seefar.train(its, images, folder.path, device="cpu", progress=At(2, interrupt))
    shutil.copy(run.checkpoint, tmp_path / "copy")
    shutil.copy(other.checkpoint, run.checkpoint)
    why = {"images": "other training images", "recipe": "seed 0, not 1", "width": "width 2, not 3"}[what]
    with pytest.raises(RunError, match=rf"checkpoint\.safetensors belongs to another training \({why}\)"):
        train(few, run.path)
    shutil.copy(tmp_path / "copy", run.checkpoint)
    assert train(few, run.path) == train(few, tmp_path / "whole")


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_a_checkpoint_that_a_kill_left_in_a_finished_folder_is_taken_away(few: Data, tmp_path: Path) -> None:
    """A scheduler that asks for it would queue the job for ever."""
    run = RunFolder(tmp_path / "run")
    with pytest.raises(Interrupted):
        seefar.train(TINY, few, run.path, device="cpu", progress=At(2, interrupt))
    shutil.copy(run.checkpoint, tmp_path / "copy")
    weights = train(few, run.path)
    shutil.copy(tmp_path / "copy", run.checkpoint)
    assert train(few, run.path) == weights
    assert not run.checkpoint.exists()
    assert verify(run) == []
    run.manifest.unlink()  # as a kill leaves it
    assert train(few, run.path) == weights
    assert verify(run) == []


@pytest.mark.parametrize("name", ["log.txt", "checkpoint.safetensors"])
def test_the_log_and_the_last_checkpoint_can_be_done_without(few: Data, tmp_path: Path, name: str) -> None:
    run = RunFolder(tmp_path / "run")
    assert train(few, run.path, At(3, (run.path / name).unlink)) == train(few, tmp_path / "whole")
    assert verify(run) == []


def test_an_edited_recipe_is_found_at_the_end_and_putting_it_back_is_enough(few: Data, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    before: list[str] = []

    def edit() -> None:
        before.append(run.recipe.read_text())
        run.recipe.write_text(before[0].replace('"epochs": 2', '"epochs": 3'))

    with pytest.raises(RunError, match=r"recipe\.json do not belong together \(the recipe says epochs 3"):
        train(few, run.path, At(3, edit))
    run.recipe.write_text(before[0])
    assert train(few, run.path) == train(few, tmp_path / "whole")


@pytest.mark.slow
def test_of_two_processes_the_second_is_refused_and_the_first_goes_on(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "demo", "--width", "1", "--epochs", "200", "--log-every", "1", "--quiet"]
    history = RunFolder(Path("runs/demo")).history

    def wait_for_another_row() -> None:
        rows = history.read_bytes().count(b"\n") if history.exists() else 0
        while not history.exists() or history.read_bytes().count(b"\n") <= rows:
            assert first.poll() is None
            time.sleep(0.02)

    with subprocess.Popen([sys.executable, "-m", "seefar", *words]) as first:
        wait_for_another_row()
        assert main(words) == 2
        assert capsys.readouterr().err == (
            f"seefar: Another process ({first.pid}) writes into runs/demo: wait until it has ended, or choose another "
            "folder.\n"
        )
        wait_for_another_row()
        first.terminate()
        assert first.wait(60) == 130


def test_a_clock_that_is_set_back_changes_nothing(few: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are taken from a clock that only rises, and no file is taken for newer than another."""
    whole, run = train(few, tmp_path / "whole"), RunFolder(tmp_path / "run")
    now = time.time()

    def set_back() -> None:
        monkeypatch.setattr(time, "time", lambda: now - 10 * 365 * 86400)
        monkeypatch.setattr(time, "time_ns", lambda: int(1e9 * (now - 10 * 365 * 86400)))

    with pytest.raises(Interrupted):
        train(few, run.path, At(4, lambda: (set_back(), os.kill(os.getpid(), 15))))
    for path in run.path.rglob("*"):
        os.utime(path, (now + 1e9, now + 1e9))  # written in what is now the future
    assert train(few, run.path) == whole
    seconds = [row.seconds for row in seefar.load_run(run.path).history]
    assert len(seconds) == 6
    assert seconds == sorted(seconds)
    assert verify(run) == []


FILES = ("recipe.json", "history.csv", "weights.safetensors", "manifest.json", "predictions.npz", "report.html")


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_the_place_of_a_file_is_named(
    few: Data, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("seefar.inputs.load_data", lambda *_, **__: few)
    run = RunFolder(tmp_path / "run")
    train(few, run.path)
    (run.path / name).unlink(missing_ok=True)
    (run.path / name).mkdir()
    assert main(["report", str(run)]) == 2
    printed = capsys.readouterr().err
    assert f"{run.path / name} cannot be " in printed
    assert "Is a directory" in printed
    assert "ove that folder away" in printed
    assert "Errno" not in printed
