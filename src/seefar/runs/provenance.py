"""Provenance: commit, versions and machine of a result, as plain values for JSON."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("seefar", "torch", "numpy", "albumentations", "opencv-python-headless", "matplotlib", "safetensors")


def provenance() -> dict[str, Any]:
    """Which code ran, with which versions, on which machine; plain values for JSON."""
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": _processor(),
            **_torch_uses(),
        },
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the checkout this package runs from, with `+` if its source is changed; None elsewhere."""
    source = Path(__file__).parents[1]
    if source.parent.name != "src":
        return None  # installed: a repository further up is not ours
    try:
        commit, changed = (
            subprocess.run(["git", "-C", source, *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "."])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed else "")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _torch_uses() -> dict[str, Any]:
    """The widest vector instructions, such as AVX2, and the threads of torch; None for both if it is not in use.

    Processors of one name differ in their instructions, and so threefold in speed.
    """
    torch = sys.modules.get("torch")
    return {
        "instructions": None if torch is None else str(torch.backends.cpu.get_cpu_capability()),
        "threads": None if torch is None else int(torch.get_num_threads()),
    }
