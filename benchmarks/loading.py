"""Seconds to load 10,000 pictures of a folder: first start, second start, and a plain PIL loop.

    python benchmarks/loading.py [--pictures 10000] [--rounds 1] > results/loading.json

The pictures are made on the fly: a few hundred JPEG files of the size of photographs on web pages, and hard links to
them, so that each name is read and decoded by itself. The plain loop opens, crops to the centre square, resizes with
antialiasing and stacks, one file after the other. Every image is read once at the end, since the second start maps the
kept ones into memory. seefar decodes a JPEG at a part of its size where that is enough, the plain loop does not. The
page cache holds all files, so disks are not measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps

from seefar.data.folder import load_folder
from seefar.progress import SILENT
from seefar.runs.provenance import provenance

REAL, CLASSES, WIDTH, HEIGHT = 400, 10, 500, 375


def make_pictures(folder: Path, count: int) -> None:
    """`count` names in class folders, hard links to REAL files of smooth noise, which compress as photographs do."""
    random = np.random.default_rng(0)
    stored = folder.parent / "stored"
    stored.mkdir()
    for number in range(REAL):
        coarse = Image.fromarray(random.integers(0, 256, (HEIGHT // 12, WIDTH // 12, 3), dtype=np.uint8))
        picture = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).astype(np.int16)
        picture += random.integers(-12, 13, picture.shape, dtype=np.int16)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(stored / f"{number}.jpg", quality=90)
    for number in range(count):
        place = folder / f"class{number % CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        os.link(stored / f"{number % REAL}.jpg", place / f"{number:05d}.jpg")


def plain_loop(folder: Path, size: int = 32) -> int:
    """What one writes without a library; the sum of all values."""
    images = []
    for path in sorted(folder.rglob("*.jpg")):
        with Image.open(path) as picture:
            images.append(np.asarray(ImageOps.fit(picture.convert("RGB"), (size, size), Image.Resampling.LANCZOS)))
    return int(np.stack(images).sum(dtype=np.int64))


def through_seefar(folder: Path, cache: Path) -> int:
    """The same by `load_folder`."""
    data = load_folder(folder, cache=cache, progress=SILENT)
    return sum(int(part.images.sum(dtype=np.int64)) for part in (data.train, data.test))


def seconds(work: Callable[[], int]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    found: dict[str, list[float]] = {"plain_pil_loop": [], "first_start": [], "second_start": []}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "pictures")
        make_pictures(folder, arguments.pictures)
        size = sum(path.stat().st_size for path in Path(place, "stored").iterdir()) / REAL
        for number in range(arguments.rounds):
            cache = Path(place, f"cache{number}")
            found["plain_pil_loop"].append(seconds(lambda: plain_loop(folder)))
            found["first_start"].append(seconds(lambda cache=cache: through_seefar(folder, cache)))
            found["second_start"].append(seconds(lambda cache=cache: through_seefar(folder, cache)))
    median = {name: statistics.median(values) for name, values in found.items()}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    result = {
        "command": f"python benchmarks/loading.py --pictures {arguments.pictures} --rounds {arguments.rounds}",
        **provenance(),
        "pictures": {
            "names": arguments.pictures,
            "files": REAL,
            "size": [WIDTH, HEIGHT],
            "pillow": PIL.__version__,
            "mean_kib": round(size / 1024, 1),
        },
        "cores": cores,
        "load_before": round(load, 1),
        "machine_was_busy": load > 0.5 * cores,
        "seconds": found,
        "times_the_plain_loop": {name: round(median["plain_pil_loop"] / value, 2) for name, value in median.items()},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
