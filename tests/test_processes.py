"""Several processes: gloo on loopback; and two commands at once."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from textwrap import indent
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import seefar
from seefar.cli.launch import run_ranks
from seefar.cli.main import main
from seefar.data.shapes import load_shapes
from seefar.errors import ChoiceError
from seefar.runs.arrays import load_tensors
from seefar.training import distributed
from seefar.training.loop import build_batches, build_model
from seefar.training.recipe import recipe

BEGIN = """
import json, os, pathlib
import torch
import seefar
from seefar.data.shapes import load_shapes
from seefar.training import distributed
def tell(found): pathlib.Path(f"rank {os.environ['RANK']}").write_text(json.dumps(found))
with distributed.joined():
"""
Group = Callable[..., list[Any]]


@pytest.fixture
def group(in_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Group:
    """Runs a script in each process of a group; returns what each of them has told last."""

    def run(size: int, script: str, code: int = 0) -> list[Any]:
        monkeypatch.setattr("seefar.cli.launch.RANK", BEGIN + indent(script, "    "))
        assert run_ranks(size, []) == (size * [code], False)
        assert "Warning" not in capfd.readouterr().err
        return [json.loads((in_folder / f"rank {rank}").read_text()) for rank in range(size)]

    return run


def command(*words: str, folder: Path, begin: tuple[str, ...] = ("-m", "seefar")) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *begin, *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ranks(launcher: int) -> dict[int, int]:
    """Process ids by rank of what a launcher began."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(re.findall(r"^PPid:\s+(\d+)", (path / "status").read_text(), re.MULTILINE)[0])
            if parent == launcher and (rank := re.search(rb"\0RANK=(\d+)\0", (path / "environ").read_bytes())):
                found[int(rank[1])] = int(path.name)
        except OSError:
            pass  # it has ended
    return found


def lives(process: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False


def listening(process: int) -> set[str]:
    """The addresses, as Linux writes them in hexadecimal, on which a process listens."""
    files = Path(f"/proc/{process}/fd").iterdir()
    own = {os.readlink(file) for file in files if file.is_symlink()}
    lines = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()]
    return {words[1].split(":")[0] for words in lines if words[3] == "0A" and f"socket:[{words[9]}]" in own}


def wait_until(there: Callable[[], bool], process: subprocess.Popen[str] | None = None, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def has_a_row(log: Path) -> bool:
    return log.exists() and "[1," in log.read_text()


@pytest.mark.slow
def test_processes_share_agree_and_train_and_only_the_first_writes(group: Group) -> None:
    """33 images: the last batch of each epoch has one, so that all processes but one have none."""
    script = """
found = dict(sum=distributed.all_reduce(torch.tensor([distributed.own_rank(), 1.0])).tolist())
found["any"] = distributed.any_rank(distributed.own_rank() == 2, False)
found["bytes"] = distributed.broadcast(b"0" if distributed.is_main() else b"other").decode()
plan = seefar.recipe("demo", width=2, epochs=2, batch_size=16, held_out=7)
folder = pathlib.Path("run") if distributed.is_main() else pathlib.Path("another")
tell(found)
run = seefar.run(plan, load_shapes(40, 20), folder, progress=seefar.SILENT)
found["history"] = [[row.step, row.epoch_accuracy, row.held_out_accuracy] for row in run.run.history]
tell(found)
"""
    found = group(3, script)
    history = found[0].pop("history")
    assert found == 3 * [{"sum": [3, 3], "any": [True, False], "bytes": "0"}]
    assert [step for step, *_ in history] == [3, 6]
    for _, accuracy, held_out in history:
        assert 33 * accuracy == pytest.approx(round(33 * accuracy))
        assert 7 * held_out == pytest.approx(round(7 * held_out))
    assert seefar.verify(Path("run")) == []
    assert not Path("another").exists()


@pytest.mark.slow
def test_a_process_that_fails_ends_the_others(group: Group) -> None:
    """Of which one waits for the other."""
    script = """
import sys
sys.excepthook = lambda kind, *_: tell(kind.__name__)
if not distributed.is_main():
    raise seefar.DataError("nothing there")
distributed.any_rank(False)
"""
    assert group(2, script, code=1) == ["ProcessError", "DataError"]


@pytest.mark.slow
def test_gradients_are_those_of_one_process_over_the_same_parts(group: Group) -> None:
    """Also of a last batch of 7 images, whose parts are not equal: each image counts alike."""
    size = 3
    script = """
import torch.nn.functional as F
from seefar.training.distributed import data_parallel
from seefar.training.loop import build_batches, build_model
plan, data = seefar.recipe("demo", width=2, batch_size=16), load_shapes(23, 10)
found = []
for number in (0, 1):
    model = build_model(plan, data).train().double()  # float32 rounds by more than 1e-6 here
    classify = data_parallel(model, model.classify)
    batch = build_batches(plan, data)[0, number]
    rows, weight = distributed.part(len(batch.labels))
    logits = classify(model.normalize(batch.images[rows]).double())
    (weight * F.cross_entropy(logits, batch.labels[rows])).backward()
    found.append([parameter.grad.flatten().tolist() for parameter in model.parameters()])
tell(found)
"""
    found = group(size, script)
    plan, data = recipe("demo", width=2, batch_size=16), load_shapes(23, 10)
    for number, length in enumerate((16, 7)):
        model, batch = build_model(plan, data).train().double(), build_batches(plan, data)[0, number]
        assert len(batch.labels) == length
        bounds = [-(-length * rank // size) for rank in range(size + 1)]
        loss = torch.zeros((), dtype=torch.float64)
        for start, stop in pairwise(bounds):
            logits = model.classify(model.normalize(batch.images[start:stop]).double())
            loss = loss + F.cross_entropy(logits, batch.labels[start:stop], reduction="sum") / length
        loss.backward()
        for at, parameter in enumerate(model.parameters()):
            assert parameter.grad is not None
            for one in found:
                assert np.abs(np.array(one[number][at]) - parameter.grad.flatten().numpy()).max() < 1e-12


TRAIN = ("train", "demo", "--width", "2", "--epochs", "1", "--batch-size", "64", "--device", "cpu")
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "3", "-m", "seefar")


@pytest.mark.slow
def test_a_killed_process_restarts_and_gives_the_same_bytes(tmp_path: Path) -> None:
    """Three processes, of which first the last and then the first, which writes, is killed; plain torchrun beside."""
    undisturbed = command(*TRAIN, "--name", "whole", folder=tmp_path, begin=TORCHRUN)
    output, errors = undisturbed.communicate(timeout=240)
    assert undisturbed.returncode == 0, errors
    assert output.splitlines()[0] == "runs/whole/weights.safetensors"  # by one of them
    words = ("--processes", "3", "--max-restarts", "2", "--checkpoint-minutes", "0", "--name", "killed")
    killed = command(*TRAIN, *words, folder=tmp_path)
    checkpoint = tmp_path / "runs" / "killed" / "checkpoint.safetensors"
    for rank in (2, 0):
        wait_until(checkpoint.exists, killed)
        before = checkpoint.stat().st_ino
        wait_until(lambda before=before: checkpoint.stat().st_ino != before, killed)  # until it goes on from there
        os.kill(ranks(killed.pid)[rank], signal.SIGKILL)
        time.sleep(1)
    _, errors = killed.communicate(timeout=240)
    assert killed.returncode == 0, errors
    assert (tmp_path / "runs" / "killed" / "log.txt").read_text().count("demo: ") == 3
    weights = [tmp_path / "runs" / name / "weights.safetensors" for name in ("whole", "killed")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert seefar.verify(tmp_path / "runs" / "killed") == []


@pytest.mark.slow
def test_of_two_commands_the_second_is_refused_and_the_first_continues(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("train", "demo", "--width", "1", "--epochs", "200", "--log-every", "1", "--device", "cpu", "--quiet")
    first, log = command(*words, folder=in_folder), Path("runs/demo/log.txt")
    wait_until(lambda: has_a_row(log), first)
    assert main([*words]) == 2
    assert "runs/demo" in capsys.readouterr().err
    before = log.stat().st_size
    wait_until(lambda: log.stat().st_size > before, first)
    first.terminate()
    first.communicate(timeout=60)
    assert first.returncode == 130
    assert Path("runs/demo/checkpoint.safetensors").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_sigterm_to_all_saves_once_and_one_process_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meanwhile nothing listens on the network, and nothing was imported from the current folder."""
    (tmp_path / "random.py").write_text("raise SystemExit('imported from the current folder')")
    console = ("-c", "import sys; sys.path.remove(''); from seefar.cli.main import main; sys.exit(main())")
    words = (*TRAIN, "--log-every", "5", "--name", "stopped")
    begun, folder = command(*words, "--processes", "2", folder=tmp_path, begin=console), tmp_path / "runs" / "stopped"
    wait_until(lambda: has_a_row(folder / "log.txt"), begun)
    loopback = "0100007F"
    assert listening(begun.pid) == set()
    assert [listening(process) for process in ranks(begun.pid).values()] == [{loopback}, {loopback}]
    os.killpg(begun.pid, signal.SIGTERM)
    _, errors = begun.communicate(timeout=60)
    assert begun.returncode == 130, errors
    assert errors.count("saved after step") == 1
    assert "Traceback" not in errors
    step = load_tensors(folder / "checkpoint.safetensors")[1]["step"]
    assert 0 < step < 63
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--quiet"]) == 0
    assert [row.step for row in seefar.load_run(folder).history] == [*range(5, 61, 5), 63]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process is not told that its launcher was killed")
def test_processes_of_a_killed_launcher_save_and_end(tmp_path: Path) -> None:
    begun = command(*TRAIN, "--processes", "2", "--log-every", "5", "--name", "left", folder=tmp_path)
    folder = tmp_path / "runs" / "left"
    wait_until(lambda: has_a_row(folder / "log.txt"), begun)
    left = ranks(begun.pid)
    assert len(left) == 2
    begun.kill()
    begun.communicate(timeout=60)  # they hold its output open until they end
    wait_until(lambda: not any(map(lives, left.values())), seconds=10)
    assert load_tensors(folder / "checkpoint.safetensors")[1]["step"] < 63


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"WORLD_SIZE": "auto"}, "WORLD_SIZE"),
        ({"RANK": "2"}, "RANK"),
        ({"MASTER_PORT": "99999"}, "99999"),
    ],
)
def test_impossible_launcher_variables_are_refused(
    variables: dict[str, str], named: str, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ChoiceError, match=named), distributed.joined():
        pass


def test_the_process_group_of_another_program_is_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program may train in one of its own processes only; to wait for the others would be for ever."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    assert distributed.world_size() == 1
    assert distributed.is_main()
