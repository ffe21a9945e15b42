"""Resident memory of a data set of large pictures: 5,000 of 224 x 224 pixels, read from files, in one process.

    python benchmarks/memory.py > results/memory.json

The pictures are made by code. `anonymous` is memory of the process's own; `mapped` are pages of the file of decoded
pictures, which the system drops when other programs need memory. Read from /proc, so on Linux only.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import seefar
from lab.measuring import arguments, print_result


def resident() -> dict[str, int]:
    """Resident memory now, by kind, and the largest so far, in MiB."""
    names = {"RssAnon": "anonymous", "RssFile": "mapped", "VmRSS": "resident", "VmHWM": "largest"}
    lines = [line.split() for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines()]
    return {names[line[0][:-1]]: int(line[1]) // 1024 for line in lines if line and line[0][:-1] in names}


def main() -> None:
    """Measure and print one JSON object."""
    chosen = arguments(__doc__, pictures=5000, side=224)
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as home:
        os.environ["SEEFAR_CACHE"] = f"{home}/cache"
        for number in range(chosen.pictures):
            path = Path(home, "pictures", f"class{number % 2}", f"{number}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8))
            coarse.resize((320, 240), Image.Resampling.BICUBIC).save(path)
        stages = {"start": resident()}
        data = seefar.load_data(f"{home}/pictures", image_size=chosen.side, progress=seefar.SILENT)
        stages["decoded from the files"] = resident()
        del data
        data = seefar.load_data(f"{home}/pictures", image_size=chosen.side, progress=seefar.SILENT)
        stages["mapped from the cache"] = resident()
        model = seefar.ResNet18(2, width=1, stem_stride=4)
        seefar.predict(model, data.test, progress=seefar.SILENT)
        stages["a fifth of the pictures predicted"] = resident()
        _ = data.statistics
        _ = data.train.fingerprint
        stages["every picture used"] = resident()
    result = {
        "pictures": chosen.pictures,
        "side": chosen.side,
        "bytes": chosen.pictures * chosen.side**2 * 3,
        "mebibytes": stages,
    }
    print_result(result)


if __name__ == "__main__":
    main()
