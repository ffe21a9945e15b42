"""Provenance: commit, versions and machine of a result, as plain values for JSON."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("seefar", "torch", "numpy", "albumentations", "opencv-python-headless", "matplotlib", "safetensors")
SOURCE = {".py", ".j2", ".css", ".js"}


def provenance() -> dict[str, Any]:
    """Which code ran, with which versions, on which machine."""
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


@cache
def source_fingerprint() -> str:
    """SHA-256 of the installed source of seefar, with the templates, styles and scripts of the page."""
    digest, root = hashlib.sha256(), Path(__file__).parents[1]
    for path in sorted(root.rglob("*")):
        if path.suffix in SOURCE:
            digest.update(path.read_bytes())
    return digest.hexdigest()


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
    """The widest vector instructions, such as AVX2, the threads of torch, and the GPU."""
    import torch  # here: it takes two seconds, which `seefar verify` need not wait for

    return {
        "instructions": str(torch.backends.cpu.get_cpu_capability()),  # of one processor name, speed differs threefold
        "threads": int(torch.get_num_threads()),
        "gpu": _gpu() if torch.cuda.is_available() else None,
    }


def _gpu() -> dict[str, Any]:
    import torch

    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]  # all GPUs have one driver
    try:
        driver = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        driver = None
    return {
        "name": torch.cuda.get_device_name(),
        "driver": driver,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    }
