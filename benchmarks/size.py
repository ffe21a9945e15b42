"""What size costs: seconds and peak memory of loading, evaluating and reporting very many pictures or classes.

    nice python benchmarks/size.py [--home DIR] > results/size.json  # on a disk with a million free inodes
    nice python benchmarks/size.py --only load_1000000x10 --home DIR

Folders of hard links to a few small pictures: what is measured is the number of files and of mistakes, not their
bytes. Each step runs in a process of its own, whose peak memory (VmHWM) is what the system counted, Python and torch
included: `start` is a process that has only imported them. The network has width 2 and its first weights, so that
nearly every test image is a mistake: the largest tables and pages that so many images can give. Memory and sizes of
files do not depend on what else the machine does; seconds do.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import seefar
from lab.measuring import arguments, print_result, seconds
from seefar.pipeline import evaluate_run, report_run
from seefar.runs.files import write_text
from seefar.runs.folder import RunFolder
from seefar.training.loop import build_model
from seefar.training.run import load_run, save_weights, training_in
from seefar.training.state import HistoryRow, to_csv

LINKS = 50_000  # ext4 admits 65,000 to a file
SIZE = 16
RECIPE = seefar.recipe("demo", width=2, image_size=SIZE)
CASES = {
    # name: pictures for training, for the test, classes, whether they are also evaluated and reported
    "load_1000000x10": (900_000, 100_000, 10, False),
    "evaluate_10000x10": (1_000, 10_000, 10, True),
    "evaluate_100000x10": (1_000, 100_000, 10, True),
    "evaluate_10000x1000": (1_000, 10_000, 1_000, True),
}


def make_folder(home: Path, train: int, test: int, classes: int) -> Path:
    """A folder of pictures by class, all of them links to a few files."""
    rng = np.random.default_rng(0)
    folder = home / "data"
    sources = []
    for number in range(-(-(train + test) // LINKS)):
        sources.append(home / f"{number}.png")
        Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)).save(sources[-1])
    made = 0
    for part, count in (("train", train), ("test", test)):
        for label in range(classes):
            place = folder / part / f"class-{label:04d}"
            place.mkdir(parents=True)
            for number in range(count // classes):
                os.link(sources[made // LINKS], place / f"{number:07d}.png")
                made += 1
    return folder


def load(home: Path) -> seefar.Data:
    """Read the layout and all pictures, or what is kept of them."""
    os.environ["SEEFAR_CACHE"] = str(home / "cache")
    return seefar.load_data(str(home / "data"), image_size=SIZE, progress=seefar.SILENT)


def begin(home: Path) -> None:
    """A run folder as a training leaves it, without training."""
    data, folder = load(home), RunFolder(home / "run")
    session = {"device": "cpu", "precision": "float32"}
    with training_in(folder, RECIPE, data, session, ["benchmarks/size.py"], seefar.SILENT):
        save_weights(folder, build_model(RECIPE, data), RECIPE, data)
        write_text(folder.history, to_csv([HistoryRow(1, 1, 0.0, SIZE, 0.1, 2.3, 0.1, 0.1)]))


def evaluate(home: Path) -> None:
    """Predictions, metrics, mistakes, tables and figures."""
    evaluate_run(load_run(home / "run", "cpu"), load(home), progress=seefar.SILENT)


def report(home: Path) -> None:
    """The page."""
    report_run(load_run(home / "run", "cpu"), load(home), progress=seefar.SILENT)


def start(_home: Path) -> None:
    """Nothing."""


def measured(step: Callable[[Path], object], home: Path) -> dict[str, float]:
    """Seconds and peak memory of a step in a process of its own."""
    receiver, sender = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_child, args=(step, home, sender))
    process.start()
    sender.close()
    try:
        found: dict[str, float] = receiver.recv()
    except EOFError:
        found = {}
    process.join()
    return found or {"exit_code": float(process.exitcode or 0)}


def _child(step: Callable[[Path], object], home: Path, sender: Any) -> None:
    taken = seconds(lambda: step(home))
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    sender.send({"seconds": round(taken, 1), "peak_mib": round(int(peak) / 1024)})


def case(home: Path, train: int, test: int, classes: int, evaluated: bool) -> dict[str, Any]:
    """All steps of one folder."""
    make_folder(home, train, test, classes)
    print(f"{train + test} links", file=sys.stderr, flush=True)
    steps = {"start": start, "load": load, "load_again": load}
    if evaluated:
        steps |= {"begin": begin, "evaluate": evaluate, "report": report}
    found: dict[str, Any] = {"train": train, "test": test, "classes": classes}
    for name, step in steps.items():
        found[name] = measured(step, home)
        print(name, found[name], file=sys.stderr, flush=True)
    folder = home / "run"
    if evaluated:
        found["mib"] = {
            path.relative_to(folder).as_posix(): round(path.stat().st_size / 2**20, 2)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.stat().st_size > 2**19
        }
    return found


def main() -> None:
    """Measure all cases, and print the result as JSON."""
    chosen = arguments(__doc__, home=str, only=str)
    found = {}
    for name, numbers in CASES.items():
        if chosen.only in (None, name):
            home = Path(tempfile.mkdtemp(dir=chosen.home))
            try:
                found[name] = case(home, *numbers)
            finally:
                shutil.rmtree(home)
    print_result({"cases": found, "image_size": SIZE})


if __name__ == "__main__":
    main()
