"""Leave the features out of a run's predictions before anything is computed from them, so that they can be shipped.

    seefar evaluate fast && python benchmarks/strip_features.py fast && seefar explain fast

Features are 98 % of `predictions.npz`; only the neighbours need them, and compute them again.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lab.measuring import arguments
from seefar.artifacts import ARTIFACTS, PREDICTIONS, Job
from seefar.progress import SILENT
from seefar.runs.store import opened
from seefar.training.run import load_for, load_run


def main() -> None:
    """Save the predictions again, without features."""
    run = load_run(arguments(__doc__, "run").run, "cpu")
    job = Job(run, load_for(run.recipe, progress=SILENT), None, None, SILENT)
    with opened(run.folder.path, job.fact, job, ARTIFACTS, ["benchmarks/strip_features.py"]) as job.store:
        evaluation = job.evaluation
        features = np.zeros((len(evaluation.predictions), 0), np.float32)
        shipped = replace(evaluation, predictions=replace(evaluation.predictions, features=features))
        job.store.save(PREDICTIONS, shipped)


if __name__ == "__main__":
    main()
