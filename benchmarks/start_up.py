"""Seconds from the command to its first training step, and the most memory a full-size epoch takes.

    python benchmarks/start_up.py [--rounds 3] > results/start_up.json

`seefar train fast` is started anew each time, on CIFAR-10 that lies in the cache, and stopped after some steps. Its
log says each step here, so that the first one is seen as soon as it is done; that includes the step itself.
"""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import tempfile
import time

from lab.measuring import arguments, print_result, spread

STEPS = 20
COMMAND = (sys.executable, "-m", "seefar", "train", "fast", "--scales", "1", "--log-every", "1")


def first_step() -> float:
    """Seconds until the first line of the log that tells of a step; the training is then let go on for a while."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        command = [*COMMAND, "--name", f"{folder}/run"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            lines = (line for line in process.stderr if line.startswith("[1,"))
            next(lines)
            seconds = time.perf_counter() - started
            for _ in range(STEPS):
                next(lines)
            process.send_signal(signal.SIGINT)
            process.stderr.read()
    return seconds


def main() -> None:
    """Measure and print one JSON object."""
    rounds = arguments(__doc__, rounds=3).rounds
    result = {
        "seconds_to_first_step": spread([first_step() for _ in range(rounds)]),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }
    print_result(result)


if __name__ == "__main__":
    main()
