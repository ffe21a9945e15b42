"""The occlusion test of all mistakes of a run, with each of the three things that can take the place of pixels.

    python benchmarks/repair.py [--run runs/fast] > results/repair.json

The run's folder is left as it is.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import seefar
from seefar.data import load_data
from seefar.evaluation.evaluate import evaluate
from seefar.options import HideName
from seefar.report.manifest import provenance


def main() -> None:
    """Explain the mistakes in a copy of the run's folder and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="runs/fast")
    name = parser.parse_args().run
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "run"
        shutil.copytree(seefar.load_run(name).folder.path, copy)
        run = seefar.load_run(copy)
        test = load_data(run.recipe.data, None, run.recipe.image_size).test
        evaluation = evaluate(run, test)
        rates = {how: asdict(seefar.explain(run, test, evaluation, hide=how).rates) for how in get_args(HideName)}
    about = {
        "command": f"python benchmarks/repair.py --run {name}",
        **provenance(),
        "run": {"recipe": run.recipe.name, "seed": run.recipe.seed, "accuracy": evaluation.metrics.accuracy},
    }
    print(json.dumps({**about, "hide": rates}, indent=2))


if __name__ == "__main__":
    main()
