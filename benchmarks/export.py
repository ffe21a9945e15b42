"""ONNX export of a run: size, agreement with torch, and accuracy on the test set.

    python benchmarks/export.py --run results/fast > results/export.json

The exported network is the dense twin, 1.7 times the multiplications of the network, and the test set is predicted
twice.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

import seefar
from lab.measuring import arguments, print_result
from seefar.model.adapt import adapt
from seefar.model.export import export_onnx
from seefar.training.run import load_for

BATCH = 250


def main() -> None:
    """Export, predict the whole test set with onnxruntime, and print one JSON result."""
    options = arguments(__doc__, run=Path("results/fast"))
    run = seefar.load_run(options.run, "cpu")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    test = load_for(run.recipe).test
    maps = seefar.class_maps(run.model, test.images[:BATCH]).maps
    say("torch")
    expected = adapt(run.model).logits(test.images)
    with tempfile.TemporaryDirectory() as folder:
        path = export_onnx(run.model, Path(folder) / "model.onnx", run.classes, run.image_size)
        session, size = load(path), path.stat().st_size
    say("onnxruntime")
    logits = predict(session, test.images)
    exported_maps = session.run(["maps"], {"images": test.images[:BATCH]})[0]
    result = {
        "onnxruntime": onnxruntime.__version__,
        "n": len(test),
        "torch": {
            "bytes": run.folder.weights.stat().st_size,
            "accuracy": float((expected.argmax(1) == test.labels).mean()),
            "largest_logit": float(np.abs(expected).max()),
            "largest_map_cell": float(np.abs(maps).max()),
        },
        "float32": {
            "bytes": size,
            "accuracy": float((logits.argmax(1) == test.labels).mean()),
            "largest_difference_of_a_logit": float(np.abs(logits - expected).max()),
            "largest_difference_of_a_map_cell": float(np.abs(exported_maps - maps).max()),
            "answers_that_differ": int((logits.argmax(1) != expected.argmax(1)).sum()),
        },
    }
    print_result(result)


def load(path: Path) -> onnxruntime.InferenceSession:
    """The exported network on as many threads as torch has; they do not spin, since others may need the cores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options)


def predict(session: onnxruntime.InferenceSession, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits (N, K) of all images."""
    parts: list[Any] = []
    for start in range(0, len(images), BATCH):
        parts.append(session.run(["logits"], {"images": images[start : start + BATCH]})[0])
        if start % 2500 == 0:
            say(f"  {start} of {len(images)} images")
    return np.concatenate(parts)


def say(line: str) -> None:
    """A line on standard error, which shows that it is not stuck."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
