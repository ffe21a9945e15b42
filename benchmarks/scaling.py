"""Images per second of one process with two threads beside two processes with one, and what communication takes.

    python benchmarks/scaling.py [--width 64] [--rounds 3] > results/scaling.json

Both train `seefar.train`'s recipe `fast` at 32x32 pixels on noise, on the CPU, with the same global batch of 128, and
take turns. The first steps, while memory is taken, are left out. Beside them: one all-reduce of as many bytes as the
gradients have, and one `any_rank`, each alone. Two processes on two cores show what the group itself costs; they cannot
show what more GPUs bring. For those there is a model of the cost, from numbers that are assumed: `predict`.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

import seefar
from lab.measuring import arguments, print_result, seconds, take_turns
from seefar.training.distributed import all_reduce, any_rank, joined, world_size
from throughput import FAST, noise

CONTENDERS = {"1 process x 2 threads": (1, 2), "2 processes x 1 thread": (2, 1), "1 process x 1 thread": (1, 1)}
CALLS = 10
ASSUMED = {
    "gradient_bytes": 4 * 11_173_962,  # of width 64
    "host_ms": 8.0,  # of a step, whatever its size
    "images_per_second_of_a_gpu": 20_000,
    "bytes_per_second_within_a_machine": 200e9,
    "bytes_per_second_between_machines": 25e9,  # for each GPU
    "hop_ms": 0.01,
    "agree_ms_within_a_machine": 0.1,
    "agree_ms_between_machines": 0.3,
    "gpus_of_a_machine": 8,
}
PREDICTED = ((1, 128), (8, 128), (64, 128), (512, 128), (8, 16))  # GPUs, and images that each gets in a step


def predict(gpus: int, images: int) -> dict[str, float]:
    """A step of so many GPUs with so many images each: reasoned, not measured.

    A ring all-reduce sends 2 (N - 1) / N times the gradients through the slowest link, in 2 (N - 1) hops. Nothing of it
    is hidden behind the backward pass.
    """
    between = "between_machines" if gpus > ASSUMED["gpus_of_a_machine"] else "within_a_machine"
    sent = 2 * (gpus - 1) / gpus * ASSUMED["gradient_bytes"]
    compute = max(ASSUMED["host_ms"], 1000 * images / ASSUMED["images_per_second_of_a_gpu"])
    all_reduce = 1000 * sent / ASSUMED[f"bytes_per_second_{between}"] + 2 * (gpus - 1) * ASSUMED["hop_ms"]
    agree = ASSUMED[f"agree_ms_{between}"] if gpus > 1 else 0.0
    speed = 1000 * gpus * images / (compute + all_reduce + agree)
    return {"compute_ms": compute, "all_reduce_ms": all_reduce, "agree_ms": agree, "images_per_second": speed}


def measure(width: int, batches: int) -> dict[str, float]:
    """In the first process of a group: images per second of the loop, and milliseconds of its communication."""
    recipe = replace(FAST, epochs=1, width=width, log_every=batches // 4)
    gradients = sum(parameter.numel() for parameter in seefar.ResNet18(width=width).parameters())
    found: dict[str, float] = {"gradient_bytes": 4 * gradients}
    with joined(), tempfile.TemporaryDirectory() as folder:
        if world_size() > 1:
            content = torch.zeros(gradients)
            found["all_reduce_ms"] = 1000 * median_seconds(lambda: all_reduce(content))
            found["agree_ms"] = 1000 * median_seconds(lambda: any_rank(False, False))
        data = noise(recipe.batch_size * batches)
        history = seefar.train(recipe, data, f"{folder}/run", device="cpu", progress=seefar.SILENT).history
        first, last = history[0], history[-1]
        speed = (last.step - first.step) * recipe.batch_size / (last.seconds - first.seconds)
        found["images_per_second"] = speed
        if "all_reduce_ms" in found:
            step_ms = 1000 * recipe.batch_size / speed
            found["communication_share"] = (found["all_reduce_ms"] + found["agree_ms"]) / step_ms
    return found


def median_seconds(call: Callable[[], object]) -> float:
    """Median time of a call, without the first."""
    return statistics.median([seconds(call) for _ in range(CALLS + 1)][1:])


def run(size: int, threads: int, width: int, batches: int) -> dict[str, float]:
    """What the first of so many processes measures."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    words = [sys.executable, __file__, "--one", "--width", str(width), "--batches", str(batches)]
    begun = []
    for rank in range(size):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
        place |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "OMP_NUM_THREADS": threads}
        environment = {**os.environ, **{name: str(value) for name, value in place.items()}}
        begun.append(subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate()[0] for process in begun]
    if any(process.returncode for process in begun):
        raise SystemExit("a process failed")
    measured: dict[str, float] = json.loads(outputs[0])
    return measured


def main() -> None:
    """Measure in turns; print JSON."""
    chosen = arguments(__doc__, rounds=3, width=64, batches=12, one=False)
    if chosen.one:
        print(json.dumps(measure(chosen.width, chosen.batches)))
        return
    contenders = {name: partial(run, *sizes, chosen.width, chosen.batches) for name, sizes in CONTENDERS.items()}
    rounds = take_turns(contenders, chosen.rounds)
    medians = {
        name: {key: statistics.median(one[key] for one in found) for key in found[0]} for name, found in rounds.items()
    }
    settings = {"width": chosen.width, "batches": chosen.batches, "rounds": chosen.rounds}
    predicted = [{"gpus": gpus, "images": images, **predict(gpus, images)} for gpus, images in PREDICTED]
    model = {"assumed": ASSUMED, "predicted": predicted}
    print_result({**settings, "median": medians, "all": rounds, "model": model})


if __name__ == "__main__":
    main()
