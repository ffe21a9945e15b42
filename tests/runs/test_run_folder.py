from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from seefar.errors import RunError
from seefar.runs.files import write_text
from seefar.runs.folder import RunFolder, find_run, verify

WRITER = """
import sys
from pathlib import Path
from seefar.runs.folder import RunFolder
with RunFolder(Path(sys.argv[1])).writing(["a test"]):
    print("locked", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def writer(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process that writes into `tmp_path`."""
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_a_bare_name_lies_under_runs_and_a_path_where_it_says() -> None:
    assert find_run("mine").path == Path("runs") / "mine"
    assert find_run("./mine").path == Path("mine")
    assert find_run("deep/mine").path == Path("deep") / "mine"
    assert find_run("/tmp/mine").path == Path("/tmp/mine")


def test_a_path_is_a_path() -> None:
    assert find_run(Path("./mine")).path == Path("mine")


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_names_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(RunError, match="no name for a run"):
        find_run(name)


def test_a_folder_is_sealed_when_the_writing_ends_well(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with folder.writing(["one"]):
        folder.log.write_text("a")
        with folder.writing(["within"]):
            folder.history.write_text("b")
        assert not folder.manifest.exists()
    assert verify(folder) == []
    assert sorted(path.name for path in folder.path.iterdir()) == ["history.csv", "log.txt", "manifest.json"]
    sealed = folder.manifest.read_bytes()
    with pytest.raises(KeyError), folder.writing(["two"]):
        raise KeyError
    assert folder.manifest.read_bytes() == sealed  # nothing was changed
    with pytest.raises(TypeError), folder.writing(["two"]):
        folder.history.write_text(folder.log.write_text("c"))
    assert "manifest.json is missing" in verify(folder)[0]


def test_a_second_process_is_told_who_writes(tmp_path: Path, writer: subprocess.Popen[str]) -> None:
    with (
        pytest.raises(RunError, match=rf"Another process \({writer.pid}\) writes into"),
        RunFolder(tmp_path).writing([]),
    ):
        pass


def test_the_lock_of_a_dead_process_does_not_bind(tmp_path: Path, writer: subprocess.Popen[str]) -> None:
    writer.kill()
    writer.wait()
    assert (tmp_path / ".lock").exists()
    with RunFolder(tmp_path).writing([]):
        pass
    assert not (tmp_path / ".lock").exists()


def test_a_second_thread_waits_for_no_one_either(tmp_path: Path) -> None:
    found: list[BaseException] = []

    def write() -> None:
        try:
            with RunFolder(tmp_path).writing([]):
                pass
        except RunError as error:
            found.append(error)

    with RunFolder(tmp_path).writing([]):
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert "Another thread" in str(found[0])


def test_what_a_killed_process_left_half_written_goes(tmp_path: Path) -> None:
    (tmp_path / ".part-00ff00ff00ff00ff-weights.safetensors").touch()
    (tmp_path / ".part-00ff00ff00ff00ff-mistakes.csv").symlink_to(tmp_path / "elsewhere")
    with RunFolder(tmp_path).writing([]):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_files_of_the_user_stay_whatever_their_names(tmp_path: Path) -> None:
    (tmp_path / ".part-mine").touch()
    (tmp_path / ".part-7-mine").mkdir()
    with RunFolder(tmp_path).writing([]):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".part-7-mine", ".part-mine", "manifest.json"]


@pytest.mark.parametrize("name", [".lock", "log.txt", "history.csv", "figures"])
def test_nothing_is_written_through_a_link(tmp_path: Path, name: str) -> None:
    precious, run = tmp_path / "precious", tmp_path / "run"
    run.mkdir()
    precious.write_text("mine")
    (run / name).symlink_to(precious)
    refused = pytest.raises(RunError, match=rf"{name} is a link to .*precious.*: delete the link")
    with refused, RunFolder(run).writing([]):
        pytest.fail("it may not begin")
    assert precious.read_text() == "mine"
    (run / name).unlink()
    with RunFolder(run).writing([]):
        pass


def test_a_full_disk_names_the_file_and_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.txt"
    write_text(path, "first")

    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"log\.txt cannot be written \(No space left on device\); the previous"):
        write_text(path, "second")
    assert path.read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["log.txt"]


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be written to"), RunFolder(tmp_path / "file" / "run").writing([]):
        pass


def test_a_full_disk_during_a_training_names_the_folder(tmp_path: Path) -> None:
    def append() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match="the last checkpoint too"), RunFolder(tmp_path / "run").writing([]):
        append()
