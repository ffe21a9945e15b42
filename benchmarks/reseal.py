"""New checksums for a run folder that ships in part, such as those in results/; what made its files stays as it was.

    python benchmarks/reseal.py results/fast [--note "weights.safetensors is a float16 copy."]

`seefar verify` then passes on what is shipped. A file whose bytes are not those in the manifest loses the record of
what it was computed from. A folder without a manifest gets one of checksums only.
"""

from __future__ import annotations

import json
from pathlib import Path

from lab.measuring import arguments
from seefar.runs.files import write_text
from seefar.runs.store import MANIFEST, file_entry


def main() -> None:
    """Write the manifest again."""
    chosen = arguments(__doc__, "folder", note=str)
    folder = Path(chosen.folder)
    path = folder / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"files": {}}
    files = {}
    for file in sorted(folder.rglob("*")):
        name, entry = file.relative_to(folder).as_posix(), file_entry(file)
        if entry is not None and name != MANIFEST and not name.startswith("."):
            recorded = manifest["files"].get(name, {})
            files[name] = recorded if entry.items() <= recorded.items() else entry
    note = {"note": chosen.note} if chosen.note else {}
    write_text(path, json.dumps({**manifest, **note, "files": files, "finished": True}, indent=2) + "\n")


if __name__ == "__main__":
    main()
