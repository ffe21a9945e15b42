"""Kills: a run is killed at random moments and resumed; it must end with the same bits as an undisturbed one.

    nice python benchmarks/faults.py [--moments 200] [--seed 0] [--minutes 60] > results/faults.json

A small run (train, evaluate, explain, report) is started in a process of its own and gets SIGKILL, SIGTERM or SIGINT at
a random moment; half of these moments are during the writing of a file, as soon as a temporary file is seen. The same
command is started again until it ends well. Then all files are compared with those of an undisturbed run.
"""

from __future__ import annotations

import argparse
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
from pathlib import Path
from typing import Any

import torch

import seefar
from seefar.data.shapes import load_shapes
from seefar.runs.folder import RunFolder, verify
from seefar.runs.provenance import provenance

TINY = seefar.recipe("demo", width=2, epochs=3, batch_size=16, log_every=1)
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
TRIES = 8
SECONDS = 120  # after which a process hangs
TIMED = ("history.csv", "log.txt", "manifest.json", "report.html", "history.png", ".lock")  # they contain times
EXPECTED = ("KeyboardInterrupt", "seefar.errors.Interrupted")  # a signal outside the loop ends Python as usual


def run(folder: Path) -> None:
    """The run: every step has its checkpoint and its row."""
    seefar.run(TINY, load_shapes(40, 20), folder, device="cpu", top=2, checkpoint_minutes=0.0, progress=seefar.SILENT)


def start(folder: Path) -> int:
    """The run in a process of its own; forked, since imports take longer than the run."""
    if child := os.fork():
        return child
    code = 1
    try:
        os.dup2(os.open(folder.with_suffix(".errors"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
        run(folder)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(child: int, seconds: float = 0.0) -> int | None:
    """The exit status of a process, or None if it lives on after so many seconds."""
    ends = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found or time.monotonic() > ends:
            return os.waitstatus_to_exitcode(status) if found else None
        time.sleep(0.001)


def strike(child: int, folder: Path, rng: random.Random, seconds: float, number: signal.Signals) -> int | None:
    """Send the signal at a random moment, or at the next writing of a file after it; the exit code if it came late."""
    code = ended(child, rng.uniform(0, seconds))
    writing = rng.random() < 0.5
    while code is None and writing and not any(folder.rglob(".part-*")):
        code = ended(child)
    if code is None:
        os.kill(child, number)
    return code


def content(folder: Path) -> dict[str, str]:
    """SHA-256 of all that must be the same."""
    with RunFolder(folder).history.open(newline="") as file:
        parts = {"history.csv": repr([{**row, "seconds": ""} for row in csv.DictReader(file)]).encode()}
    parts |= {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name not in TIMED}
    return {name: hashlib.sha256(value).hexdigest() for name, value in parts.items()}


def disturbed(folder: Path, expected: dict[str, str], seed: int, seconds: float) -> dict[str, Any]:
    """One run that is struck once or more and resumed; what was lost, if anything."""
    rng, strikes, lost = random.Random(seed), 0, []
    number = rng.choice(SIGNALS)
    for attempt in range(TRIES):
        child = start(folder)
        code = strike(child, folder, rng, seconds, number) if attempt < TRIES - 2 else None
        if code is None:
            strikes += attempt < TRIES - 2
            code = ended(child, SECONDS)
        if code is None:
            os.kill(child, signal.SIGKILL)
            ended(child, SECONDS)
            lost.append("it hangs")
        if code == 0:
            break
        errors = folder.with_suffix(".errors").read_text().strip().splitlines()
        if errors and not errors[-1].startswith(EXPECTED):
            lost.append(errors[-1][:300])
    else:
        lost.append(f"not finished after {TRIES} attempts")
    if not lost:
        found = content(folder)
        lost = [f"{name} differs" for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)]
        lost += verify(folder) + [f"left behind: {path.name}" for path in folder.rglob(".part-*")]
    return {"signal": number.name, "strikes": strikes, "lost": lost}


def run_all(home: Path, moments: int, seed: int, minutes: float) -> dict[str, Any]:
    """Disturbed runs until so many moments, or so many minutes, are over."""
    torch.set_num_threads(1)
    run(home / "run")  # here, so that the children find everything imported
    expected = content(home / "run")
    shutil.rmtree(home / "run")
    began = time.monotonic()
    ended(start(home / "run"), SECONDS)
    seconds = time.monotonic() - began
    losses: list[Any] = [] if content(home / "run") == expected else ["two undisturbed runs differ"]
    struck, runs = Counter[str](), 0
    while struck.total() < moments and time.monotonic() - began < 60 * minutes:
        shutil.rmtree(home / "run")
        found = disturbed(home / "run", expected, 1000 * seed + runs, seconds)
        struck[found["signal"]] += found["strikes"]
        losses += [{"run": runs, **found}] if found["lost"] else []
        runs += 1
        print(f"{struck.total()} moments, {runs} runs, {len(losses)} with losses", file=sys.stderr, flush=True)
    return {
        "moments": struck.total(),
        "runs": runs,
        "by_signal": dict(struck),
        "seconds_of_an_undisturbed_run": round(seconds, 1),
        "losses": losses,
    }


def main() -> None:
    """Kill and resume, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="stop earlier after so many")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        result = run_all(Path(home), arguments.moments, arguments.seed, arguments.minutes)
    print(json.dumps({"seed": arguments.seed, **result, **provenance()}, indent=2))


if __name__ == "__main__":
    main()
