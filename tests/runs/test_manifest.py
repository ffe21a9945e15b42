from __future__ import annotations

import hashlib
import json
import subprocess
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from seefar.runs.manifest import add_sitting, write_manifest

from seefar.errors import RunError
from seefar.runs.folder import RunFolder, verify
from seefar.runs.provenance import provenance

RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    (tmp_path / "figures").mkdir()
    (tmp_path / "a.txt").write_bytes(b"one")
    (tmp_path / "figures" / "b.png").write_bytes(b"two")
    write_manifest(tmp_path, ["seefar", "run"])
    return RunFolder(tmp_path)


def test_it_has_a_checksum_of_every_file_and_what_made_them(folder: RunFolder) -> None:
    (folder.path / ".hidden").write_text("no part of the run")
    manifest = json.loads(write_manifest(folder.path, ["seefar", "run"]).read_text())
    assert manifest["files"] == {
        "a.txt": hashlib.sha256(b"one").hexdigest(),
        "figures/b.png": hashlib.sha256(b"two").hexdigest(),
    }
    assert manifest["command"] == ["seefar", "run"]
    assert manifest["packages"]["torch"]
    assert manifest["machine"]["threads"] == torch.get_num_threads()
    assert manifest["machine"]["instructions"] in torch.__config__.show()  # "CPU capability usage: AVX2"


def test_what_wrote_before_is_kept_also_over_a_command_that_failed(folder: RunFolder) -> None:
    with pytest.raises(TypeError), folder.writing(["seefar", "evaluate"]):
        folder.log.write_text(folder.history.write_text("a row"))
    with folder.writing(["seefar", "explain"]):
        pass
    with folder.writing(["seefar", "explain"]):
        pass
    manifest = json.loads(folder.manifest.read_text())
    assert [entry["command"][1] for entry in manifest["earlier"]] == ["run"]
    assert manifest["earlier"][0]["packages"] == manifest["packages"]
    assert manifest["command"] == ["seefar", "explain"]


def test_the_sittings_of_the_training_are_named_also_those_that_were_killed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    for precision in ("bfloat16", "bfloat16", "float32"):
        with suppress(KeyboardInterrupt), folder.writing(["seefar", "train"]):
            add_sitting(folder.path, "cpu (2 threads)", precision)
            folder.log.write_text(precision)
            raise KeyboardInterrupt
        assert "manifest.json is missing" in verify(folder)[0]
    for command in ("train", "explain"):
        with folder.writing(["seefar", command]):
            pass
        assert json.loads(folder.manifest.read_text())["training"] == [
            {"device": "cpu (2 threads)", "precision": "bfloat16"},
            {"device": "cpu (2 threads)", "precision": "float32"},
        ]
        assert verify(folder) == []


def test_a_sitting_that_failed_before_it_wrote_anything_seals_nothing(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with suppress(KeyboardInterrupt), folder.writing(["seefar", "train"]):
        add_sitting(folder.path, "cpu", "float32")
        raise KeyboardInterrupt
    assert "manifest.json is missing" in verify(folder)[0]


def test_verify_names_each_file_that_is_missing_changed_or_extra(folder: RunFolder) -> None:
    assert verify(folder) == []
    (folder.path / "a.txt").write_bytes(b"One")
    (folder.path / "figures" / "b.png").unlink()
    (folder.path / "c.txt").touch()
    assert verify(folder.path) == [
        "a.txt is changed",
        "c.txt is extra: the manifest does not have it",
        "figures/b.png is missing",
    ]


def test_verify_of_a_folder_without_a_readable_manifest(folder: RunFolder) -> None:
    folder.manifest.write_text("{}")
    assert "damaged" in verify(folder)[0]
    folder.manifest.unlink()
    assert "manifest.json is missing" in verify(folder)[0]
    with pytest.raises(RunError, match="There is no folder"):
        verify(folder.path / "none")


def test_a_damaged_manifest_does_not_hinder_the_next(folder: RunFolder) -> None:
    folder.manifest.write_text("[")
    with folder.writing(["seefar", "explain"]):
        pass
    assert verify(folder) == []


def test_a_manifest_whose_lists_are_none_is_damaged(folder: RunFolder) -> None:
    folder.manifest.write_text(json.dumps({"files": {}, "training": 5}))
    assert verify(folder) == ["manifest.json is damaged (training is no list)"]
    with folder.writing(["seefar", "train"]):
        add_sitting(folder.path, "cpu", "float32")
    assert verify(folder) == []


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*/recipe.json")), ids=lambda path: path.parent.name)
def test_what_results_ship_is_what_their_manifests_say(path: Path) -> None:
    assert verify(path.parent) == []


def test_a_gpu_is_named_with_its_driver_and_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = SimpleNamespace(name="NVIDIA H100", total_memory=80 << 30, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _number: gpu)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    asked: list[list[str]] = []

    def run(words: list[str], **_options: object) -> SimpleNamespace:
        asked.append(words)
        return SimpleNamespace(stdout="550.54\n" if words[0] == "nvidia-smi" else "")

    monkeypatch.setattr(subprocess, "run", run)
    found = provenance()["machine"]["gpu"]
    assert (found["name"], found["memory_mib"], found["capability"], found["driver"]) == (
        "NVIDIA H100",
        80 * 1024,
        "9.0",
        "550.54",
    )
    assert found["float32_convolutions"] in ("tf32", "ieee")
    assert {"cuda", "cudnn"} < set(found)
    assert "--id=3" in asked[-1]  # as nvidia-smi counts
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert provenance()["machine"]["gpu"] is None


def test_what_was_altered_from_outside_is_named_until_it_is_written_anew(tmp_path: Path) -> None:
    """Changed and taken away; then other files are written, and last the changed one as it was."""
    folder = RunFolder(tmp_path)
    with folder.writing(["first"]):
        for name in ("changed", "gone", "kept"):
            (tmp_path / name).write_text("as it was")
    (tmp_path / "changed").write_text("altered")
    (tmp_path / "gone").unlink()
    (tmp_path / "extra").write_text("put there")
    named = ["changed is changed", "gone is missing"]
    assert verify(folder) == [named[0], "extra is extra: the manifest does not have it", named[1]]
    for text in ("new", "newer"):
        with folder.writing(["later"]):
            (tmp_path / "kept").write_text(text)
        assert verify(folder) == named
    with folder.writing(["last"]):
        (tmp_path / "changed").write_text("as it was")
        (tmp_path / "gone").write_text("made anew")
    assert verify(folder) == []


def test_an_error_before_anything_is_written_leaves_the_manifest_as_it_was(tmp_path: Path) -> None:
    """Also where a file is damaged, which may be what the error is about."""
    folder = RunFolder(tmp_path)
    with folder.writing(["first"]):
        (tmp_path / "weights").write_text("as they were")
    (tmp_path / "weights").write_text("damaged")
    before = folder.manifest.read_bytes()
    with pytest.raises(RunError, match="of no use"), folder.writing(["second"]):
        raise RunError("of no use")
    assert folder.manifest.read_bytes() == before
    assert verify(folder) == ["weights is changed"]
    with suppress(RunError), folder.writing(["third"]):
        (tmp_path / "new").write_text("half of the work")
        raise RunError("half")
    assert not folder.manifest.exists()
