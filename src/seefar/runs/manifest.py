"""The manifest of a run folder: what made it, on which machine, and a SHA-256 of every file.

It is written last, so that its presence means that the folder is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from seefar.errors import RunError, not_read
from seefar.output import printable
from seefar.runs.files import read_json, write_text
from seefar.runs.provenance import provenance

NAME = "manifest.json"
DROPPED = f".{NAME}"
"""Its name while the folder is being written to: the next manifest goes on from it."""


def drop_manifest(folder: Path) -> None:
    """Take the manifest away: the folder is not whole until `write_manifest`.

    What differs from it already was altered by somebody else. That is kept beside it, so that the next manifest does
    not vouch for it.
    """
    try:
        manifest = _read(folder / NAME)
    except RunError:  # a damaged one vouches for nothing
        if (folder / NAME).is_dir():
            raise
        os.replace(folder / NAME, folder / DROPPED)
        return
    if manifest is not None:
        wanted, found = manifest["files"], sums(folder)
        altered = {name: found.get(name) for name in sorted({*wanted, *found}) if wanted.get(name) != found.get(name)}
        write_text(folder / DROPPED, json.dumps({**manifest, "altered": altered}))
        (folder / NAME).unlink()


def restore_manifest(folder: Path) -> None:
    """Put the dropped manifest back if nothing was written since."""
    with suppress(RunError, OSError):
        manifest = _read(folder / DROPPED)
        if manifest is not None and manifest["files"]:
            altered = manifest.pop("altered", {})
            then = {name: found for name, found in {**manifest["files"], **altered}.items() if found is not None}
            if then == sums(folder):
                write_text(folder / NAME, json.dumps(manifest, indent=2) + "\n")
                (folder / DROPPED).unlink()


def add_sitting(folder: Path, device: str, precision: str) -> None:
    """Note what a sitting of the training computes on, and in; the next manifest, and all after it, name it.

    It is kept at once, so that a sitting that is killed is named too. One like the one before it adds nothing.

    Args:
        folder: one that is being written to.
        device: such as `cpu (2 threads)`, or the name of a GPU.
        precision: such as `bfloat16`.
    """
    dropped: dict[str, Any] = {}
    with suppress(RunError):  # a damaged one has nothing to add to
        dropped = _read(folder / DROPPED) or {}
    sitting, before = {"device": device, "precision": precision}, dropped.get("training", [])
    if before[-1:] != [sitting]:
        write_text(folder / DROPPED, json.dumps({"files": {}, **dropped, "training": [*before, sitting]}))


def write_manifest(folder: Path, command: Sequence[str], note: str | None = None) -> Path:
    """Write `manifest.json` for the files that now lie in the folder.

    What wrote into the folder before, and on which machine, is kept under `earlier`, the first first; the sittings of
    its training under `training`. A file that was altered or taken away from outside, and not written since, keeps the
    sum that it had, so that `verify` goes on to name it.

    Args:
        folder: where to write it.
        command: the command line or function that made the newest of the files.
        note: what else a reader of the folder should know.
    """
    before: dict[str, Any] = {}
    for name in (DROPPED, NAME):
        with suppress(RunError):  # a damaged one has nothing to go on from
            before = _read(folder / name) or before
    about = {"command": list(command), **provenance()}
    last = {key: before[key] for key in about if key in before}
    earlier = [*before.get("earlier", []), *([last] if last and last != about else [])]
    kept = {"training": before.get("training"), "note": note or before.get("note")}
    more = {name: value for name, value in kept.items() if value}
    files = sums(folder)
    for name, then in before.get("altered", {}).items():
        if name in before["files"] and files.get(name) == then:
            files[name] = before["files"][name]
    manifest = {**about, **more, "earlier": earlier, "files": dict(sorted(files.items()))}
    write_text(folder / NAME, json.dumps(manifest, indent=2) + "\n")
    (folder / DROPPED).unlink(missing_ok=True)
    return folder / NAME


def sums(folder: Path) -> dict[str, str]:
    """SHA-256 of each file in a folder, but hidden ones and the manifest, by its path within the folder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not _is_hidden(file.relative_to(folder)))
    return {name: _sha256(file) for file in files if (name := file.relative_to(folder).as_posix()) != NAME}


def problems(folder: Path) -> list[str]:
    """What of a folder differs from its manifest, one line a file; see `seefar.verify`."""
    try:
        manifest = _read(folder / NAME)
    except RunError as error:
        return [str(error)]
    if manifest is None:
        return [f"{NAME} is missing: nothing has sealed the folder, or a command that wrote into it has not ended"]
    wanted, found = manifest["files"], sums(folder)
    lines = []
    for name in sorted({*wanted, *found}):
        if name not in found:
            lines.append(f"{printable(name)} is missing")
        elif name not in wanted:
            lines.append(f"{printable(name)} is extra: the manifest does not have it")
        elif wanted[name] != found[name]:
            lines.append(f"{printable(name)} is changed")
    return lines


def _read(path: Path) -> dict[str, Any] | None:
    """A manifest, or None if there is none."""
    try:
        manifest = read_json(path)
        if not isinstance(manifest["files"], dict):
            raise TypeError("no table of files")
        for name, kind in (("earlier", list), ("training", list), ("altered", dict)):
            if not isinstance(manifest.get(name, kind()), kind):
                raise TypeError(f"{name} is no {kind.__name__}")
    except FileNotFoundError:
        return None
    except IsADirectoryError as error:
        raise not_read(path, error) from error
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path.name} is damaged ({error})") from error
    return dict(manifest)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
