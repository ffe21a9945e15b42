"""The named choices that functions and flags share, and a data set's one spelling; light, so that --help is quick."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
PrecisionName = Literal["auto", "float32", "bfloat16", "float16"]
Border = Literal["black", "reflected"]
Flip = Literal["alternating", "random", "none"]
Order = Literal["loss", "confidence", "index"]
MethodName = Literal["gradcam", "gradcam++", "hirescam", "layercam"]
HideName = Literal["blur", "grey", "mean"]


def one_spelling(data: str) -> str:
    """`pics` for `pics/` and `./pics`, which are the same folder; one of a built-in's name keeps its dot."""
    plain = str(Path(data)) if os.path.basename(data) != data else data
    return os.path.join(os.curdir, plain) if plain != data and plain in ("cifar10", "shapes") else plain
