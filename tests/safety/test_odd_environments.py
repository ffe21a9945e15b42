"""Variables, terminals, paths and working folders that are odd or of a stranger."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tiny_job import TINY

import seefar
from seefar.data import Data
from seefar.errors import ChoiceError, SeefarError
from seefar.runs.folder import verify
from seefar.training import distributed

FIGURES = """
from seefar.cli.main import main
main(["--version"])
import matplotlib
print(matplotlib.get_backend(), matplotlib.rcParams["text.usetex"], matplotlib.rcParams["font.size"])
"""


@pytest.mark.parametrize("backend", ["nonsense", ""])
def test_figures_follow_no_backend_and_no_matplotlibrc_of_the_current_folder(backend: str, in_folder: Path) -> None:
    Path("matplotlibrc").write_text("backend: module://stranger\ntext.usetex: True\nfont.size: 50\n")
    Path("stranger.py").write_text("raise SystemExit('it was run')")
    words = [sys.executable, "-c", FIGURES]
    found = subprocess.run(words, env={**os.environ, "MPLBACKEND": backend}, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1].lower() == "agg false 10.0"


def test_an_unknown_users_home_is_a_missing_path() -> None:
    with pytest.raises(SeefarError, match="nobody-here"):
        verify("~nobody-here/p.csv")


@pytest.mark.parametrize("empty", ["WORLD_SIZE", "RANK", "MASTER_ADDR"])
def test_empty_launcher_variables_count_as_unset(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, "" if name == empty else value)
    with distributed.joined():
        assert distributed.world_size() == 1


@pytest.mark.parametrize("rank", ["0", pytest.param("1", marks=pytest.mark.slow)])
def test_a_missing_partner_times_out(rank: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert timedelta(minutes=10) >= distributed.TIMEOUT
    monkeypatch.setattr(distributed, "TIMEOUT", timedelta(seconds=1))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    for name, value in {"WORLD_SIZE": "2", "RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, value)
    began = time.monotonic()
    with pytest.raises(ChoiceError, match=f"{rank} of 2") as error, distributed.joined():
        pytest.fail("nobody else is there")
    assert error.value.exit_code == 2
    assert time.monotonic() - began < 30


@pytest.mark.slow
@pytest.mark.parametrize("name", ["\udcff/\u202e"])
def test_a_run_works_in_a_folder_whose_path_is_not_unicode(name: str, few: Data, tmp_path: Path, coarse: None) -> None:
    seefar.run(TINY, replace(few, name=name), tmp_path / "run", top=2, device="cpu", progress=seefar.SILENT)
    assert verify(tmp_path / "run") == []
    assert name.encode("utf-8", "replace").decode() in (tmp_path / "run" / "report.html").read_text("utf-8")
