"""New checksums for a run folder that ships in part, such as those in results/; who made it stays as it was.

    python benchmarks/reseal.py results/fast [--note "weights.safetensors is a float16 copy."]

`seefar verify` then passes on what is shipped. A folder without a manifest gets one of checksums only.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from seefar.runs.manifest import NAME, sums

from seefar.runs.files import write_text


def main() -> None:
    """Write the manifest anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--note")
    chosen = parser.parse_args()
    path = chosen.folder / NAME
    manifest = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    note = {"note": chosen.note} if chosen.note else {}
    write_text(path, json.dumps({**manifest, **note, "files": sums(chosen.folder)}, indent=2) + "\n")


if __name__ == "__main__":
    main()
