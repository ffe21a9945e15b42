"""Pulling the plug: a run is killed at random moments and goes on to the same bits; disks that are full or read-only.

    nice python benchmarks/faults.py [--moments 200] [--seed 0] [--minutes 60] > results/faults.json

A small run (train, evaluate, explain, report) is started in a process of its own, and killed at a random moment:
SIGKILL, SIGTERM or SIGINT to the process, SIGTERM to its process group. The same command is given again until it ends
well. Weights, history, predictions, mistakes and maps are then compared, to the
bit, with those of a run that nobody disturbed, and the folder must be whole. Half of the moments lie at the writing of
a file: as soon as an unfinished file is seen in the folder, the signal is sent.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import seefar.steps
import torch

import seefar
import seefar.model.resnet
from seefar.data.shapes import load_shapes
from seefar.runs.folder import RunFolder, verify
from seefar.runs.provenance import provenance
from seefar.runs.tensors import load_tensors

TINY = seefar.recipe("demo", width=2, epochs=3, batch_size=16, log_every=1)
KINDS = ("SIGKILL", "SIGTERM", "SIGINT", "group SIGTERM")
TRIES = 8
SECONDS = 120


@dataclass
class Process:
    """A child that does the run in a process group of its own; forked, since imports take longer than the run."""

    pid: int
    errors: Path
    code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, or None while it lives; minus the signal that ended it."""
        if self.code is None and (found := os.waitpid(self.pid, os.WNOHANG))[0]:
            self.code = os.waitstatus_to_exitcode(found[1])
        return self.code


def train_and_report(folder: Path) -> None:
    """The run: every step has its checkpoint and its row."""
    seefar.run(
        TINY,
        load_shapes(40, 20),
        folder,
        device="cpu",
        top=2,
        checkpoint_minutes=0.0,
        progress=seefar.SILENT,
    )


def start(folder: Path) -> Process:
    """Begin the run, or go on with it."""
    errors = folder.with_suffix(".errors")
    child = os.fork()
    if child:
        return Process(child, errors)
    code = 1
    try:
        os.setsid()
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
        train_and_report(folder)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def finish(process: Process) -> tuple[int, str]:
    """Its exit code and what it wrote to standard error; what is left of its group is ended."""
    ends = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < ends:
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    hangs = process.code is None
    while process.poll() is None:
        time.sleep(0.01)
    errors = process.errors.read_text() if process.errors.exists() else ""
    return process.poll() or 0, "Traceback: it hangs" if hangs else errors


def content(folder: Path) -> dict[str, str]:
    """SHA-256 of all that must be the same: tensors, history without its seconds, predictions, mistakes, maps."""
    run = RunFolder(folder)
    with run.history.open(newline="") as file:
        rows = [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]
    tensors, about = load_tensors(run.weights)
    parts: dict[str, Any] = {
        "weights": [about, [(name, tensor.numpy().tobytes()) for name, tensor in sorted(tensors.items())]],
        "history": rows,
        "metrics": run.metrics.read_bytes(),
        "mistakes": run.mistakes.read_bytes(),
        "explanation": run.explanation.read_bytes(),
    }
    for name, path in (("predictions", run.predictions), ("maps", run.maps)):
        with np.load(path) as archive:
            parts[name] = [(key, archive[key].tobytes()) for key in sorted(archive)]
    return {name: hashlib.sha256(repr(value).encode()).hexdigest() for name, value in parts.items()}


def strike(process: Process, kind: str) -> bool:
    """Send the signal; False if there was nothing left to send it to."""
    if process.poll() is not None:
        return False
    with contextlib.suppress(ProcessLookupError):
        if kind == "group SIGTERM":
            os.killpg(process.pid, signal.SIGTERM)
        else:
            os.kill(process.pid, getattr(signal, kind))
        return True
    return False


def wait_for(process: Process, folder: Path, rng: random.Random, seconds: float) -> str:
    """Wait for a random moment: by the clock, or, every other time, until a file is half written."""
    ends = time.monotonic() + rng.uniform(0, seconds)
    if rng.random() < 0.5:
        time.sleep(max(0.0, ends - time.monotonic()))
        return "clock"
    while process.poll() is None:
        if time.monotonic() > ends and any(folder.rglob(".part-*")):
            return "writing"
    return "clock"


def disturbed(folder: Path, wanted: dict[str, str], seed: int, seconds: float) -> dict[str, Any]:
    """One run that is struck once or more and goes on; what was lost, if anything."""
    rng = random.Random(seed)
    kind = rng.choice(KINDS)
    strikes, where, lost = 0, Counter[str](), []
    for _ in range(TRIES):
        process = start(folder)
        place = wait_for(process, folder, rng, seconds) if strikes < 6 else ""
        if place and strike(process, kind):
            strikes += 1
            where[place] += 1
        code, errors = finish(process)
        if code == 0:
            break
        if "Traceback" in errors and not errors.strip().splitlines()[-1].startswith(EXPECTED):
            lost.append(errors.strip().splitlines()[-1][:300])
        half = [path.name for path in half_written(folder)]
        lost += [f"half written: {name}" for name in half]
    else:
        lost.append(f"not finished after {TRIES} tries: {errors.strip().splitlines()[-1:]}")
    if not lost:
        found = content(folder)
        lost = [f"{name} differs" for name in wanted if found[name] != wanted[name]]
        lost += verify(folder)
        lost += [f"left behind: {path.name}" for path in folder.rglob(".*") if path.is_file()]
    return {"kind": kind, "strikes": strikes, "where": dict(where), "lost": lost}


# A signal before the loop handles it, or between two steps, ends Python as it always does; the rest are errors that the
# command line tells in one paragraph.
EXPECTED = ("KeyboardInterrupt", "seefar.errors.Interrupted")


def half_written(folder: Path) -> Iterator[Path]:
    """Files that a reader would take for whole and that are not."""
    run = RunFolder(folder)
    for path in (run.checkpoint, run.weights):
        if path.exists():
            try:
                load_tensors(path)
            except Exception:
                yield path
    for path in (run.predictions, run.maps):
        if path.exists():
            try:
                with np.load(path) as archive:
                    dict(archive)
            except Exception:
                yield path
    for path in (run.recipe, run.data, run.metrics, run.explanation, run.manifest):
        if path.exists():
            try:
                json.loads(path.read_text())
            except ValueError:
                yield path


def run_all(home: Path, moments: int, seed: int, minutes: float) -> dict[str, Any]:
    """Disturbed runs until so many moments, or so many minutes, are over."""
    torch.set_num_threads(1)
    began = time.monotonic()
    train_and_report(home / "whole")  # here, so that the children find everything imported
    process = start(home / "again")
    started = time.monotonic()
    finish(process)
    seconds = time.monotonic() - started
    wanted = content(home / "whole")
    struck, where, losses, runs = Counter[str](), Counter[str](), [], 0
    if content(home / "again") != wanted:
        losses.append({"run": -1, "lost": ["two undisturbed runs differ"]})
    while struck.total() < moments and time.monotonic() - began < 60 * minutes:
        folder = home / "disturbed"
        shutil.rmtree(folder, ignore_errors=True)
        found = disturbed(folder, wanted, 1000 * seed + runs, seconds)
        struck[found["kind"]] += found["strikes"]
        where.update(found["where"])
        if found["lost"]:
            losses.append({"run": runs, **found})
        runs += 1
        print(f"{struck.total()} moments, {runs} runs, {len(losses)} with losses", file=sys.stderr, flush=True)
    return {
        "moments": struck.total(),
        "runs": runs,
        "by_signal": dict(struck),
        "by_moment": dict(where),
        "seconds_of_an_undisturbed_run": round(seconds, 1),
        "losses": losses,
    }


def main() -> None:
    """Pull the plug, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="stop earlier after so many")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        result = run_all(Path(home), arguments.moments, arguments.seed, arguments.minutes)
    print(json.dumps({"seed": arguments.seed, **result, **provenance()}, indent=2))


if __name__ == "__main__":
    main()
