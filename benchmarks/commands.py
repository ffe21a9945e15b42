"""Seconds that commands take which train and evaluate nothing.

    python benchmarks/commands.py [--rounds 3] > results/commands.json

Each command is a process of its own with one thread, on a copy of results/fast, and CIFAR-10 is in the cache. Seconds
are those of the processor, not of the clock, so that other work on the machine disturbs less. `first page` is the time
of `seefar explain fast` until there is a page of all mistakes, before the first map; the predictions are as shipped.

`nothing to do` are seconds of the clock that `seefar explain demo` takes on a finished run after start-up: in a process
that has done it once, so that all modules are loaded.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lab.measuring import arguments, print_result, spread

SHIPPED = Path(__file__).parents[1] / "results" / "fast"
SEEFAR = [sys.executable, "-m", "seefar"]
FIRST_PAGE = """
import sys, seefar.artifacts
from seefar.cli.main import main
seefar.artifacts.explain_in_parts = lambda *_, **__: sys.exit(0)
main(["explain", *sys.argv[1:], "--explain", "shown"])
"""
NOTHING_TO_DO = """
import sys, time
from seefar.cli.main import main
main(["explain", sys.argv[1]])
started = time.perf_counter()
main(["explain", sys.argv[1]])
sys.exit(f"{time.perf_counter() - started}")
"""
COMMANDS = {
    "help": [*SEEFAR, "--help"],
    "verify": [*SEEFAR, "verify", "COPY"],
    "first page": [sys.executable, "-c", FIRST_PAGE, "COPY"],
    "report": [*SEEFAR, "report", "COPY"],
}
"""In this order on one copy; `report` finds what `first page` has left."""


def processor_seconds(words: list[str]) -> float:
    """Seconds of the processor, its own and the system's, that a process takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def nothing_to_do(rounds: int) -> list[float]:
    """Seconds of the clock after start-up, one for each process."""
    with tempfile.TemporaryDirectory() as folder:
        run, again = f"{folder}/demo", [sys.executable, "-c", NOTHING_TO_DO]
        subprocess.run([*SEEFAR, "run", "demo", "--name", run, "--quiet"], check=True, stdout=subprocess.DEVNULL)
        found = [subprocess.run([*again, run], capture_output=True, text=True).stderr for _ in range(rounds)]
    return [float(text.splitlines()[-1]) for text in found]


def main() -> None:
    """Run all commands in each round and print one JSON object."""
    rounds = arguments(__doc__, rounds=3).rounds
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            copy = shutil.copytree(SHIPPED, Path(folder) / "fast")
            for name, words in COMMANDS.items():
                found[name].append(processor_seconds([str(copy) if word == "COPY" else word for word in words]))
    result = {
        "load": os.getloadavg(),
        "processor_seconds": {name: spread(values) for name, values in found.items()},
        "nothing_to_do_seconds": spread(nothing_to_do(rounds)),
    }
    print_result(result)


if __name__ == "__main__":
    main()
