"""The store on a table of four toy artifacts: a file counts if its bytes and its inputs are what the manifest says."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from seefar.errors import RunError
from seefar.progress import Progress
from seefar.runs import store as store_module
from seefar.runs.files import write_text
from seefar.runs.folder import verify
from seefar.runs.store import Artifact, Store, file_entry, locked, opened


class Job(Progress):
    """Facts and settings of a command, what it computed, and the lines that it printed."""

    store: Store

    def __init__(self, weights: str | None = "w", test: str | None = "t", scale: int = 1, parts: int = 4) -> None:
        self.facts = {"weights": weights, "test": test, "news": "n"}
        self.scale, self.parts = scale, parts
        self.stops_after: int | None = None
        self.computed: list[str] = []
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def note(job: Job, name: str, value: str) -> str:
    job.computed.append(name)
    return value


def save(value: str, path: Path) -> None:
    write_text(path, value)


def load(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def count(job: Job) -> Iterator[str]:
    """`0123...`, one more with each part, on from what is saved; as a killed process stops if the job says so."""
    value = job.store.peek(LONG) or ""
    for number in range(len(value), job.parts):
        if number == job.stops_after:
            raise ZeroDivisionError
        value += str(number)
        yield note(job, "long", value)


RAW = Artifact(
    "raw.txt",
    compute=lambda job: note(job, "raw", f"raw of {job.facts['weights']}, {job.facts['test']}"),
    save=save,
    load=load,
    of=("weights", "test"),
)
LONG = Artifact(
    "figures/long.txt",
    compute=count,
    save=save,
    load=load,
    of=("weights",),
    enough=lambda job, value: len(value) >= job.parts,
)
SCALED = Artifact(
    "scaled.txt",
    compute=lambda job: note(job, "scaled", f"{job.store.get(RAW)} x {job.scale}") if job.scale else None,
    save=save,
    of=(RAW,),
    settings=lambda job: job.scale,
)
TABLE = Artifact(
    "table.csv",
    compute=lambda job: note(job, "table", f"{job.store.get(RAW)} | {job.store.peek(LONG)}"),
    save=save,
    of=(RAW,),
    shows=(LONG,),
)
ALL = (RAW, LONG, SCALED, TABLE)
NAMES = [one.name for one in ALL]


def visit(folder: Path, job: Job | None = None, artifacts: Sequence[Artifact[Any]] = ALL) -> Job:
    """One command that wants these files."""
    job = Job() if job is None else job
    folder.mkdir(exist_ok=True)
    with opened(folder, job.facts.get, job, ALL, ["a test"], job) as job.store:
        job.store.ensure(*artifacts)
    return job


def content(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file() and path.name not in (".lock", "manifest.json")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the commit and the versions of packages, which take longer than all else here."""
    monkeypatch.setattr(store_module, "provenance", dict)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """All four files."""
    visit(tmp_path / "run")
    return tmp_path / "run"


def test_each_file_is_computed_once_and_has_its_inputs_in_the_manifest(tmp_path: Path) -> None:
    job = visit(tmp_path / "run")
    assert job.computed == ["raw", "long", "long", "long", "long", "scaled", "table"]
    assert content(tmp_path / "run") == {
        "raw.txt": b"raw of w, t",
        "figures/long.txt": b"0123",
        "scaled.txt": b"raw of w, t x 1",
        "table.csv": b"raw of w, t | 0123",
    }
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert (manifest["finished"], manifest["command"]) == (True, ["a test"])
    files = manifest["files"]
    assert list(files) == sorted(NAMES)
    assert files["raw.txt"]["from"] == {"weights": "w", "test": "t"}
    assert files["scaled.txt"]["from"] == {"raw.txt": files["raw.txt"]["sha256"]}
    assert [files["scaled.txt"][name] for name in ("bytes", "shows", "settings", "version")] == [15, {}, 1, 1]
    assert files["table.csv"]["shows"] == {"figures/long.txt": files["figures/long.txt"]["sha256"]}
    assert verify(tmp_path / "run") == []
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.name != ".lock"}
    assert visit(tmp_path / "run").computed == []
    assert {path: path.stat().st_mtime_ns for path in before} == before


def link(path: Path) -> None:
    """To a copy of itself: the bytes are right."""
    path.rename(path.parent / "elsewhere")
    path.symlink_to("elsewhere")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "delete": Path.unlink,
    "cut off": lambda path: os.truncate(path, path.stat().st_size - 1),
    "flip": lambda path: path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]),
    "link": link,
    "pipe": pipe,
    "holes": lambda path: os.truncate(path, 5 << 30),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_was_damaged_is_computed_again(folder: Path, damage: str) -> None:
    before = content(folder)
    DAMAGES[damage](folder / "raw.txt")
    assert any(line.startswith("raw.txt") for line in verify(folder))
    assert visit(folder).computed == ["raw"]
    (folder / "elsewhere").unlink(missing_ok=True)
    assert content(folder) == before
    assert verify(folder) == []


def test_nothing_is_written_or_removed_through_a_link_to_a_folder(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (folder / "figures").rename(outside)
    (outside / f".part-{'0b' * 8}-letter.txt").write_text("mine")
    (folder / "figures").symlink_to(outside)
    before = content(outside)
    for job in (Job(), Job(parts=0), Job(test="other")):
        with pytest.raises(RunError, match="figures"):
            visit(folder, job)
    assert content(outside) == before


@pytest.mark.parametrize(
    ("facts", "computed"),
    [
        ({"test": "other"}, {"raw", "scaled", "table"}),
        ({"weights": "other"}, {"raw", "scaled", "table", "long"}),
        ({"test": None}, set()),
        ({"test": None, "weights": None}, set()),
        ({"scale": 2}, {"scaled"}),
        ({"scale": 0}, set()),
        ({"parts": 6}, {"long", "table"}),
        ({"parts": 2}, set()),
    ],
)
def test_dependents_of_a_changed_fact_or_setting_are_computed_again(
    folder: Path, facts: dict[str, Any], computed: set[str]
) -> None:
    before = content(folder)
    assert set(visit(folder, Job(**facts)).computed) == computed
    assert verify(folder) == []
    assert (folder / "scaled.txt").exists() == (facts.get("scale") != 0)  # a value that is None has no file
    visit(folder)
    assert "parts" in facts or content(folder) == before


def test_a_fact_that_becomes_known_is_another_one(folder: Path) -> None:
    visit(folder, Job(test=None, weights="new"))
    assert set(visit(folder, Job(weights="new")).computed) == {"raw", "scaled", "table"}


def test_peeking_at_other_settings_does_not_set_the_value(folder: Path) -> None:
    scaled, job = replace(SCALED, load=load), Job(scale=2)
    with opened(folder, job.facts.get, job, (RAW, scaled), ["a test"], job) as job.store:
        assert job.store.peek(scaled) == "raw of w, t x 1"
        assert job.store.get(scaled) == job.store.peek(scaled) == "raw of w, t x 2"


@pytest.mark.parametrize(
    "more", [{"version": 2}, {"of": ("weights", "test", "news")}, {"of": ("weights",)}, {"shows": (LONG,)}]
)
def test_another_version_of_an_artifact_or_other_inputs_are_computed_again(folder: Path, more: dict[str, Any]) -> None:
    visit(folder, artifacts=[replace(RAW, **more)])
    assert visit(folder, artifacts=[replace(RAW, **more)]).computed == []
    assert visit(folder, artifacts=[RAW]).computed == ["raw"]


def test_a_sealed_file_counts_only_for_the_user_who_wrote_it(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever made a folder can have written the manifest too, and can know a seal of another file or another time."""
    sealed = replace(TABLE, sealed=True)
    assert visit(folder, artifacts=[sealed]).computed == ["table"]  # before, it had no seal
    assert visit(folder, artifacts=[sealed]).computed == []
    key = tmp_path / "state" / "seefar" / "key"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(store_module, "_own_key", store_module._own_key.__wrapped__)  # not remembered
    for found in (None, b"cut short", bytes(32)):  # no key yet, one that a full disk cut, one of another user
        if found is not None:
            key.write_bytes(found)
        assert visit(folder, artifacts=[sealed]).computed == ["table"]
        assert visit(folder, artifacts=[sealed]).computed == []
        assert len(key.read_bytes()) == 32
    if os.name != "nt":
        assert key.stat().st_mode & 0o077 == 0
    path, manifest = folder / "table.csv", json.loads((folder / "manifest.json").read_text())
    path.write_text("=other()")
    manifest["files"]["table.csv"].update(file_entry(path) or {})
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert visit(folder, artifacts=[sealed]).computed == ["table"]
    assert path.read_text() == "raw of w, t | 0123"


def test_long_work_is_saved_in_parts_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "SAVE_SECONDS", 0)
    killed, resumed = Job(), Job()
    killed.stops_after = 3
    with pytest.raises(ZeroDivisionError):
        visit(tmp_path / "run", killed)
    assert load(tmp_path / "run" / LONG.name) == "012"
    assert "finished" in verify(tmp_path / "run")[0]
    visit(tmp_path / "run", resumed)
    assert resumed.computed.count("long") == 1
    visit(tmp_path / "whole")
    assert content(tmp_path / "run") == content(tmp_path / "whole")


def test_parts_are_saved_once_a_minute_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 30.0, 61.0, 61.0, 90.0, 100.0])
    monkeypatch.setattr(store_module.time, "monotonic", lambda: next(clock))
    saved: list[str] = []
    slow = Artifact(LONG.name, LONG.compute, lambda value, path: (saved.append(value), save(value, path)), LONG.load)
    job = Job()
    store = job.store = Store(tmp_path, job.facts.get, job)
    store.get(slow)
    assert saved == ["01", "0123"]


def test_a_kill_at_any_rename_is_resumed_to_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    """Four files, a manifest after each, one at the beginning and one at the end."""
    rename = os.replace
    for renames in range(11):
        left, run = iter(range(renames)), tmp_path / str(renames)

        def counted(*paths: Any, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            rename(*paths)

        killed = pytest.raises(KeyboardInterrupt) if renames < 10 else nullcontext()
        with pytest.MonkeyPatch.context() as patch, killed:
            patch.setattr(os, "replace", counted)
            visit(run)
        visit(run)
        assert content(run) == content(folder)
        assert verify(run) == []


def test_missing_files_of_a_read_only_folder_are_written_elsewhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # permissions do not bind root
    intact = visit(folder)
    assert (intact.computed, intact.lines) == ([], [])
    DAMAGES["flip"](folder / "raw.txt")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    job = visit(folder)
    assert job.computed
    assert job.store.get(RAW) == "raw of w, t"
    (line,) = job.lines
    assert str(folder) in line
    assert line.endswith("raw.txt")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_outdated_files_are_removed_and_the_users_are_not(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / "figures" / "notes.txt").write_text("mine")
    visit(folder, Job(weights="other"), artifacts=(RAW,))
    assert sorted(content(folder)) == ["figures/notes.txt", "notes.txt", "raw.txt"]
    (folder / "scaled.txt").write_text("left by a kill between two renames")
    visit(folder, Job(weights="other"), artifacts=(RAW,))
    assert sorted(content(folder)) == ["figures/notes.txt", "notes.txt", "raw.txt"]
    assert [line.split(" is ")[0] for line in verify(folder)] == ["figures/notes.txt", "notes.txt"]


STRANGE = {
    "empty": "",
    "an entry that is a text": '{"files": {"raw.txt": "abc"}}',
    "an entry with half of its fields": '{"files": {"raw.txt": {"bytes": 11, "sha256": "", "from": {}}}}',
    "nested without end": "[" * 200_000,
    "a name that is no path": '{"files": {"a\\u0000b": {"bytes": 1, "sha256": ""}, "\\ud800": {"bytes": 1}}}',
    "a name outside": '{"files": {"../../../etc/hostname": {"bytes": 1}, "/etc/hostname": {}, "": {}}}',
}


@pytest.mark.parametrize("kind", [*STRANGE, "link", "pipe", "holes"])
def test_a_malformed_manifest_is_ignored(folder: Path, kind: str) -> None:
    before, manifest = content(folder), (folder / "manifest.json").read_bytes()
    with pytest.raises(ZeroDivisionError), opened(folder, {}.get, None, ALL, []):
        raise ZeroDivisionError
    assert (folder / "manifest.json").read_bytes() == manifest  # nothing was written before the error
    if kind in STRANGE:
        (folder / "manifest.json").write_text(STRANGE[kind])
    else:
        DAMAGES[kind](folder / "manifest.json")
    assert verify(folder) != []
    assert set(visit(folder).computed) == {"raw", "long", "scaled", "table"}
    (folder / "elsewhere").unlink(missing_ok=True)
    assert content(folder) == before
    assert json.loads((folder / "manifest.json").read_text())["finished"]


def test_verify_has_a_line_for_each_file_that_is_missing_changed_or_extra(folder: Path, tmp_path: Path) -> None:
    (folder / "raw.txt").unlink()
    DAMAGES["flip"](folder / "scaled.txt")
    (folder / "\x1b[31mred").touch()
    (folder / ".hidden").touch()
    assert [line.split(" is ")[::-1][0].split(":")[0] for line in verify(folder)] == ["extra", "missing", "changed"]
    assert [line.split(" is ")[0] for line in verify(folder)] == ["\\x1b[31mred", "raw.txt", "scaled.txt"]
    (folder / "manifest.json").unlink()
    assert len(verify(folder)) == 1
    with pytest.raises(RunError, match="nowhere"):
        verify(tmp_path / "nowhere")


WRITER = """
import sys
from pathlib import Path
from seefar.runs.store import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.readline()
"""


def test_a_second_process_is_refused_or_waits_until_the_first_has_ended(tmp_path: Path) -> None:
    command, job = [sys.executable, "-c", WRITER, str(tmp_path)], Job()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        for wait, lines in ((0, 0), (0.2, 1)):
            with pytest.raises(RunError, match=str(tmp_path)), locked(tmp_path, job, wait=wait):
                pytest.fail("not locked")
            assert len(job.lines) == lines
        process.kill()
    with locked(tmp_path):
        pass


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(RunError, match="run"), locked(tmp_path / "run"):
        pytest.fail("not locked")
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_file_system_without_locks_gets_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcntl.flock", Mock(side_effect=OSError(errno.ENOLCK, "no locks")))
    job = visit(tmp_path / "run")
    assert len(job.lines) == 1
    assert verify(tmp_path / "run") == []


def test_only_partial_files_of_a_kill_are_removed(tmp_path: Path) -> None:
    half = f".part-{'0a' * 8}-weights.safetensors"
    for path in (tmp_path / half, tmp_path / ".part-mine", tmp_path / "notes.txt"):
        path.touch()
    (tmp_path / f".part-{'0b' * 8}-mistakes.csv").symlink_to(tmp_path / "notes.txt")
    with locked(tmp_path):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", ".part-mine", "notes.txt"]


def test_a_new_training_clears_the_manifest(folder: Path) -> None:
    Store(folder, {}.get).begin({"sessions": []})
    assert json.loads((folder / "manifest.json").read_text())["files"] == {}
    assert set(visit(folder).computed) == {"raw", "long", "scaled", "table"}
