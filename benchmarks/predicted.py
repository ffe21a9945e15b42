"""The predicted class of every test image of a run whose weights are gone, from its table of mistakes.

    SEEFAR_DATA=... python benchmarks/predicted.py results/quick results/quick_predicted.npy

An image that is not in the table was predicted correctly, so its predicted class is its label. `seefar compare` reads
the file, uint8 (N,).
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

import seefar
from lab.measuring import arguments


def main() -> None:
    """Write the file, after its accuracy agrees with the run's metrics."""
    chosen = arguments(__doc__, "run", "file")
    run = Path(chosen.run)
    about = json.loads((run / "data.json").read_text(encoding="utf-8"))
    accuracy = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["test"]["accuracy"]
    labels = seefar.load_data(about["name"], progress=seefar.SILENT).test.labels
    predicted = labels.astype(np.uint8)
    with (run / "mistakes.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            predicted[int(row["index"])] = about["classes"].index(row["predicted"])
    if abs((predicted == labels).mean() - accuracy) > 1e-9:
        raise SystemExit(f"the table has other mistakes than the accuracy of {accuracy} says")
    np.save(chosen.file, predicted)


if __name__ == "__main__":
    main()
