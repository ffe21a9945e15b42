"""Tensors on disk as safetensors, whole or not there: reading them cannot run code."""

from __future__ import annotations

from pathlib import Path

import safetensors
from safetensors.torch import save
from torch import Tensor, nn

from seefar.errors import RunError
from seefar.runs.files import written_beside


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors of any memory layout as safetensors, whole or not at all."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with written_beside(path) as beside:
        beside.write_bytes(save(plain, metadata))  # save_file would make it readable for its owner only


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing: train the run first, or choose a finished one.") from error
    except (OSError, safetensors.SafetensorError) as error:
        raise RunError(
            f"{path} is no whole safetensors file ({error}): delete it and train again, or restore it from a copy."
        ) from error


def load_weights(path: Path, model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Put weights that came from `path` into `model`, all of them or none.

    Raises:
        RunError: names or shapes are not those of `model`.
    """
    own = model.state_dict()
    wrong = sorted(set(own) ^ set(weights)) + [
        f"{name} {tuple(weights[name].shape)}, wanted {tuple(own[name].shape)}"
        for name in sorted(set(own) & set(weights))
        if own[name].shape != weights[name].shape
    ]
    if wrong:
        raise RunError(f"{path} holds the weights of another network ({'; '.join(wrong[:3])}): choose another run.")
    model.load_state_dict(weights)
