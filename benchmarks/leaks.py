"""Near-duplicates that are found of planted ones, on CIFAR-10; and how many are found where none was planted.

    python benchmarks/leaks.py --planted 200 --cifair duplicates_cifar10.csv > results/leaks.json

`--planted` training images are copied, changed, and looked for among all 50,000: copies, re-encoded, resized, mirrored
and cropped ones. `test_set` is what is found among the official test images;
those whose training image has another label are counted. `--pairs` writes all of them to a file, for inspection.
`--cifair` is the list that Barz & Denzler (2019) annotated by hand, `meta/duplicates_cifar10.csv` of their repository
https://github.com/cvjena/cifair: near-duplicates from one photograph (judgment 1), and very similar photographs (2).
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seefar.data import load_data
from seefar.evaluation.metrics import wilson_interval
from seefar.explanation.leaks import Duplicate, find_duplicates, find_leaks
from seefar.runs.provenance import provenance

Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def encoded(quality: int) -> Change:
    """As a JPEG of this quality."""

    def change(image: Image.Image, random: np.random.Generator) -> Image.Image:
        file = BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file).convert("RGB")

    return change


def resized(side: int) -> Change:
    """Brought to this many pixels on a side, and back."""
    return lambda image, random: image.resize((side, side), Image.Resampling.BICUBIC).resize(image.size)


def cropped(pixels: int) -> Change:
    """Without this many of 32 rows and columns, at random from both ends, and enlarged again."""

    def change(image: Image.Image, random: np.random.Generator) -> Image.Image:
        left, top = random.integers(0, pixels + 1, 2).tolist()
        box = (left, top, left + image.width - pixels, top + image.height - pixels)
        return image.resize(image.size, Image.Resampling.LANCZOS, box)

    return change


def mirrored(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Left and right exchanged."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


PLANTED: dict[str, Change] = {
    "copy": lambda image, random: image,
    "re-encoded, JPEG quality 90": encoded(90),
    "re-encoded, JPEG quality 50": encoded(50),
    "resized to 48 pixels and back": resized(48),
    "resized to 20 pixels and back": resized(20),
    "mirrored": mirrored,
    "mirrored and re-encoded, JPEG quality 75": lambda image, random: encoded(75)(mirrored(image, random), random),
    "cropped by 2 of 32 pixels": cropped(2),
    "cropped by 3 of 32 pixels": cropped(3),
    "cropped by 4 of 32 pixels": cropped(4),
}


def share(count: int, n: int) -> dict[str, Any]:
    """A count, its share and the 95 % Wilson interval."""
    return {"count": count, "n": n, "share": count / n, "interval": wilson_interval(count, n)}


def compared(found: list[Duplicate], list_of_cifair: Path) -> dict[str, Any]:
    """How many of the test images of a list, by its judgment, are found; and with the same training image."""
    partner = {one.index: one.training for one in found}
    with list_of_cifair.open(encoding="utf-8", newline="") as file:
        rows = [tuple(int(row[name]) for name in ("TestID", "TrainID", "Judgment")) for row in csv.DictReader(file)]
    judged: dict[str, Any] = {"source": "https://github.com/cvjena/cifair, meta/duplicates_cifar10.csv"}
    for judgment, name in ((0, "exact"), (1, "near_duplicate"), (2, "very_similar")):
        listed = [(test, training) for test, training, how in rows if how == judgment]
        judged[name] = {
            "listed": len(listed),
            "found": sum(test in partner for test, _ in listed),
            "with_the_same_training_image": sum(partner.get(test) == training for test, training in listed),
        }
    judged["found_and_not_listed"] = len(partner.keys() - {test for test, _, _ in rows})
    return judged


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--planted", type=int, default=1000)
    parser.add_argument("--test", type=int)
    parser.add_argument("--cifair", type=Path, help="the list of Barz & Denzler, a CSV file")
    parser.add_argument("--pairs", help="where to write the pairs of the test set, for inspection")
    chosen = parser.parse_args()
    data = load_data("cifar10")
    random = np.random.default_rng(0)
    originals = random.choice(len(data.train), chosen.planted, replace=False)
    planted = {}
    for name, change in PLANTED.items():
        images = [np.asarray(change(Image.fromarray(data.train.images[index]), random)) for index in originals]
        found = {one.index: one.training for one in find_duplicates(np.stack(images), data.train.images)}
        right = sum(found.get(number) == index for number, index in enumerate(originals.tolist()))
        planted[name] = {"found": share(len(found), len(images)), "of_the_original": right}
    test = data.test.take(np.arange(len(data.test))[: chosen.test])
    started, used = time.perf_counter(), time.process_time()
    duplicates = find_duplicates(test.images, data.train.images)
    seconds, processor = time.perf_counter() - started, time.process_time() - used
    leaks = find_leaks(test, data.train, duplicates=duplicates)
    if chosen.pairs:
        rows = [[one.likeness, one.index, one.training, one.mirrored] for one in duplicates]
        with open(chosen.pairs, "w", encoding="utf-8") as file:
            json.dump(sorted(rows), file)
    result = {
        "command": f"python benchmarks/leaks.py --planted {chosen.planted}"
        + (" --cifair duplicates_cifar10.csv" if chosen.cifair else ""),
        **provenance(),
        "planted": planted,
        "test_set": {
            "images": len(test),
            "training_images": len(data.train),
            "found": share(len(duplicates), len(test)),
            "other_label": share(len(leaks.other_label), len(test)),
            "least_likeness_of_other_label": min((one.likeness for one in leaks.other_label), default=None),
            "seconds": seconds,
            "processor_seconds": processor,
            "cifair": compared(duplicates, chosen.cifair) if chosen.cifair else None,
        },
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
