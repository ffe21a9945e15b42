"""ONNX export: images in, logits and class maps out, the normalisation inside."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seefar.data.images import ImageSize, both
from seefar.model.inference import eval_mode
from seefar.model.resnet import ResNet18, dense_twin
from seefar.runs.files import written_beside

OPSET = 20


class LogitsAndMaps(nn.Module):
    """The exported network: logits and the maps of all classes, from one pass of the dense twin."""

    def __init__(self, model: ResNet18) -> None:
        super().__init__()
        self.twin = dense_twin(model)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images, uint8 (N, H, W, 3), to logits (N, K) and maps (N, K, h, w), both float32."""
        features = self.twin.features(self.twin.normalize(images))  # (N, C, h, w)
        maps = F.conv2d(features, self.twin.fc.weight[:, :, None, None])
        return self.twin.fc(self.twin.pool(features)), maps


def export_onnx(model: ResNet18, path: Path, classes: Sequence[str], image_size: ImageSize = 32) -> Path:
    """Write the network as one ONNX file that needs neither seefar nor torch.

    Input `images`: uint8 (N, H, W, 3), any N. Outputs `logits`: float32 (N, K), and `maps`: float32 (N, K, h, w), in
    logits, 8x8 cells of a 32-pixel image. Names of the classes and the image size are in the file's metadata. The
    packages of the extra `onnx` are needed.
    """
    import onnx

    wrapped = LogitsAndMaps(model)
    example = torch.zeros(2, *both(image_size), 3, dtype=torch.uint8)
    with eval_mode(wrapped), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own deprecations
        program = torch.onnx.export(
            wrapped.cpu(),
            (example,),
            dynamo=True,
            input_names=["images"],
            output_names=["logits", "maps"],
            dynamic_shapes=({0: torch.export.Dim("N")},),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    exported = program.model_proto
    metadata = {"classes": json.dumps(list(classes)), "image_size": str(image_size), "made by": "seefar"}
    onnx.helper.set_model_props(exported, metadata)
    onnx.checker.check_model(exported)
    with written_beside(path) as beside:
        beside.write_bytes(exported.SerializeToString())
    return path
