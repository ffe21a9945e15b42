"""The map methods: numbers by hand and by captum, the inputs that they accept, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, LayerGradCam, LayerGradientXActivation
from PIL import Image
from torch import Tensor, nn

from seefar import class_maps, contrast_map, gradcam, gradcam_plus_plus, hirescam, layercam
from seefar.data import Data
from seefar.errors import ChoiceError, DataError
from seefar.maps.formulas import METHODS, STEPS, MapMethod, integrated_gradients
from seefar.maps.grid import map_status
from seefar.model.resnet import STAGES, ResNet18
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


def toy_map(first: float, second: float) -> np.ndarray:
    expected = np.zeros((1, 6, 6))
    expected[0, 1, 2], expected[0, 4, 5] = first, second
    return expected


# Gradients of class 0, summed over the 36 cells, are 2 and -1; those of class 1 are 1, at the largest cell, and 0.
# Grad-CAM++, class 0: alpha of the first channel is g^2 / (2 g^2 + 3 g^3) = 1 / (2 + 3 * 2/36) = 6/13 at all 36 cells,
# so its weight is 36 * 6/13 * 2/36 = 12/13; the second's gradient is negative and does not count.
@pytest.mark.parametrize(
    ("method", "class_", "expected"),
    [
        (gradcam, 0, toy_map(2 * 3, -5)),  # signed: evidence against stays negative
        (gradcam, 1, toy_map(1 * 3, 0)),
        (gradcam_plus_plus, 0, toy_map(12 / 13 * 3, 0)),
        (hirescam, 0, toy_map(2 * 3, -5)),
        (layercam, 0, toy_map(2 * 3, 0)),
    ],
)
def test_the_methods_by_hand(method: MapMethod, class_: int, expected: np.ndarray) -> None:
    inputs = torch.zeros(1, 2, 6, 6)
    inputs[0, 0, 1, 2], inputs[0, 1, 4, 5] = 3.0, 5.0
    maps = method(Toy(), inputs, class_, "cells")
    np.testing.assert_allclose(maps, expected, atol=1e-6)
    assert maps.dtype == np.float32


def pictures(images: np.ndarray) -> Tensor:
    """Stored images as floats in 0 to 1, (N, 3, H, W)."""
    return torch.from_numpy(images).permute(0, 3, 1, 2) / 255


@pytest.fixture
def images(shapes: Data) -> np.ndarray:
    return shapes.test.images[:3].copy()


@pytest.mark.parametrize("layer", STAGES)
@pytest.mark.parametrize(("method", "theirs"), [(gradcam, LayerGradCam), (hirescam, LayerGradientXActivation)])
def test_captum_agrees_at_every_stage_of_a_trained_network(
    trained: Run,
    images: np.ndarray,
    method: MapMethod,
    theirs: type[LayerGradCam | LayerGradientXActivation],
    layer: str,
) -> None:
    """captum averages over the cells, as the papers do; ours is the sum, h * w times as much."""
    model, classes = trained.model, torch.tensor([0, 9, 9])
    inputs = pictures(images).requires_grad_()
    expected = theirs(model, model.get_submodule(layer)).attribute(inputs, target=classes)
    expected = expected.sum(1).detach().numpy()  # captum's Grad-CAM has added up the channels already
    ours = method(model, images, classes.numpy(), layer, force=True)
    np.testing.assert_allclose(ours / expected[0].size, expected, atol=1e-5)
    assert np.abs(expected).max() > 1e-3


def test_integrated_gradients_are_captums_and_add_up_to_a_difference_of_logits(
    trained: Run, images: np.ndarray
) -> None:
    model, classes, inputs = trained.model, torch.tensor([0, 9, 9]), pictures(images)
    baseline = inputs.mean((2, 3), keepdim=True).expand_as(inputs)
    settings = {"target": classes, "n_steps": STEPS, "method": "riemann_middle"}
    theirs = IntegratedGradients(model).attribute(inputs, baseline, **settings).sum(1).numpy()
    blocks = theirs.reshape(3, 8, 4, 8, 4).sum((2, 4))
    maps = integrated_gradients(model, images, classes.numpy())
    np.testing.assert_allclose(maps / 64, blocks, atol=1e-5)
    with torch.no_grad():
        change = (model(inputs) - model(baseline)).gather(1, classes[:, None])[:, 0].numpy()
    np.testing.assert_allclose(maps.mean((1, 2)), change, atol=0.1)  # the error of the steps
    assert np.abs(change).min() > 0.1


@pytest.mark.parametrize("cells", [None, 4, 16, 32])
def test_cells_of_the_twin_keep_the_coarse_ones_and_add_up_to_the_logit(
    trained: Run, images: np.ndarray, cells: int | None
) -> None:
    model, classes = trained.model, np.array([4, 4, 0])
    maps = gradcam(model, images, classes, cells=cells, force=True)
    found = class_maps(model, images, cells, force=True)
    assert maps.shape == (3, cells or 8, cells or 8)
    stride = maps.shape[1] // 4
    coarse = gradcam(model, images, classes, "layer4", force=True)
    np.testing.assert_allclose(maps[:, ::stride, ::stride], coarse, atol=1e-5)
    np.testing.assert_allclose(found.of(classes), maps, atol=1e-5)
    with torch.no_grad():
        logits = model(torch.from_numpy(images)).numpy()
    bias = model.fc.bias.detach().numpy()
    np.testing.assert_allclose(coarse.mean((1, 2)) + bias[classes], logits[np.arange(3), classes], atol=1e-5)
    np.testing.assert_allclose(found.logits, logits, atol=1e-5)
    np.testing.assert_allclose(hirescam(model, images, classes, cells=cells, force=True), maps, atol=1e-5)  # both CAM


def test_maps_of_five_cells_and_fewer_are_refused_unless_forced(make_net: MakeNet) -> None:
    net, images = make_net(width=1), np.zeros((1, 32, 32, 3), np.uint8)
    with pytest.raises(ChoiceError, match="layer4 gives maps of 4x4 cells"):
        gradcam(net, images, 0, "layer4")
    with pytest.raises(ChoiceError, match="5x5"):
        gradcam(Toy(), torch.zeros(1, 2, 5, 5), 0, "cells")
    assert gradcam(net, images, 0, "layer4", force=True).shape == (1, 4, 4)
    assert gradcam(Toy(), torch.zeros(1, 2, 6, 6), 0, "cells").shape == (1, 6, 6)
    for size, cells in ((16, 8), (17, 9), (20, 10), (21, 6), (24, 6), (32, 8), (48, 12)):  # by default fine enough
        assert gradcam(net, np.zeros((1, size, size, 3), np.uint8), 0).shape == (1, cells, cells)


def snapshot(net: nn.Module) -> list[object]:
    """All of a network that a map could change."""
    hooks = {name: (one.training, *one._forward_hooks, *one._backward_hooks) for name, one in net.named_modules()}
    parameters = [(one.requires_grad, one.grad) for one in net.parameters()]
    return [hooks, parameters, {name: tensor.tolist() for name, tensor in net.state_dict().items()}]


def test_the_model_is_unchanged(make_net: MakeNet, images: np.ndarray) -> None:
    net = make_net(width=1).train()
    net.layer2.eval()  # each module in its own mode
    net.fc.requires_grad_(False)
    before = snapshot(net)
    gradcam(net, images, 1, "layer3")
    assert snapshot(net) == before
    with pytest.raises(ChoiceError):
        gradcam(net, images, 99, "layer3")
    assert snapshot(net) == before


@pytest.mark.parametrize("name", METHODS)
def test_single_images_give_the_results_of_a_batch(
    make_net: MakeNet, images: np.ndarray, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each image with its own class; without classes that of the network, not of its twin."""
    monkeypatch.setattr("seefar.maps.formulas.STEPS", 2)
    net, method = make_net(width=2), METHODS[name]
    together = method(net, images, [0, 1, 2])
    alone = [method(net, images[i : i + 1], i)[0] for i in range(3)]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-6 * max(1, np.abs(together).max()))
    assert np.abs(together).max() > 0
    with torch.no_grad():
        predicted = net(torch.from_numpy(images)).argmax(1)
    for layer in (None, "layer2"):
        np.testing.assert_array_equal(method(net, images, layer=layer), method(net, images, predicted, layer))


def test_numbers_that_are_not_finite_give_a_flat_map_of_that_image_only(make_net: MakeNet) -> None:
    net = make_net(width=2)
    nan = torch.tensor([float("nan"), 0.0]).view(2, 1, 1, 1)
    net.normalize.register_forward_hook(lambda _module, _inputs, normalized: normalized + nan)
    maps = gradcam(net, torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8), 0)
    assert np.isfinite(maps).all()
    assert [map_status(map_) == "flat" for map_ in maps] == [True, False]


def test_the_contrast_is_the_map_of_the_margin(trained: Run, images: np.ndarray) -> None:
    """At any layer: captum's Grad-CAM of a network whose output is the difference of the two logits."""
    model = trained.model
    margin = nn.Sequential(model, nn.Linear(10, 1, bias=False))
    with torch.no_grad():
        margin[1].weight.zero_()
        margin[1].weight[0, 4], margin[1].weight[0, 7] = 1.0, -1.0
    inputs = pictures(images).requires_grad_()
    theirs = LayerGradCam(margin, model.layer2).attribute(inputs, target=0)[:, 0].detach().numpy()
    np.testing.assert_allclose(contrast_map(model, images, 4, 7, "layer2") / theirs[0].size, theirs, atol=1e-5)
    one, two = np.array([4, 0, 1]), np.array([7, 2, 1])
    contrast = contrast_map(model, images, one, two)
    np.testing.assert_array_equal(contrast_map(model, images, two, one), -contrast)
    np.testing.assert_allclose(class_maps(model, images).contrast(one, two), contrast, atol=1e-5)
    assert not contrast[2].any()  # a class against itself


class Odd(nn.Module):
    """Its cells are changed in place, one layer is used twice, and one leads nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.cells, self.relu, self.aside = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1)
        self.fc = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        cells = self.cells(inputs)
        cells += 10
        self.aside(cells)
        return self.fc(self.relu(self.relu(cells)).mean((2, 3)))


def test_in_place_networks_get_the_map_of_the_layers_output() -> None:
    torch.manual_seed(0)
    net, inputs = Odd(), torch.randn(2, 3, 8, 8)
    maps = gradcam(net, inputs, 0, "cells")
    with torch.no_grad():
        # All activations are above -10, so the gradient of the mean is 1/64 a cell and sums to the weight.
        expected = torch.einsum("c,nchw->nhw", net.fc.weight[0], net.cells(inputs))
    np.testing.assert_allclose(maps, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize(("layer", "message"), [("relu", "used 2 times"), ("aside", "do not depend on layer aside")])
def test_a_layer_without_one_place_on_the_way_to_the_logits_is_refused(layer: str, message: str) -> None:
    with pytest.raises(ChoiceError, match=message):
        gradcam(Odd().requires_grad_(False), torch.randn(2, 3, 8, 8), 0, layer)


def test_no_image_and_other_shapes(make_net: MakeNet) -> None:
    nothing = np.zeros((0, 32, 32, 3), np.uint8)
    assert gradcam(make_net(width=1), nothing, 0).shape == class_maps(make_net(), nothing).maps[:, 0].shape
    assert gradcam(Toy(), torch.zeros(0, 2, 6, 7), 0, "cells").shape == (0, 6, 7)
    assert len(gradcam(Toy(), torch.zeros(101, 2, 6, 7), 0, "cells")) == 101  # more than a batch


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"layer": "layer5"}, r"no layer 'layer5': pass .*it has normalize, conv1, .*layer4, fc"),
        ({"layer": "fc"}, r"Layer fc must give .*got float32 \(1, 4\)"),
        ({"layer": nn.ReLU()}, "no layer ReLU"),
        ({"layer": "layer1", "cells": 8}, "either layer or cells"),
        ({"cells": 7}, "7 cells: choose one of 8, 16, 32"),
        ({"classes": 4}, "from 0 to 3 .got 4 to 4"),
        ({"classes": 0.5}, "got float64"),
        ({"classes": [0, 1]}, r"got int64 \(2,\)"),
        ({"images": np.zeros((1, 3, 32, 32), np.int64)}, r"int64 \(1, 3, 32, 32\)"),
    ],
)
def test_layers_without_maps_are_named(make_net: MakeNet, call: dict[str, object], message: str) -> None:
    images = np.zeros((1, 32, 32, 3), np.uint8)
    with pytest.raises((ChoiceError, DataError), match=message):
        gradcam(**{"model": make_net(width=1), "images": images, "classes": 0, **call})  # type: ignore[arg-type]


def test_one_picture_a_list_a_mirrored_array_and_pil(make_net: MakeNet, images: np.ndarray) -> None:
    net, as_float, as_pil = make_net(width=2), pictures(images), [Image.fromarray(image) for image in images]
    together = gradcam(net, images, [0, 1, 2])
    for same in (list(images), as_pil, list(as_float), images[:, :, ::-1].copy()[:, :, ::-1]):
        np.testing.assert_array_equal(gradcam(net, same, [0, 1, 2]), together)
    for single in (images[0], as_pil[0], as_float[0]):
        np.testing.assert_allclose(gradcam(net, single, 0), together[:1], atol=1e-4)
    np.testing.assert_allclose(gradcam(net, as_float.half(), [0, 1, 2]), together, atol=0.1)
    np.testing.assert_array_equal(gradcam(net, images, 0, net.layer2), gradcam(net, images, 0, "layer2"))


def test_class_maps_of_another_network_are_those_of_each_class() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 3))
    inputs = torch.rand(2, 3, 32, 32)
    found = class_maps(net, inputs)
    np.testing.assert_array_equal(found.of(1), gradcam(net, inputs, 1))
    np.testing.assert_allclose(found.logits, net(inputs).detach().numpy(), atol=1e-6)
    with pytest.raises(ChoiceError, match="default layer only"):
        gradcam(net, inputs, 0, cells=8)
