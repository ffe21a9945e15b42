"""Kills: a run is killed at each moment that its files can be in, and resumed to the same bytes.

    nice python benchmarks/faults.py [--moments 97] > results/faults.json

A small run (train, evaluate, explain, report) is traced: every opening of a file for writing, fsync, rename, removal
and new folder within its run folder, and every write that is larger than those before it into the same file. Then, for
each of these operations, the run is started in a process of its own and killed (SIGKILL) right before it, or within it
after half of the bytes of a write. The same command is started again; then `verify` must be clean and all files must be
those of an undisturbed run. `--moments` takes so many of them, evenly spread. What is drawn is a blank of the same
operations, since drawing takes longest. Linux only.
"""

from __future__ import annotations

import builtins
import csv
import hashlib
import io
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

import seefar
import seefar.report.page
from lab.measuring import arguments, print_result
from seefar.data.shapes import load_shapes
from seefar.runs.folder import RunFolder, verify

TINY = seefar.recipe("demo", width=2, epochs=1, batch_size=18, log_every=1, held_out=4)
DATA = load_shapes(40, 20)
SECONDS = 300  # after which a process hangs
TIMED = ("history.csv", "log.txt", "manifest.json", "report.html", "history.png", ".lock")  # they contain times


def run(folder: Path) -> None:
    """The run: every step has its checkpoint and its row."""
    seefar.run(TINY, DATA, folder, device="cpu", top=2, checkpoint_minutes=0.0, progress=seefar.SILENT)


class Trace:
    """Counts the operations on files below a folder, and kills this process at one of them.

    Args:
        folder: where operations count.
        at: the number of the operation to be killed at, from 0; None: the process lives.
        seen: is called with each operation, such as `rename weights.safetensors`.
    """

    def __init__(self, folder: Path, at: int | None, seen: Callable[[str], object] = lambda _operation: None) -> None:
        self.folder, self.at, self.seen, self.count = folder, at, seen, 0

    def install(self) -> None:
        """Wrap the functions that this process calls; a process has it once, and to its end."""
        opened = os.open
        os.open = lambda path, flags, *more, **how: (  # type: ignore[assignment]
            self.reached("open", path) if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else None,
            opened(path, flags, *more, **how),
        )[1]
        # A kill leaves the page cache to the system, so that nothing has to be on the disk.
        os.fsync = lambda file: self.reached("fsync", os.readlink(f"/proc/self/fd/{file}"))  # type: ignore[assignment]
        for name, kind in (("replace", "rename"), ("unlink", "remove"), ("mkdir", "new folder")):
            self.wrap(name, kind)
        files = io.open
        trace = self

        class Traced(io.BufferedWriter):
            largest = 0

            def write(self, data: Any) -> int:
                content = memoryview(data).cast("B")
                if len(content) > self.largest:
                    self.largest = len(content)
                    half = content[: len(content) // 2]
                    trace.reached("write", self.path, lambda: (super(Traced, self).write(half), self.flush()))
                return super().write(data)

        def traced(file: Any, mode: str = "r", *more: Any, **how: Any) -> Any:
            path = os.readlink(f"/proc/self/fd/{file}") if isinstance(file, int) else file
            if not set(mode) & set("wax+") or not self.inside(path):
                return files(file, mode, *more, **how)
            if not isinstance(file, int):
                self.reached("open", path)
            raw = io.FileIO(file, mode.replace("b", "").replace("t", ""))
            buffer = Traced(raw)
            buffer.path = path  # type: ignore[attr-defined]
            text = {name: how[name] for name in ("encoding", "errors", "newline") if name in how}
            return buffer if "b" in mode else io.TextIOWrapper(buffer, **text)

        io.open = builtins.open = traced  # type: ignore[assignment]

    def wrap(self, name: str, kind: str) -> None:
        """Trace a function of `os` that changes a folder."""
        function = getattr(os, name)

        def traced(path: Any, *more: Any, **how: Any) -> Any:
            if os.path.lexists(path) == (name != "mkdir"):  # else it only fails
                self.reached(kind, path)
            return function(path, *more, **how)

        setattr(os, name, traced)

    def inside(self, path: Any) -> bool:
        """Whether a path is below the folder."""
        return self.folder in (Path(os.fsdecode(path)), *Path(os.fsdecode(path)).parents)

    def reached(self, kind: str, path: Any, before: Callable[[], object] = lambda: None) -> None:
        """An operation is about to begin: count it, or be killed."""
        if not self.inside(path):
            return
        if self.count == self.at:
            before()
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += 1
        name = os.path.basename(os.fsdecode(path))
        self.seen(f"{kind} {name.split('-', 2)[-1] if name.startswith('.part-') else name}")


def start(folder: Path, at: int | None, operations: Path | None = None) -> int:
    """The run in a process of its own, forked, since imports take longer than the run; its exit code.

    Args:
        folder: the run folder.
        at: the operation to be killed at.
        operations: a file to list the operations in.
    """
    if child := os.fork():
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise TimeoutError(f"it hangs, killed at operation {at}")
    code = 1
    try:
        os.dup2(os.open(folder.with_suffix(".errors"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
        seen: list[str] = []
        Trace(folder, at, seen.append).install()
        run(folder)
        if operations is not None:
            operations.write_text("\n".join(seen))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def content(folder: Path) -> dict[str, str]:
    """SHA-256 of all that must be the same."""
    with RunFolder(folder).history.open(newline="") as file:
        parts = {"history.csv": repr([{**row, "seconds": ""} for row in csv.DictReader(file)]).encode()}
    parts |= {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name not in TIMED}
    return {name: hashlib.sha256(value).hexdigest() for name, value in parts.items()}


def lost_at(folder: Path, at: int, expected: dict[str, str]) -> list[str]:
    """What is lost when the run is killed at an operation and started again."""
    shutil.rmtree(folder, ignore_errors=True)
    code = start(folder, at)
    if code != -signal.SIGKILL:
        return [f"not killed: exit code {code}"]
    if start(folder, None) != 0:
        return [folder.with_suffix(".errors").read_text().strip().splitlines()[-1][:300]]
    found = content(folder)
    lost = [f"{name} differs" for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)]
    return lost + verify(folder) + [f"left behind: {path.name}" for path in folder.rglob(".part-*")]


def run_all(home: Path, moments: int | None) -> dict[str, Any]:
    """Kill at all moments, or at so many of them."""
    torch.set_num_threads(1)
    blank = io.BytesIO()
    Figure(figsize=(1, 1), dpi=1).savefig(blank, format="png")
    Figure.savefig = lambda _figure, path, **_how: Path(path).write_bytes(blank.getvalue())  # type: ignore[assignment]
    seefar.report.page.page_charts = lambda *_content: []
    run(home / "first")  # here, so that the children find everything imported
    expected = content(home / "first")
    if start(home / "run", None, home / "operations") != 0 or content(home / "run") != expected:
        raise RuntimeError((home / "run.errors").read_text() or "two undisturbed runs differ")
    operations = (home / "operations").read_text().split("\n")
    count = len(operations) if moments is None else min(moments, len(operations))
    chosen = sorted({round((number + 0.5) * len(operations) / count - 0.5) for number in range(count)})
    losses = []
    for number, at in enumerate(chosen):
        if lost := lost_at(home / "run", at, expected):
            losses.append({"moment": at, "operation": operations[at], "lost": lost})
        print(f"{number + 1} of {len(chosen)}: {operations[at]}, {len(losses)} losses", file=sys.stderr, flush=True)
    return {
        "operations": len(operations),
        "moments": len(chosen),
        "by_operation": dict(Counter(operations[at].rsplit(" ", 1)[0] for at in chosen)),
        "losses": losses,
    }


def main() -> None:
    """Kill and resume, and print the result as JSON."""
    moments = arguments(__doc__, moments=int).moments
    with tempfile.TemporaryDirectory() as home:
        print_result(run_all(Path(home), moments))


if __name__ == "__main__":
    main()
