"""The named choices that functions and flags share; imports nothing heavy, so that --help is quick."""

from __future__ import annotations

from typing import Literal

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
PrecisionName = Literal["auto", "float32", "bfloat16", "float16"]
Border = Literal["black", "reflected"]
Flip = Literal["alternating", "random", "none"]
Order = Literal["loss", "confidence", "index"]
MethodName = Literal["gradcam", "gradcam++", "hirescam", "layercam", "scorecam"]
HideName = Literal["blur", "grey", "mean"]
