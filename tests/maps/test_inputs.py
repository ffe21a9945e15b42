"""What map methods take: images, classes and layers in several forms, networks of other make, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from seefar import gradcam
from seefar.errors import ChoiceError, DataError
from seefar.maps.formulas import METHODS
from seefar.model.resnet import ResNet18

MakeNet = Callable[..., ResNet18]


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


def test_one_picture_a_list_a_mirrored_or_read_only_array_and_pil(make_net: MakeNet, images: np.ndarray) -> None:
    net = make_net()
    together = gradcam(net, images, [0, 1, 2])
    np.testing.assert_array_equal(gradcam(net, list(images), [0, 1, 2]), together)
    np.testing.assert_array_equal(gradcam(net, [Image.fromarray(image) for image in images], [0, 1, 2]), together)
    np.testing.assert_allclose(gradcam(net, images[0], 0), together[:1], atol=1e-4)
    np.testing.assert_allclose(gradcam(net, Image.fromarray(images[0]), 0), together[:1], atol=1e-4)  # type: ignore[arg-type]
    as_float = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    np.testing.assert_allclose(gradcam(net, as_float[0], 0), together[:1], atol=1e-4)
    np.testing.assert_array_equal(gradcam(net, list(as_float), [0, 1, 2]), together)
    np.testing.assert_allclose(gradcam(net, as_float.double(), [0, 1, 2]), together, atol=1e-4)
    np.testing.assert_allclose(gradcam(net, as_float.half(), [0, 1, 2]), together, atol=0.1)
    twice = images[:, :, ::-1]
    np.testing.assert_array_equal(gradcam(net, twice[:, :, ::-1], [0, 1, 2]), together)
    images.flags.writeable = False
    np.testing.assert_array_equal(gradcam(net, images, [0, 1, 2]), together)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            [np.zeros((32, 32, 3), np.uint8), np.zeros((16, 16, 3), np.uint8)],
            r"a list of uint8 \(32, 32, 3\), uint8",
        ),
        ("cat.png", "got a str"),
        (None, "got a NoneType"),
        (np.zeros((1, 32, 32, 4), np.uint8), r"uint8 \(1, 32, 32, 4\)"),
        (torch.full((1, 3, 32, 32), float("nan")), "floats from nan to nan"),
        (np.zeros((1, 3, 32, 32), np.int64), r"int64 \(1, 3, 32, 32\)"),
    ],
)
def test_what_are_no_pictures_is_refused(make_net: MakeNet, wrong: object, message: str) -> None:
    with pytest.raises((DataError, ChoiceError), match=message):
        gradcam(make_net(), wrong, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_without_classes_it_is_the_predicted_one(
    make_net: MakeNet, images: np.ndarray, method: Callable[..., np.ndarray]
) -> None:
    """Of the network, also where the map is the twin's, which for the sake of its gradients gives other logits."""
    net = make_net(num_classes=7, width=2)
    with torch.no_grad():
        predicted = net(torch.from_numpy(images)).argmax(1)
    for layer in (None, "layer2"):
        np.testing.assert_array_equal(method(net, images, layer=layer), method(net, images, predicted, layer))


def test_a_layer_is_its_name_or_itself(make_net: MakeNet, images: np.ndarray) -> None:
    net = make_net()
    np.testing.assert_array_equal(gradcam(net, images, 0, net.layer2), gradcam(net, images, 0, "layer2"))
    with pytest.raises(ChoiceError, match="The Sequential that was passed is not part of the ResNet18"):
        gradcam(net, images, 0, make_net().layer2)


class Vgg(nn.Module):
    """Three poolings: 32 pixels end in 4x4 cells."""

    def __init__(self) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for channels, out in ((3, 4), (4, 4), (4, 4)):
            parts += [nn.Conv2d(channels, out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.features, self.classifier = nn.Sequential(*parts), nn.Linear(64, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.classifier(self.features(inputs).flatten(1))


def test_messages_name_the_layers_of_the_network_that_is_there() -> None:
    net, inputs = Vgg(), torch.rand(1, 3, 32, 32)
    with pytest.raises(ChoiceError) as too_coarse:
        gradcam(net, inputs, 0, "features")
    assert "maps of 4x4 cells" in str(too_coarse.value)
    assert "it has features, classifier; its last convolution is 'features.6'" in str(too_coarse.value)
    assert "twin" not in str(too_coarse.value)  # it has none
    with pytest.raises(ChoiceError, match=r"Vgg has no layer 'layer4.1': pass .* features, classifier; .*'features.6'"):
        gradcam(net, inputs, 0, "layer4.1")
    with pytest.raises(ChoiceError, match="default layer only"):
        gradcam(net, inputs, 0, cells=8)
    np.testing.assert_array_equal(gradcam(net, inputs, 0), gradcam(net, inputs, 0, "features.7"))  # the last of 8x8
    np.testing.assert_array_equal(gradcam(net, inputs[0], 0), gradcam(net, inputs, 0))
    stored = (inputs * 255).round().to(torch.uint8)
    of_stored = gradcam(net, stored.permute(0, 2, 3, 1), 0)
    np.testing.assert_allclose(of_stored, gradcam(net, stored / 255, 0), atol=1e-6)
    assert gradcam(net.double(), inputs, 0, "features.6").shape == (1, 8, 8)  # inputs take the network's type


class Wrapped(nn.Module):
    """Gives something else than logits (N, K)."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.cells, self.form = nn.Conv2d(3, 2, 1), form

    def forward(self, inputs: Tensor) -> object:
        cells = self.cells(inputs)
        return {"logits": cells.mean((2, 3))} if self.form == "dict" else cells


@pytest.mark.parametrize(("form", "found"), [("dict", "a dict"), ("segments", r"float32 \(1, 2, 8, 8\)")])
def test_a_network_that_gives_no_logits_is_refused(form: str, found: str) -> None:
    with pytest.raises(ChoiceError, match=rf"Wrapped must return logits .*got {found}"):
        gradcam(Wrapped(form), torch.rand(1, 3, 8, 8), 0, "cells")


def test_what_is_no_network_is_refused(images: np.ndarray) -> None:
    with pytest.raises(ChoiceError, match="got a str"):
        gradcam("resnet18", images, 0)  # type: ignore[arg-type]
