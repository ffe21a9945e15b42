"""ONNX export of a run: size, agreement with torch, and accuracy on the test set, in float32 and with int8 weights.

python benchmarks/export.py --run results/fast
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime

import seefar
from seefar.model.export import export_onnx
from seefar.model.inference import compute_logits
from seefar.runs.provenance import provenance

BATCH = 250


def main() -> None:
    """Export twice, answer the whole test set with onnxruntime, and print one JSON result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("results/fast"))
    run = seefar.load_run(parser.parse_args().run, "cpu")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    test = seefar.load_data(run.recipe.data).test
    expected = compute_logits(run.model, test.images)
    maps = seefar.class_maps(run.model, test.images[:BATCH]).maps
    found = {}
    for name, int8 in (("float32", False), ("int8 weights", True)):
        with tempfile.TemporaryDirectory() as folder:
            path = export_onnx(run.model, Path(folder) / "model.onnx", run.classes, run.image_size, int8=int8)
            session = onnxruntime.InferenceSession(str(path))
            size = path.stat().st_size
        ask = [test.images[start : start + BATCH] for start in range(0, len(test), BATCH)]
        logits = np.concatenate([session.run(["logits"], {"images": images})[0] for images in ask])
        of_maps = session.run(["maps"], {"images": ask[0]})[0]
        found[name] = {
            "bytes": size,
            "accuracy": float((logits.argmax(1) == test.labels).mean()),
            "largest difference of a logit": float(np.abs(logits - expected).max()),
            "largest difference of a map cell": float(np.abs(of_maps - maps).max()),
            "answers that differ": int((logits.argmax(1) != expected.argmax(1)).sum()),
        }
    torch_accuracy = float((expected.argmax(1) == test.labels).mean())
    print(json.dumps({"n": len(test), "torch": torch_accuracy, "onnx": found, **provenance()}, indent=2))


if __name__ == "__main__":
    main()
