"""Several processes: gloo on loopback."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import seefar
from seefar import processes
from seefar.cli.main import main
from seefar.data.shapes import load_shapes
from seefar.progress import SILENT
from seefar.runs.tensors import load_tensors
from seefar.training.recipe import recipe
from seefar.training.setup import build_batches, build_model

BEGIN = """
import json, sys, pathlib
import numpy as np, torch
import seefar
from seefar import processes
from seefar.data.shapes import load_shapes
from seefar.progress import SILENT
"""
FILES = ("predictions.npz", "metrics.json", "mistakes.csv", "maps.npz", "explanation.json")


def group(size: int, script: str, folder: Path, timeout: float = 120) -> list[object]:
    """What a script puts into `found` in each process of a group, without a launcher."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    lines = "\n".join("    " + line for line in script.strip().splitlines())
    path = folder / "script.py"
    path.write_text(f"{BEGIN}\nwith processes.joined():\n{lines}\nprint(json.dumps(found))\n")
    shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    begun = [
        subprocess.Popen(
            [sys.executable, str(path)],
            cwd=folder,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    found = []
    try:
        for process in begun:
            output, errors = process.communicate(timeout=timeout)
            assert process.returncode == 0, errors
            assert "Warning" not in errors
            found.append(json.loads(output))
    finally:
        for process in begun:
            process.kill()
    return found


def command(*words: str, folder: Path, launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *launcher, "seefar", *words],
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


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def wait_for_a_row(log: Path, process: subprocess.Popen[str]) -> None:
    wait_for(log, process)
    end = time.monotonic() + 120
    while "[1," not in log.read_text() and time.monotonic() < end:
        time.sleep(0.02)


def same(one: Path, other: Path, *names: str) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_alone_they_do_nothing() -> None:
    tensor, rows = torch.arange(3.0), np.arange(5)
    with processes.joined():
        assert processes.size() == 1
        assert processes.first()
        part = processes.part(7)
        assert (part.rows, part.count) == (slice(0, 7), 7)
        assert part.weigh(tensor) is tensor
        assert processes.total(tensor) is tensor
        assert processes.agree(False, True) == (False, True)
        assert processes.first_then_others(lambda: 5) == 5
        assert processes.in_parts(lambda array: (array,), rows, unit=2)[0] is rows
        assert processes.told(b"same") == b"same"


def test_three_processes_share_sum_agree_and_gather(tmp_path: Path) -> None:
    script = """
rank = int(__import__("os").environ["RANK"])
parts = {n: (lambda p: [p.rows.start, p.rows.stop, p.count, p.weight])(processes.part(n)) for n in (1, 2, 7, 16)}
asked = []
twice = lambda array: (asked.append(len(array)), (array * 2, array[:, None] > 3))[1]
two = processes.in_parts(twice, np.arange(7), unit=2)
few = processes.in_parts(twice, np.arange(2), unit=2)
def refuse():
    if rank == 2:
        raise seefar.errors.DataError("nothing there")
try:
    processes.first_then_others(refuse)
except seefar.SeefarError as error:
    refused = [type(error).__name__, str(error)]
from seefar.runs.copies import copied
from seefar.runs.folder import RunFolder
pathlib.Path("run/figures").mkdir(parents=True, exist_ok=True)
if rank == 0:
    pathlib.Path("run/figures/a.png").write_bytes(b"picture")
copy = copied(lambda: RunFolder(pathlib.Path("run"))).path
found = {
    "parts": parts, "asked": asked, "two": [one.tolist() for one in two], "few": few[0].tolist(),
    "agree": processes.agree(rank == 2, False), "total": processes.total(torch.tensor([rank, 1.0])).tolist(),
    "refused": refused, "told": processes.told(b"%d" % rank).decode(),
    "copy": [str(copy) == "run", (copy / "figures/a.png").read_text()],
}
"""
    found = group(3, script, tmp_path)
    for n, taken in {1: [1, 0, 0], 2: [1, 1, 0], 7: [3, 2, 2], 16: [6, 5, 5]}.items():
        parts = [one["parts"][str(n)] for one in found]
        assert [count for *_, count, _ in parts] == taken
        covered = [row for start, stop, count, _ in parts for row in range(start, stop if count else start)]
        assert covered == list(range(n))
        assert sum(weight for *_, weight in parts) / 3 == pytest.approx(1)
        assert all(stop > start for start, stop, *_ in parts)
    assert [one["asked"] for one in found] == [[4, 2], [2], [1]]  # whole batches of 2, in order
    for one in found:
        assert one["two"] == [[0, 2, 4, 6, 8, 10, 12], [[False]] * 4 + [[True]] * 3]
        assert one["few"] == [0, 2]
        assert one["agree"] == [True, False]
        assert one["total"] == [3, 3]
        assert one["told"] == "0"
        assert one["refused"][1] == "nothing there"
        assert one["copy"][1] == "picture"
    assert [one["refused"][0] for one in found] == ["ProcessError", "ProcessError", "DataError"]
    assert [one["copy"][0] for one in found] == [True, False, False]


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_gradients_are_those_of_one_process_over_the_same_parts(size: int, tmp_path: Path) -> None:
    """Also of a last batch of 7 images, whose parts are not equal: each image counts alike."""
    script = """
import torch.nn.functional as F
from seefar.training.parallel import shared
from seefar.training.setup import build_batches, build_model
plan, data = seefar.recipe("demo", width=2, batch_size=16), load_shapes(23, 10)
found = []
for number in (0, 1):
    model = build_model(plan, data).train().double()  # float32 rounds by more than 1e-6 here
    classify = shared(model, model.classify)
    batch = build_batches(plan, data)[0, number]
    part = processes.part(len(batch.labels))
    logits = classify(model.normalize(batch.images[part.rows]).double())
    part.weigh(F.cross_entropy(logits, batch.labels[part.rows])).backward()
    found.append([parameter.grad.flatten().tolist() for parameter in model.parameters()])
"""
    found = group(size, script, tmp_path)
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


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_all_end_with_the_same_weights_and_the_history_is_of_all_images(size: int, tmp_path: Path) -> None:
    """33 images: the last batch of each epoch has one, so that all processes but one have none; two steps averaged."""
    script = """
from seefar.model.inference import weights_fingerprint
plan = seefar.recipe("demo", width=2, epochs=2, batch_size=16, held_out=7, average=0.4)
run = seefar.train(plan, load_shapes(40, 20), pathlib.Path("run"), progress=SILENT)
found = [weights_fingerprint(run.model), [[row.step, row.loss, row.epoch_accuracy, row.held_out_accuracy]
         for row in run.history]]
"""
    found = group(size, script, tmp_path)
    assert all(one == found[0] for one in found)
    rows = found[0][1]
    assert [step for step, *_ in rows] == [3, 6]
    assert all(
        np.isfinite(loss) and 33 * accuracy == pytest.approx(round(33 * accuracy)) for _, loss, accuracy, _ in rows
    )
    assert seefar.verify(tmp_path / "run") == []
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


@pytest.mark.slow
def test_predictions_mistakes_and_maps_are_the_same_bytes_as_of_one_process(tmp_path: Path) -> None:
    test = 520  # three batches of predictions
    plan, data = recipe("demo", width=2, epochs=1, batch_size=32), load_shapes(64, test)
    seefar.run(plan, data, tmp_path / "one", progress=SILENT)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    for path in (tmp_path / "two").rglob("*"):
        if path.name in (*FILES, "manifest.json", "report.html"):
            path.unlink()
    script = f"""
plan = seefar.recipe("demo", width=2, epochs=1, batch_size=32)
result = seefar.run(plan, load_shapes(64, {test}), pathlib.Path("two"), progress=SILENT)
found = len(result.explanation.mistakes)
"""
    first, second = group(2, script, tmp_path)
    assert first == second > 25
    assert same(tmp_path / "one", tmp_path / "two", *FILES)
    assert (tmp_path / "two" / "report.html").exists()
    assert seefar.verify(tmp_path / "two") == []


TRAIN = ("train", "demo", "--width", "2", "--epochs", "1", "--batch-size", "64", "--device", "cpu")
TORCHRUN = ("torch.distributed.run", "--nproc-per-node", "3", "-m")


@pytest.mark.slow
def test_a_process_that_is_killed_is_begun_again_and_comes_to_the_same_bytes(tmp_path: Path) -> None:
    """Three processes, of which first the last and then the first, which writes, is killed; plain torchrun beside."""
    undisturbed = command(*TRAIN, "--name", "whole", folder=tmp_path, launcher=TORCHRUN)
    output, errors = undisturbed.communicate(timeout=240)
    assert undisturbed.returncode == 0, errors
    assert output.splitlines()[0] == "runs/whole/weights.safetensors"  # by one of them
    words = ("--processes", "3", "--max-restarts", "2", "--checkpoint-minutes", "0", "--name", "killed")
    killed = command(*TRAIN, *words, folder=tmp_path)
    checkpoint = tmp_path / "runs" / "killed" / "checkpoint.safetensors"
    for rank in (2, 0):
        wait_for(checkpoint, killed)
        before = checkpoint.stat().st_ino
        end = time.monotonic() + 120
        while checkpoint.stat().st_ino == before and time.monotonic() < end:  # until it goes on from there
            time.sleep(0.01)
        os.kill(ranks(killed.pid)[rank], signal.SIGKILL)
        time.sleep(1)
    _, errors = killed.communicate(timeout=240)
    assert killed.returncode == 0, errors
    assert (tmp_path / "runs" / "killed" / "log.txt").read_text().count("demo: ") == 3
    assert same(tmp_path / "runs" / "whole", tmp_path / "runs" / "killed", "weights.safetensors")
    assert seefar.verify(tmp_path / "runs" / "killed") == []


@pytest.mark.slow
def test_sigterm_to_all_is_saved_once_and_one_process_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = command(*TRAIN, "--processes", "2", "--log-every", "5", "--name", "stopped", folder=tmp_path)
    folder = tmp_path / "runs" / "stopped"
    wait_for_a_row(folder / "log.txt", begun)
    os.killpg(begun.pid, signal.SIGTERM)
    _, errors = begun.communicate(timeout=60)
    assert begun.returncode == 130, errors
    assert errors.count("saved after step") == 1
    assert "Traceback" not in errors
    assert (folder / "log.txt").read_text().count("interrupted after step") == 1
    step = load_tensors(folder / "checkpoint.safetensors")[1]["step"]
    assert 0 < step < 63
    monkeypatch.chdir(tmp_path)
    assert main([*TRAIN, "--log-every", "5", "--name", "stopped", "--quiet"]) == 0
    assert [row.step for row in seefar.load_run(folder).history] == [*range(5, 61, 5), 63]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process is not told that its launcher was killed")
def test_the_processes_of_a_launcher_that_is_killed_save_and_end(tmp_path: Path) -> None:
    begun = command(*TRAIN, "--processes", "2", "--log-every", "5", "--name", "left", folder=tmp_path)
    folder = tmp_path / "runs" / "left"
    wait_for_a_row(folder / "log.txt", begun)
    left = ranks(begun.pid)
    assert len(left) == 2
    begun.kill()
    begun.communicate(timeout=60)  # they hold its output open until they end
    end = time.monotonic() + 10
    while any(map(lives, left.values())) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(map(lives, left.values()))
    assert load_tensors(folder / "checkpoint.safetensors")[1]["step"] < 63


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--processes", "0"), "processes is 0: choose 1 or more. (flag: --processes)"),
        (("--processes", "2", "--max-restarts", "-1"), "max_restarts is -1"),
        (("--processes", "33"), "processes is 33, but a batch has 32 images"),
        (("--processes", "2", "--data", "nowhere"), "nowhere"),
    ],
)
def test_refusals_come_before_the_launch(
    words: tuple[str, ...], told: str, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "demo", *words]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("seefar: ") == 1
