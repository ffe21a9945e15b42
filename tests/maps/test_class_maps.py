from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from seefar import class_maps, gradcam
from seefar.model.resnet import ResNet18


@pytest.mark.parametrize("classes", [2, 7])
@pytest.mark.parametrize("size", [16, 21, 32, 48])
@pytest.mark.parametrize("width", [1, 4])
def test_all_classes_and_the_logits_come_from_one_pass(
    make_net: Callable[..., ResNet18], size: int, width: int, classes: int
) -> None:
    net = make_net(classes, width)
    images = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    found = class_maps(net, images)
    with torch.no_grad():
        logits = net(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(found.logits, logits, rtol=1e-4, atol=1e-4)
    for class_ in range(classes):
        np.testing.assert_allclose(found.of(class_), gradcam(net, images, class_), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found.of([0, 1]), np.stack((found.maps[0, 0], found.maps[1, 1])))


@pytest.mark.parametrize(("cells", "stride"), [(8, 2), (16, 4), (32, 8)])
def test_of_finer_cells_some_enter_the_logits(make_net: Callable[..., ResNet18], cells: int, stride: int) -> None:
    net = make_net()
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    found = class_maps(net, images, cells)
    assert found.maps.shape == (2, 4, cells, cells)
    bias = net.fc.bias.detach().numpy()
    np.testing.assert_allclose(found.maps[:, :, ::stride, ::stride].mean((2, 3)) + bias, found.logits, rtol=1e-4)


def test_no_image_and_other_networks(make_net: Callable[..., ResNet18]) -> None:
    assert class_maps(make_net(), np.zeros((0, 32, 32, 3), np.uint8)).maps.shape == (0, 4, 8, 8)
    parts = torch.nn.Conv2d(3, 5, 4, 4), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(320, 2)
    net, inputs = torch.nn.Sequential(*parts), torch.rand(3, 3, 32, 32)
    found = class_maps(net, inputs)
    for k in range(2):
        np.testing.assert_array_equal(found.of(k), gradcam(net, inputs, k, "1"))
    np.testing.assert_allclose(found.logits, net(inputs).detach().numpy(), atol=1e-6)
