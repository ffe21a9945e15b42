from __future__ import annotations

import inspect
from collections.abc import Callable
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam, LayerGradientXActivation
from torch import Tensor, nn

from seefar import class_maps, contrast_map, gradcam, gradcam_plus_plus, hirescam, layercam
from seefar.data import Data
from seefar.errors import ChoiceError, DataError
from seefar.maps.formulas import METHODS, MapMethod
from seefar.maps.grid import map_status
from seefar.model.resnet import STAGES, ResNet18, dense_twin
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


def toy_inputs() -> Tensor:
    inputs = torch.zeros(1, 2, 6, 6)
    inputs[0, 0, 1, 2], inputs[0, 1, 4, 5] = 3.0, 5.0
    return inputs


def toy_map(first: float, second: float) -> np.ndarray:
    expected = np.zeros((1, 6, 6))
    expected[0, 1, 2], expected[0, 4, 5] = first, second
    return expected


# By hand, for class 0. The gradient is 2/36 at every cell of the first channel and -1/36 at every cell of the second.
# Grad-CAM++: alpha of the first is g^2 / (2 g^2 + 3 g^3) = 1 / (2 + 3 * 2/36) = 6/13 at all 36 cells, so its weight is
# 36 * 6/13 * 2/36 = 12/13; the second's gradient is negative and counts nothing.
BY_HAND = [
    (gradcam_plus_plus, toy_map(12 / 13 * 3, 0)),
    (hirescam, toy_map(2 * 3, -5)),
    (layercam, toy_map(2 * 3, 0)),
]


@pytest.mark.parametrize(("method", "expected"), BY_HAND, ids=lambda value: getattr(value, "__name__", ""))
def test_the_family_by_hand(method: MapMethod, expected: np.ndarray) -> None:
    np.testing.assert_allclose(method(Toy(), toy_inputs(), 0, "cells"), expected, atol=1e-6)


def pictures(images: np.ndarray) -> Tensor:
    """Stored images as floats in 0 to 1, (N, 3, H, W)."""
    return torch.from_numpy(images).permute(0, 3, 1, 2) / 255


@pytest.fixture
def images(shapes: Data) -> np.ndarray:
    return shapes.test.images[:6]


@pytest.mark.parametrize("layer", STAGES)
@pytest.mark.parametrize(("method", "theirs"), [(gradcam, LayerGradCam), (hirescam, LayerGradientXActivation)])
def test_captum_agrees_at_every_stage_of_a_trained_net(
    trained: Run,
    images: np.ndarray,
    method: MapMethod,
    theirs: type[LayerGradCam | LayerGradientXActivation],
    layer: str,
) -> None:
    """captum averages over the cells, as the papers do; ours is the sum, h * w times as much."""
    model = trained.model
    inputs = pictures(images).requires_grad_()
    classes = torch.tensor([0, 1, 2, 3, 9, 9])
    expected = theirs(model, model.get_submodule(layer)).attribute(inputs, target=classes)
    expected = expected.sum(1).detach().numpy()  # captum's Grad-CAM has added up the channels already
    ours = method(model, images, classes.numpy(), layer, force=True)
    np.testing.assert_allclose(ours / expected[0].size, expected, atol=1e-5)
    assert np.abs(expected).max() > 1e-3


def test_the_default_is_the_twins_last_stage_and_adds_up_to_the_logit(trained: Run, images: np.ndarray) -> None:
    model, classes = trained.model, np.array([4, 4, 0, 1, 2, 3])
    maps = gradcam(model, images, classes)
    assert maps.shape == (6, 8, 8)
    coarse = gradcam(model, images, classes, "layer4", force=True)
    np.testing.assert_allclose(maps[:, ::2, ::2], coarse, atol=1e-5)
    with torch.no_grad():
        logits = model(torch.from_numpy(images)).numpy()
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
    for method in (gradcam, hirescam):
        np.testing.assert_allclose(method(trained.model, images, 7), cam.numpy(), atol=1e-5)
    np.testing.assert_allclose(class_maps(trained.model, images).of(7), cam.numpy(), atol=1e-5)
    with torch.no_grad():
        only_for = torch.einsum("c,nchw->nhw", twin.fc.weight[7].relu(), features)
    np.testing.assert_allclose(layercam(trained.model, images, 7), only_for.numpy(), atol=1e-5)


def test_the_class_that_is_asked_for_is_explained_not_the_position(trained: Run, images: np.ndarray) -> None:
    """A known mistake: explaining class i for the i-th image."""
    classes = np.array([9, 8, 7, 6, 5, 4])
    maps = gradcam(trained.model, images, classes)
    for position, class_ in enumerate(classes):
        alone = gradcam(trained.model, images[position : position + 1], int(class_))[0]
        np.testing.assert_allclose(maps[position], alone, atol=1e-5)
        by_position = gradcam(trained.model, images[position : position + 1], position)[0]
        assert not np.allclose(maps[position], by_position, atol=1e-3)


class Classify(nn.Module):
    """The network without its normalisation."""

    def __init__(self, net: ResNet18) -> None:
        super().__init__()
        self.net = net

    def forward(self, inputs: Tensor) -> Tensor:
        return self.net.classify(inputs)


def test_images_are_normalised_as_the_net_was_trained(trained: Run, images: np.ndarray) -> None:
    """A known mistake: ImageNet's constants at explain time."""
    model = trained.model
    maps = gradcam(model, images, 3)
    np.testing.assert_array_equal(maps, gradcam(model, pictures(images), 3))
    own = nn.Sequential(model.normalize, Classify(model))
    np.testing.assert_array_equal(
        gradcam(model, images, 3, "layer3"), gradcam(own, pictures(images), 3, "1.net.layer3")
    )
    with pytest.raises(DataError, match=r"floats from -\S+ to \S+: pass images without normalisation"):
        gradcam(model, model.normalize(torch.from_numpy(images)), 3)


def test_maps_of_five_cells_and_fewer_are_refused_unless_forced(trained: Run, images: np.ndarray) -> None:
    with pytest.raises(ChoiceError, match="layer4 gives maps of 4x4 cells"):
        gradcam(trained.model, images, 0, "layer4")
    with pytest.raises(ChoiceError, match="4 cells: choose one of 8, 16, 32"):
        gradcam(trained.model, images, 0, cells=4)
    with pytest.raises(ChoiceError, match="5x5"):
        gradcam(Toy(), torch.zeros(1, 2, 5, 5), 0, "cells")
    assert gradcam(trained.model, images, 0, "layer4", force=True).shape == (6, 4, 4)
    assert gradcam(Toy(), torch.zeros(1, 2, 6, 6), 0, "cells").shape == (1, 6, 6)


def test_small_images_get_cells_fine_enough_by_default(make_net: MakeNet) -> None:
    for size, cells in ((16, 8), (17, 9), (20, 10), (21, 6), (24, 6), (32, 8), (48, 12), (96, 24)):
        assert gradcam(make_net(), np.zeros((1, size, size, 3), np.uint8), 0).shape == (1, cells, cells)


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_the_model_is_left_as_it_came(make_net: MakeNet, method: MapMethod, monkeypatch: pytest.MonkeyPatch) -> None:
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

    method(net, images, 1, "layer3")
    assert unchanged()
    with pytest.raises(ChoiceError):
        method(net, images, 99, "layer3")
    assert unchanged()
    monkeypatch.setattr(ResNet18, "pool", Mock(side_effect=RuntimeError("of the network")))
    with pytest.raises(RuntimeError, match="of the network"):
        method(net, images, 0, "layer3")
    assert unchanged()


def test_each_formula_is_found_under_its_public_name() -> None:
    """What `??` shows in a notebook: the signature that all share, the paper, and the formula itself."""
    signatures = {str(inspect.signature(method)) for method in METHODS.values()}
    assert len(signatures) == 1
    assert list(inspect.signature(gradcam).parameters) == ["model", "images", "classes", "layer", "cells", "force"]
    for method in METHODS.values():
        assert inspect.getsource(method).startswith(f"def {method.__name__}(")
        assert "Examples:\n    >>>" in inspect.cleandoc(method.__doc__ or "")
    assert "weights = at.gradients.sum((2, 3), keepdim=True)" in inspect.getsource(gradcam)
    assert "(at.gradients * at.activations).sum(1)" in inspect.getsource(hirescam)
    assert (hirescam.__doc__ or "").startswith("HiResCAM (Draelos & Carin 2020, arXiv 2011.08891)")
    for word in ("Args:", "Returns:", "Raises:", "model:", "images:", "classes:", "layer:", "cells:", "force:"):
        assert word in (gradcam.__doc__ or "")


@pytest.mark.parametrize("name", METHODS)
def test_one_by_one_gives_what_a_batch_gives(make_net: MakeNet, name: str) -> None:
    net, method = make_net(), METHODS[name]
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    together = method(net, images, [0, 1, 2])
    alone = [method(net, images[i : i + 1], i)[0] for i in range(3)]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-6 * max(1, np.abs(together).max()))
    assert together.dtype == np.float32
    assert np.abs(together).max() > 0


@pytest.mark.parametrize("name", METHODS)
def test_a_network_of_other_make_brings_its_layer(name: str) -> None:
    torch.manual_seed(0)
    vgg = nn.Sequential(
        nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU()
        ),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 3),
    )
    assert METHODS[name](vgg, torch.randn(2, 1, 20, 24), 1, "0.4").shape == (2, 10, 12)


@pytest.mark.parametrize("name", METHODS)
def test_numbers_that_are_not_finite_give_a_flat_map_of_that_image_only(make_net: MakeNet, name: str) -> None:
    net = make_net()
    nan = torch.tensor([float("nan"), 0.0]).view(2, 1, 1, 1)

    def break_the_first(_module: nn.Module, _inputs: object, normalized: Tensor) -> Tensor:
        return normalized + nan[: len(normalized)]

    net.normalize.register_forward_hook(break_the_first)
    maps = METHODS[name](net, torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8), 0)
    assert np.isfinite(maps).all()
    assert map_status(maps[1]) != "flat"
    assert map_status(maps[0]) == "flat"


def test_status() -> None:
    cells = np.zeros((8, 8), np.float32)
    assert map_status(cells) == map_status(cells + 7) == map_status(cells - 7) == "flat"
    cells[0, 0] = 1
    assert map_status(cells) == "ok"
    assert map_status(cells - 1) == map_status(-cells) == "no positive evidence"
    assert map_status(1e9 + cells) == "flat"  # a stretched picture of this would be rounding noise


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.compile imports what torch calls old
def test_a_compiled_network_is_explained_as_the_original(trained: Run, images: np.ndarray) -> None:
    compiled = torch.compile(trained.model)
    for layer in (None, "layer3"):
        np.testing.assert_array_equal(gradcam(compiled, images, 1, layer), gradcam(trained.model, images, 1, layer))


def test_memory_stays_flat_over_many_calls(make_net: MakeNet) -> None:
    import gc

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())

    net, images = make_net(width=1), np.zeros((1, 16, 16, 3), np.uint8)
    gradcam(net, images, 0)
    before = tensors()
    for _ in range(200):
        gradcam(net, images, 0)
    assert tensors() == before


def test_the_contrast_answers_why_one_rather_than_the_other(trained: Run, images: np.ndarray) -> None:
    model, one, two = trained.model, np.arange(6), np.arange(6)[::-1].copy()
    contrast = contrast_map(model, images, one, two)
    np.testing.assert_array_equal(contrast_map(model, images, two, one), -contrast)
    np.testing.assert_array_equal(contrast_map(model, images, one, one), np.zeros_like(contrast))
    np.testing.assert_allclose(class_maps(model, images).contrast(one, two), contrast, atol=1e-5)
    with torch.no_grad():
        logits = model(torch.from_numpy(images)).numpy()
    bias = model.fc.bias.detach().numpy()
    margin = logits[np.arange(6), one] - logits[np.arange(6), two]
    np.testing.assert_allclose(contrast[:, ::2, ::2].mean((1, 2)) + bias[one] - bias[two], margin, atol=1e-5)


def test_the_contrast_is_the_map_of_the_margin(trained: Run, images: np.ndarray) -> None:
    """At any layer: captum's Grad-CAM of a network whose output is the difference of the two logits."""
    model = trained.model
    margin = nn.Sequential(model, nn.Linear(10, 1, bias=False))
    with torch.no_grad():
        margin[1].weight.zero_()
        margin[1].weight[0, 4], margin[1].weight[0, 7] = 1.0, -1.0
    inputs = pictures(images).requires_grad_()
    theirs = LayerGradCam(margin, model.layer2).attribute(inputs, target=0)[:, 0].detach().numpy()
    ours = contrast_map(model, images, 4, 7, "layer2")
    np.testing.assert_allclose(ours / theirs[0].size, theirs, atol=1e-5)


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


class Odd(nn.Module):
    """One layer that is used twice, and one that leads nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu, self.aside = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        cells = self.relu(self.first(inputs))
        self.aside(cells)
        return self.relu(cells - 0.1).mean((2, 3))


def test_a_layer_without_one_place_on_the_way_to_the_logits_is_refused() -> None:
    net, inputs = Odd(), torch.randn(2, 3, 8, 8)
    with pytest.raises(ChoiceError, match="relu is used 2 times"):
        gradcam(net, inputs, 0, "relu")
    for frozen in (False, True):
        with pytest.raises(ChoiceError, match="do not depend on layer aside"):
            gradcam(net.requires_grad_(not frozen), inputs, 0, "aside")
    assert gradcam(net, inputs, 0, "first").shape == (2, 8, 8)


def test_inference_mode_does_not_matter(trained: Run, images: np.ndarray) -> None:
    expected = gradcam(trained.model, images, 2)
    with torch.inference_mode():
        inputs = pictures(images)
        np.testing.assert_array_equal(gradcam(trained.model, images, 2), expected)
        np.testing.assert_array_equal(gradcam(trained.model, inputs, 2), expected)


@pytest.mark.parametrize("name", METHODS)
def test_no_image_has_maps_of_the_right_height_and_width(make_net: MakeNet, name: str) -> None:
    nothing = np.zeros((0, 32, 32, 3), np.uint8)
    assert METHODS[name](make_net(width=1), nothing, 0).shape == (0, 8, 8)
    assert METHODS[name](Toy(), torch.zeros(0, 2, 6, 7), 0, "cells").shape == (0, 6, 7)
    with pytest.raises(ChoiceError, match="no layer 'layer9'"):
        METHODS[name](make_net(width=1), nothing, 0, "layer9")


@pytest.mark.parametrize("count", [0, 1, 101])
def test_any_number_of_images(make_net: MakeNet, count: int) -> None:
    assert len(gradcam(make_net(width=1), np.zeros((count, 16, 16, 3), np.uint8), 0)) == count


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"layer": "layer5"}, r"no layer 'layer5': pass .*it has normalize, conv1, .*layer4, fc; its last"),
        ({"layer": "fc"}, r"Layer fc must give .*got float32 \(1, 4\)"),
        ({"layer": "layer1", "cells": 8}, "either layer or cells"),
        ({"cells": 7}, "7 cells: choose one of 8, 16, 32"),
        ({"classes": 4}, "from 0 to 3 .got 4 to 4"),
        ({"classes": -1}, "got -1 to -1"),
        ({"classes": 0.5}, "got float64"),
        ({"classes": [0, 1]}, r"got int64 \(2,\)"),
    ],
)
def test_what_cannot_be_mapped_is_told(make_net: MakeNet, call: dict[str, object], message: str) -> None:
    arguments = {"classes": 0, **call}
    with pytest.raises(ChoiceError, match=message):
        gradcam(make_net(), np.zeros((1, 32, 32, 3), np.uint8), **arguments)  # type: ignore[arg-type]


def test_other_networks_name_their_layer_and_bring_their_own_input() -> None:
    net, inputs = InPlace(), torch.rand(1, 3, 8, 8)
    np.testing.assert_array_equal(gradcam(net, inputs, 0), gradcam(net, inputs, 0, "cells"))
    with pytest.raises(DataError, match="found int32"):
        gradcam(InPlace(), np.zeros((1, 8, 8, 3), np.int32), 0, "cells")
