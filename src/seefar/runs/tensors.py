"""Tensors on disk as safetensors, whole or not there, with a checksum: reading them cannot run code."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor, nn

from seefar.errors import RunError, not_read
from seefar.runs.files import open_regular, parse_json, written_beside


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors of any memory layout as safetensors, whole or not at all, with plain values about them."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # One key, since safetensors writes several in an order that changes from one process to the next.
    metadata = {"seefar": json.dumps({**about, "sha256": _sha256(plain, about)})}
    with written_beside(path) as beside:
        beside.write_bytes(save(plain, metadata))  # save_file would make it readable for its owner only


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a safetensors file, and what `save_tensors` was given about them; empty if another wrote it.

    Raises:
        RunError: the file is missing or damaged, be it by one bit.
    """
    try:
        open_regular(path, follow=False).close()  # safetensors reports "not found" whatever the system reports
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing: train the run first, or choose a finished one.") from error
    except OSError as error:
        raise not_read(path, error) from error
    try:
        with safetensors.safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in list(file.keys())}
            metadata = dict(file.metadata() or {})
        about = parse_json(metadata.get("seefar") or "{}")
        if not isinstance(about, dict):
            raise ValueError("its metadata is no table")
        wanted = about.pop("sha256", None)
        if wanted is not None and wanted != _sha256(tensors, about):
            raise ValueError("its content is not what its checksum says")
    except (OSError, ValueError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
        if os.strerror(errno.EMFILE) in str(error):  # it needs more than one descriptor, and raises what it likes
            raise not_read(path, OSError(errno.EMFILE, os.strerror(errno.EMFILE))) from error
        raise RunError(
            f"{path} is no whole safetensors file ({error}): delete it and train again, or restore it from a copy."
        ) from error
    return tensors, about


def load_weights(path: Path, model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Put weights that came from `path` into `model`.

    Args:
        path: named by errors.
        model: whose; one on torch's device `meta`, which takes no memory, takes copies of the weights.
        weights: by their names.

    Raises:
        RunError: names or shapes are not those of `model`.
    """
    copies = {name: tensor.clone() for name, tensor in weights.items()}  # they may be mapped from the file
    on_meta = any(tensor.is_meta for tensor in model.state_dict().values())
    try:
        model.load_state_dict(copies, assign=on_meta)
    except RuntimeError as error:
        first = str(error).split("\n\t")[1]
        raise RunError(f"{path} holds the weights of another network ({first}): choose another run.") from error


def _sha256(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    """SHA-256 over names, types, shapes and values, and what is about them."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
