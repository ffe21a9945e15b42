from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from seefar.runs.folder import RunFolder
from seefar.runs.manifest import write_manifest


def test_it_has_a_checksum_of_every_file_and_what_made_them(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "a.txt").write_bytes(b"one")
    (tmp_path / "figures" / "b.png").write_bytes(b"two")
    (tmp_path / "manifest.json").write_text("of an earlier state")
    manifest = json.loads(write_manifest(RunFolder(tmp_path), ["seefar", "run"]).read_text())
    assert manifest["files"] == {
        "a.txt": hashlib.sha256(b"one").hexdigest(),
        "figures/b.png": hashlib.sha256(b"two").hexdigest(),
    }
    assert manifest["command"] == ["seefar", "run"]
    assert manifest["packages"]["torch"]
    assert manifest["machine"]["threads"] == torch.get_num_threads()
    assert manifest["machine"]["instructions"] in torch.__config__.show()  # "CPU capability usage: AVX2"
