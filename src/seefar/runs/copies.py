"""Distributed training without a shared file system: copies of the run folder for all processes but the first."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seefar import processes
from seefar.errors import ProcessError, SeefarError
from seefar.runs.folder import RunFolder


def copied(choose: Callable[[], RunFolder]) -> RunFolder:
    """The folder that the first process chooses; each other process gets a temporary copy of it, as it now is.

    So only the first writes into the folder, the others need not see it, and what all of them find in it is the same.
    Alone it is the folder itself.

    Args:
        choose: called in the first process only.

    Raises:
        ProcessError: `choose` raised a `SeefarError` in the first process; there that error itself is raised.
    """
    if processes.size() == 1:
        return choose()
    own: SeefarError | None = None
    about: dict[str, Any] = {}
    content: list[bytes] = []
    if processes.first():
        try:
            folder = choose().path
            files = sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
            content = [file.read_bytes() for file in files]
            names = [file.relative_to(folder).as_posix() for file in files]
            about = {"folder": str(folder), "files": list(zip(names, map(len, content), strict=True))}
        except SeefarError as error:
            own, about = error, {"error": str(error)}
    about = json.loads(processes.told(json.dumps(about).encode()))
    if own is not None:
        raise own
    if "error" in about:
        raise ProcessError(about["error"])
    rest = io.BytesIO(processes.told(b"".join(content)))
    folder = Path(about["folder"])
    if not processes.first():
        folder = processes.scratch() / folder.name
        for name, length in about["files"]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(rest.read(length))
    return RunFolder(folder)
