"""What explaining costs: the commit before the rewrite of the package, and the code of today in float32 and bfloat16.

    SEEFAR_DATA=... python benchmarks/explaining.py [--images 800] [--rounds 3] [--threads 2] > results/explaining.json

The first test images are predicted, and all mistakes among them explained: maps, occlusion test with its controls,
health checks, and as many correct predictions. Each measurement is a process of its own, and the contenders take turns
in each round. The old commit is checked out with `git worktree` in a temporary folder, and reads its own copy of the
weights, which hold the same numbers. `passes` are images that entered the first convolution. The aim is 0.70 of the
old commit's time in float32 and 0.52 in bfloat16. Without instructions for it bfloat16 takes five times as long as
float32, so it is left out, unless --emulate is passed.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OLD = "38ffc84"


def worker(run_folder: str, data: str, precision: str, images: int, threads: int) -> dict[str, Any]:
    """One measurement, by the code that PYTHONPATH names: only functions that both commits have."""
    import torch

    import seefar
    from seefar.training.device import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(threads)
    settings: dict[str, Any] = {"precision": precision} if precision != "float32" else {}
    run = seefar.load_run(Path(run_folder), "cpu", **settings)
    test = seefar.load_data(data, progress=seefar.SILENT).test.take(range(images))
    passes = 0

    def count(_module: object, inputs: tuple[torch.Tensor, ...], _output: object) -> None:
        nonlocal passes
        passes += len(inputs[0])

    run.model.conv1.register_forward_hook(count)
    started = time.perf_counter()
    predictions = seefar.predict(run.model, test, progress=seefar.SILENT)
    predicted = time.perf_counter()
    passes_predict = passes
    explanation = seefar.explain(run.model, test, predictions, progress=seefar.SILENT)
    ended = time.perf_counter()
    outcomes = {m.index: r.outcome for m, r in zip(explanation.mistakes, explanation.repairs, strict=True)}
    return {
        "source": inspect.getfile(seefar),
        "seconds": {"predict": predicted - started, "explain": ended - predicted},
        "passes": {"predict": passes_predict, "explain": passes - passes_predict},
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "predicted": predictions.predicted.tolist(),
        "outcomes": outcomes,
    }


def measure(source: Path, arguments: list[str]) -> dict[str, Any]:
    """A worker's result, by the package under `source`."""
    environment = {**os.environ, "PYTHONPATH": str(source / "src")}
    words = [sys.executable, str(Path(__file__).resolve()), "--worker", *arguments]
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True, cwd=source)
    found: dict[str, Any] = json.loads(done.stdout)
    if not Path(found["source"]).is_relative_to(source.resolve()):
        raise SystemExit(f"measured {found['source']} instead of the package in {source}")
    return found


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, int]:
    """In how many images the predictions differ, and in how many shared mistakes the outcome of hiding."""
    pairs = zip(one["predicted"], other["predicted"], strict=True)
    shared = one["outcomes"].keys() & other["outcomes"].keys()
    return {
        "predictions": sum(mine != theirs for mine, theirs in pairs),
        "outcomes": sum(one["outcomes"][index] != other["outcomes"][index] for index in shared),
    }


def summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Best and median seconds of a contender, its peak memory, passes and counts."""
    from lab.measuring import spread  # not above, since the old commit has another package

    seconds = {name: spread([one["seconds"][name] for one in rounds]) for name in ("predict", "explain")}
    outcomes = list(rounds[0]["outcomes"].values())
    return {
        "seconds": seconds,
        "peak_mib": max(one["peak_mib"] for one in rounds),
        "passes": rounds[0]["passes"],
        "mistakes": len(outcomes),
        "repaired": outcomes.count("repaired"),
    }


def main() -> None:
    """Measure all contenders in turn and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--run", default="results/fast", help="run folder; a relative one is read in each commit")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--old", default=OLD)
    parser.add_argument("--emulate", action="store_true", help="measure bfloat16 on any processor")
    parser.add_argument("--worker", nargs=5)
    chosen = parser.parse_args()
    if chosen.worker:
        run_folder, data, precision, images, threads = chosen.worker
        print(json.dumps(worker(run_folder, data, precision, int(images), int(threads))))
        return
    from lab.measuring import print_result
    from seefar.training.device import has_native_bfloat16

    contenders = {"old": "float32", "float32": "float32"}
    if has_native_bfloat16() or chosen.emulate:
        contenders["bfloat16"] = "bfloat16"
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    with tempfile.TemporaryDirectory(prefix="seefar-") as home:
        old = Path(home) / "old"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(old), chosen.old], check=True)
        try:
            for _ in range(chosen.rounds):
                for name, precision in contenders.items():
                    arguments = [chosen.run, chosen.data, precision, str(chosen.images), str(chosen.threads)]
                    found[name].append(measure(old if name == "old" else ROOT, arguments))
        finally:
            subprocess.run([*git, "remove", "--force", str(old)], check=True)
    measured = {name: summary(rounds) for name, rounds in found.items()}
    result = {
        "load": os.getloadavg(),
        "old": chosen.old,
        "run": chosen.run,
        "images": chosen.images,
        "threads": chosen.threads,
        "measured": measured,
        "share_of_old": {
            name: {
                kind: measured[name]["seconds"]["explain"][kind] / measured["old"]["seconds"]["explain"][kind]
                for kind in ("best", "median")
            }
            for name in contenders
            if name != "old"
        },
        "differs_from_float32": {
            name: differences(found["float32"][0], found[name][0]) for name in contenders if name != "float32"
        },
    }
    print_result(result)


if __name__ == "__main__":
    main()
