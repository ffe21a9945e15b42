"""Seconds to load 10,000 pictures of a folder, and training images per second by four ways of making batches.

    python benchmarks/loading.py [--pictures 10000] [--rounds 3] > results/loading.json

**Pictures**: first start, second start, and a plain PIL loop. The pictures are made on the fly: a few hundred JPEG
files of the size of photographs on web pages, and hard links to them, so that each name is read and decoded by itself.
The plain loop opens, crops to the centre square, resizes with antialiasing and stacks, one file after the other. Every
image is read once at the end, since the second start maps the kept ones into memory. seefar decodes a JPEG at a part of
its size where that is enough, the plain loop does not. The page cache holds all files, so disks are not measured.

**Batches**: those of the recipes `fast` (256 images, reflected crop, flip) and `seed` (4 images, Cutout) for a reader
that does nothing else, so the ways are compared and not a training. `worker_processes` was seefar's way on a GPU,
`in_turn` its way on the CPU.

- `worker_processes`: two processes of a torch DataLoader make batches with albumentations.
- `in_turn`: the reader makes each batch itself.
- `thread`: `training_batches` on the CPU: a thread makes one batch ahead.
- `batch_functions`: what a GPU runs in its own memory (`DeviceBatches`), here on the CPU in one thread.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader

import seefar
from lab.measuring import arguments, print_result, seconds, take_turns
from seefar.data.batches import AugmentedBatches, BatchAugmentation, DeviceBatches, training_batches
from seefar.data.folder import load_folder
from seefar.data.images import Data
from seefar.progress import SILENT
from seefar.training.loop import build_batches
from seefar.training.recipe import Recipe
from throughput import noise

REAL, CLASSES, WIDTH, HEIGHT = 400, 10, 500, 375
IMAGES = {"fast": 51_200, "seed": 8_000}
"""Images read in each round: half a second to four."""


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
    os.environ["SEEFAR_CACHE"] = str(cache)
    data = load_folder(folder, progress=SILENT)
    return sum(int(part.images.sum(dtype=np.int64)) for part in (data.train, data.test))


def contenders(recipe: Recipe, data: Data) -> dict[str, Callable[[], int]]:
    """Each reads the same epoch, and gives the number of its images."""
    batches = build_batches(recipe, data)
    positions = [(0, number) for number in range(len(batches))]
    settings = recipe.crop_padding, recipe.cutout, recipe.cutout_probability, (127, 127, 127), recipe.crop_border
    drawing = recipe.flip, recipe.batch_size, recipe.seed
    on_device = DeviceBatches(data.train, BatchAugmentation(*settings), *drawing, torch.device("cpu"))

    def in_turn(batches: AugmentedBatches = batches) -> int:
        return sum(len(batches[position].labels) for position in positions)

    def by_the_thread() -> int:
        with training_batches(batches, positions, pin_memory=False) as made:
            return sum(len(batch.labels) for batch in made)

    def by_processes() -> int:
        loader = DataLoader(batches, batch_size=None, sampler=positions, num_workers=2, prefetch_factor=4)
        return sum(len(batch.labels) for batch in loader)

    return {
        "worker_processes": by_processes,
        "in_turn": in_turn,
        "thread": by_the_thread,
        "batch_functions": lambda: in_turn(on_device),
    }


def measure_batches(rounds: int) -> dict[str, Any]:
    """Images per second of each recipe and way; the ways take turns."""
    found: dict[str, Any] = {}
    for name, count in IMAGES.items():
        ways = contenders(seefar.recipe(name), noise(count))
        taken = take_turns({way: partial(seconds, work) for way, work in ways.items()}, rounds)
        rates = {way: [count / one for one in values] for way, values in taken.items()}
        median = {way: statistics.median(values) for way, values in rates.items()}
        found[name] = {
            "images_per_second": rates,
            "times_in_turn": {way: round(median[way] / median["in_turn"], 2) for way in ways},
        }
    return found


def main() -> None:
    """Measure and print one JSON object."""
    chosen = arguments(__doc__, pictures=10_000, rounds=3)
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    found: dict[str, list[float]] = {"plain_pil_loop": [], "first_start": [], "second_start": []}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "pictures")
        make_pictures(folder, chosen.pictures)
        size = sum(path.stat().st_size for path in Path(place, "stored").iterdir()) / REAL
        for number in range(chosen.rounds):
            cache = Path(place, f"cache{number}")
            found["plain_pil_loop"].append(seconds(lambda: plain_loop(folder)))
            found["first_start"].append(seconds(lambda cache=cache: through_seefar(folder, cache)))
            found["second_start"].append(seconds(lambda cache=cache: through_seefar(folder, cache)))
    median = {name: statistics.median(values) for name, values in found.items()}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    result = {
        "pictures": {
            "names": chosen.pictures,
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
        "batches": measure_batches(chosen.rounds),
    }
    print_result(result)


if __name__ == "__main__":
    main()
