from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lab.views import predict_two_views
from seefar.data.images import Split
from seefar.errors import DataError
from seefar.evaluation.predictions import predict
from seefar.progress import SILENT


class LeftPixel(nn.Module):
    """Logits of two classes: 0, and the brightness of the upper left pixel times 10, minus 3."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))

    def forward(self, pictures: Tensor) -> Tensor:
        second = pictures[:, 0, 0, 0] * self.scale - 3
        return torch.stack([torch.zeros_like(second), second], 1)


def test_the_probabilities_of_image_and_mirror_image_are_averaged() -> None:
    """Left 0, right 1 (255): sigmoid(-3) and sigmoid(7) make 0.523 for class 1; one view says class 0."""
    images = np.zeros((2, 8, 8, 3), np.uint8)
    images[0, 0, 7] = 255
    test = Split(images, np.array([1, 0]), ("dark", "bright"))
    model = LeftPixel().eval()
    single = predict(model, test, progress=SILENT)
    assert single.predicted.tolist() == [0, 0]
    found = predict_two_views(model, test, single, progress=SILENT)
    mean = (1 / (1 + np.exp(3)) + 1 / (1 + np.exp(-7))) / 2
    np.testing.assert_allclose(np.exp(found.log_probabilities[0]), [1 - mean, mean], atol=1e-6)
    np.testing.assert_allclose(np.exp(found.log_probabilities).sum(1), 1)
    assert found.predicted.tolist() == [1, 0]
    assert found.accuracy == 1.0
    with pytest.raises(DataError, match="other weights or images"):
        predict_two_views(model, test, replace(single, images="others"), progress=SILENT)
