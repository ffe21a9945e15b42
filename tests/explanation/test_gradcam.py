from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn

from seefar import gradcam
from seefar.data import Data
from seefar.errors import MapError
from seefar.model import STAGES, ResNet18, dense_twin
from seefar.training.run import Run

MakeNet = Callable[..., ResNet18]


class Toy(nn.Module):
    """Two channels that are the input's, then class 0 = 2 * mean(first) - mean(second), class 1 = max of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        cells = self.cells(inputs)
        means = cells.mean((2, 3))
        return torch.stack((2 * means[:, 0] - means[:, 1], cells[:, 0].amax((1, 2))), dim=1)


def test_by_hand() -> None:
    """Gradients summed over the 36 cells: 2 and -1 for class 0; 1 and 0 for class 1, all of it at the largest cell."""
    inputs = torch.zeros(2, 2, 6, 6)
    inputs[:, 0, 1, 2], inputs[:, 1, 4, 5] = 3.0, 5.0
    maps = gradcam(Toy(), inputs, [0, 1], layer="cells")
    expected = np.zeros((2, 6, 6))
    expected[0, 1, 2], expected[0, 4, 5] = 2 * 3.0, -1 * 5.0  # signed: evidence against stays negative
    expected[1, 1, 2] = 1 * 3.0
    np.testing.assert_allclose(maps, expected)
    assert maps.dtype == np.float32
    assert maps[0].mean() == pytest.approx(Toy()(inputs)[0, 0].item())


@pytest.fixture
def images(shapes: Data) -> np.ndarray:
    return shapes.test.images[:6]


@pytest.mark.parametrize("layer", STAGES)
def test_captum_agrees_at_every_stage_of_a_trained_net(trained: Run, images: np.ndarray, layer: str) -> None:
    """captum averages the gradient over the cells, as the paper does; ours is the sum, h * w times as much."""
    model = trained.model
    inputs = model.normalize(torch.from_numpy(images)).requires_grad_()
    classes = torch.tensor([0, 1, 2, 3, 9, 9])
    theirs = LayerGradCam(model, model.get_submodule(layer)).attribute(inputs, target=classes)
    theirs = theirs[:, 0].detach().numpy()
    ours = gradcam(model, images, classes.numpy(), layer, force=True)
    np.testing.assert_allclose(ours / theirs[0].size, theirs, atol=1e-5)
    assert np.abs(theirs).max() > 1e-3


def test_the_default_is_the_twins_last_stage_and_adds_up_to_the_logit(trained: Run, images: np.ndarray) -> None:
    model, classes = trained.model, np.array([4, 4, 0, 1, 2, 3])
    maps = gradcam(model, images, classes)
    assert maps.shape == (6, 8, 8)
    coarse = gradcam(model, images, classes, "layer4", force=True)
    np.testing.assert_allclose(maps[:, ::2, ::2], coarse, atol=1e-5)
    with torch.no_grad():
        logits = model(model.normalize(torch.from_numpy(images))).numpy()
    bias = model.fc.bias.detach().numpy()
    np.testing.assert_allclose(maps[:, ::2, ::2].mean((1, 2)) + bias[classes], logits[np.arange(6), classes], atol=1e-5)


@pytest.mark.parametrize("cells", [4, 8, 16, 32])
def test_finer_cells_keep_the_coarse_ones(trained: Run, images: np.ndarray, cells: int) -> None:
    coarse = gradcam(trained.model, images, 1, "layer4", force=True)
    maps = gradcam(trained.model, images, 1, cells=cells, force=True)
    assert maps.shape == (6, cells, cells)
    np.testing.assert_allclose(maps[:, :: cells // 4, :: cells // 4], coarse, atol=1e-5)


def test_at_the_last_stage_it_is_cam(trained: Run, images: np.ndarray) -> None:
    twin = dense_twin(trained.model)
    with torch.no_grad():
        features = twin.features(twin.normalize(torch.from_numpy(images)))
        cam = torch.einsum("c,nchw->nhw", twin.fc.weight[7], features)
    np.testing.assert_allclose(gradcam(trained.model, images, 7), cam.numpy(), atol=1e-5)


def test_the_class_that_is_asked_for_is_explained_not_the_position(trained: Run, images: np.ndarray) -> None:
    """A known mistake: explaining class i for the i-th image."""
    classes = np.array([9, 8, 7, 6, 5, 4])
    maps = gradcam(trained.model, images, classes)
    for position, class_ in enumerate(classes):
        alone = gradcam(trained.model, images[position : position + 1], int(class_))[0]
        np.testing.assert_allclose(maps[position], alone, atol=1e-5)
        by_position = gradcam(trained.model, images[position : position + 1], position)[0]
        assert not np.allclose(maps[position], by_position, atol=1e-3)


def test_images_are_normalised_as_the_net_was_trained(trained: Run, images: np.ndarray) -> None:
    """A known mistake: ImageNet's constants at explain time."""
    model = trained.model
    maps = gradcam(model, images, 3)
    np.testing.assert_array_equal(maps, gradcam(model, model.normalize(torch.from_numpy(images)), 3))
    imagenet_mean, imagenet_std = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
    other = ((torch.from_numpy(images) / 255 - imagenet_mean) / imagenet_std).permute(0, 3, 1, 2)
    assert np.abs(maps - gradcam(model, other, 3)).max() > 0.01


def test_maps_of_five_cells_and_fewer_are_refused_unless_forced(trained: Run, images: np.ndarray) -> None:
    with pytest.raises(MapError, match=r"layer4 gives maps of 4x4 cells, at least 6x6"):
        gradcam(trained.model, images, 0, "layer4")
    with pytest.raises(MapError, match="4 cells cannot be had of 32-pixel images: pass one of 8, 16, 32"):
        gradcam(trained.model, images, 0, cells=4)
    with pytest.raises(MapError, match="5x5"):
        gradcam(Toy(), torch.zeros(1, 2, 5, 5), 0, "cells")
    assert gradcam(trained.model, images, 0, "layer4", force=True).shape == (6, 4, 4)
    assert gradcam(Toy(), torch.zeros(1, 2, 6, 6), 0, "cells").shape == (1, 6, 6)


def test_small_images_get_cells_fine_enough_by_default(make_net: MakeNet) -> None:
    for size, cells in ((16, 8), (17, 9), (20, 10), (21, 6), (24, 6), (32, 8), (48, 12), (96, 24)):
        assert gradcam(make_net(), np.zeros((1, size, size, 3), np.uint8), 0).shape == (1, cells, cells)


def test_the_model_is_left_as_it_came(make_net: MakeNet) -> None:
    net = make_net()
    net.train()
    net.layer2.eval()  # each module in its own mode
    net.fc.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    modes = {name: module.training for name, module in net.named_modules()}
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)

    def unchanged() -> bool:
        return (
            all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
            and modes == {name: module.training for name, module in net.named_modules()}
            and all(parameter.grad is None for parameter in net.parameters())
            and not any(module._forward_hooks or module._backward_hooks for module in net.modules())
            and not net.fc.weight.requires_grad
            and net.conv1.weight.requires_grad
        )

    gradcam(net, images, 1, "layer3")
    assert unchanged()
    with pytest.raises(MapError):
        gradcam(net, images, 99, "layer3")
    assert unchanged()
    with pytest.raises(RuntimeError):
        gradcam(net, torch.zeros(1, 5, 32, 32), 0, "layer3")  # five channels: torch itself objects
    assert unchanged()


def test_frozen_weights_and_no_grad_do_not_matter(trained: Run, images: np.ndarray) -> None:
    expected = gradcam(trained.model, images, 2, "layer2")
    trained.model.requires_grad_(False)
    try:
        with torch.no_grad():
            np.testing.assert_array_equal(gradcam(trained.model, images, 2, "layer2"), expected)
    finally:
        trained.model.requires_grad_(True)


class InPlace(nn.Module):
    """Changes the activations that its layer gave: a stored map must not follow."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        cells = self.cells(inputs)
        cells += 10
        return self.fc(cells.relu_().mean((2, 3)))


def test_a_network_that_works_in_place_gets_the_map_of_what_its_layer_gave() -> None:
    torch.manual_seed(0)
    net, inputs = InPlace(), torch.randn(2, 3, 8, 8)
    maps = gradcam(net, inputs, 0, "cells")
    with torch.no_grad():
        # All activations are above -10, so the gradient of the mean is 1/64 a cell and sums to the weight.
        expected = torch.einsum("c,nchw->nhw", net.fc.weight[0], net.cells(inputs))
    np.testing.assert_allclose(maps, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 101])
def test_any_number_of_images(make_net: MakeNet, count: int) -> None:
    assert len(gradcam(make_net(width=1), np.zeros((count, 16, 16, 3), np.uint8), 0)) == count


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"layer": "layer5"}, r"no layer 'layer5': it has normalize, conv1, .*layer4, fc"),
        ({"layer": "fc"}, r"Layer fc gives \(1, 4\)"),
        ({"layer": "layer1", "cells": 8}, "either layer or cells"),
        ({"cells": 7}, "7 cells cannot be had of 32-pixel images: pass one of 8, 16, 32"),
        ({"classes": 4}, "Classes run from 4 to 4, the network has 4"),
        ({"classes": -1}, "Classes run from -1"),
        ({"classes": 0.5}, "class indices were wanted"),
        ({"classes": [0, 1]}, r"int64 \(2,\), class indices were wanted"),
        ({"layer": "normalize"}, "takes no part in the forward pass"),
    ],
)
def test_what_cannot_be_mapped_is_told(make_net: MakeNet, call: dict[str, object], message: str) -> None:
    arguments = {"classes": 0, **call}
    with pytest.raises(MapError, match=message):
        gradcam(make_net(), np.zeros((1, 32, 32, 3), np.uint8), **arguments)  # type: ignore[arg-type]


def test_other_networks_name_their_layer_and_bring_their_own_input() -> None:
    with pytest.raises(MapError, match="name a layer"):
        gradcam(Toy(), torch.zeros(1, 2, 6, 6), 0)
    with pytest.raises(MapError, match="cannot take uint8 images"):
        gradcam(InPlace(), np.zeros((1, 8, 8, 3), np.uint8), 0, "cells")
