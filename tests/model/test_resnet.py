from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from seefar.data import Data
from seefar.errors import ChoiceError, DataError
from seefar.evaluation.predictions import predict
from seefar.maps.formulas import gradcam
from seefar.model.inference import weights_fingerprint
from seefar.model.resnet import BasicBlock, Projection, ResNet18, dense_twin, stem_stride_for

MakeNet = Callable[..., ResNet18]


def test_it_has_the_parameters_of_resnet18_and_no_bottleneck() -> None:
    net = ResNet18()
    assert sum(parameter.numel() for parameter in net.parameters()) == 11_173_962
    blocks = [module for module in net.modules() if isinstance(module, BasicBlock)]
    assert len(blocks) == 8
    kernels = [m.kernel_size for block in blocks for m in (block.conv1, block.conv2)]
    assert kernels == [(3, 3)] * 16  # with stem and head: 18 layers


def test_the_network_for_small_images_has_not_changed() -> None:
    """Weights drawn from a seed, and the logits of a pattern, as recorded before there was another stem."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = ResNet18(10, width=4).eval()
    assert weights_fingerprint(net) == "20fd4e6dfbc1bfa2b7ed687352ee4268592689143213147676436856da26a4db"
    images = torch.arange(2 * 32 * 32 * 3).remainder(256).to(torch.uint8).view(2, 32, 32, 3)
    with torch.no_grad():
        logits = net(images)[0].tolist()
    recorded = [0.0557, -0.11965, -0.08609, -0.0621, 0.00382, 0.00085, -0.13521, 0.06495, 0.05774, 0.11857]
    assert logits == pytest.approx(recorded, abs=2e-5)


def test_the_stem_for_large_images() -> None:
    assert [stem_stride_for(size) for size in (32, 64, 65, (64, 200), (65, 200), 224)] == [1, 1, 4, 1, 4, 4]
    net = ResNet18(5, width=4, stem_stride=4).eval()
    assert (net.conv1.kernel_size, net.conv1.stride) == ((7, 7), (2, 2))
    cells = {
        size: tuple(net.features(torch.zeros(1, 3, *size)).shape[2:]) for size in ((224, 224), (160, 96), (65, 70))
    }
    assert cells == {(224, 224): (7, 7), (160, 96): (5, 3), (65, 70): (3, 3)}
    with pytest.raises(ChoiceError):
        ResNet18(stem_stride=2)


def test_a_block_adds_its_shortcut_out_of_place() -> None:
    """What a hook on bn2 stores must still be bn2's output when the block is done."""
    block = BasicBlock(2, 2, 1).eval()
    stored: list[torch.Tensor] = []
    block.bn2.register_forward_hook(lambda _m, _i, given: stored.append(given))
    inputs = torch.rand(1, 2, 4, 4) + 1
    with torch.no_grad():
        block(inputs)
        expected = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(inputs)))))
    assert torch.equal(stored[0], expected)


@pytest.mark.parametrize("in_channels", [2, 7, 12, 16])
def test_a_projection_has_the_gradient_of_its_definition(in_channels: int) -> None:
    """Channels last, as in training: there oneDNN's own stride hangs or crashes on fewer than 8 or 16 channels."""
    random = np.random.default_rng(0)
    inputs, pull = random.normal(size=(4, in_channels, 32, 32)), random.normal(size=(4, 8, 16, 16))
    projection = Projection(in_channels, 8, 1, 2, bias=False).to(memory_format=torch.channels_last)
    given, pulled = (torch.from_numpy(a).float().contiguous(memory_format=torch.channels_last) for a in (inputs, pull))
    projected = projection(given)
    assert projected.is_contiguous(memory_format=torch.channels_last)
    projected.backward(pulled)
    # d sum(pull * y) / d w[o, i] = the sum over images and every second cell of pull[o] * x[i].
    expected = np.einsum("nohw,nihw->oi", pull, inputs[:, :, ::2, ::2])
    assert projection.weight.grad is not None
    np.testing.assert_allclose(projection.weight.grad[:, :, 0, 0], expected, rtol=1e-3, atol=1e-3)


def test_a_network_takes_pictures_in_either_form(make_net: MakeNet) -> None:
    net, stored = make_net(), torch.randint(0, 256, (2, 20, 20, 3), dtype=torch.uint8)
    floats = stored.permute(0, 3, 1, 2) / 255
    assert torch.equal(net(stored), net(floats))
    assert torch.equal(net(stored), net.classify((floats - net.normalize.mean) / net.normalize.std))
    assert net(stored[:0]).shape == net(floats[:0]).shape == (0, 4)
    double = make_net().double()
    torch.testing.assert_close(double(floats.double()).float(), net(floats), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), r"torch\.uint8 \(1, 3, 8, 8\)"),
        (torch.zeros(1, 8, 8, 3), r"torch\.float32 \(1, 8, 8, 3\)"),
        (torch.full((1, 3, 8, 8), 255.0), "255 .*without normalisation"),
        (torch.full((1, 3, 8, 8), float("nan")), "nan"),
    ],
)
def test_unreadable_pictures_are_refused(make_net: MakeNet, images: torch.Tensor, found: str) -> None:
    with pytest.raises(DataError, match=found):
        make_net()(images)


# ---- The dense twin ----


@pytest.mark.parametrize("doublings", [0, 1, 2, 3])
@pytest.mark.parametrize(("size", "stem_stride"), [((16, 16), 1), ((48, 48), 1), ((96, 160), 4)])
def test_every_second_cell_and_the_logits_equal_the_networks(
    make_net: MakeNet, doublings: int, size: tuple[int, int], stem_stride: int
) -> None:
    net, scale = make_net(num_classes=5, width=3, stem_stride=stem_stride), 2**doublings
    twin = dense_twin(net, doublings)
    inputs = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        own, fine = net.features(inputs), twin.features(inputs)
        assert tuple(fine.shape[2:]) == (own.shape[2] * scale, own.shape[3] * scale)
        torch.testing.assert_close(fine[:, :, ::scale, ::scale], own, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(twin.classify(inputs), net.classify(inputs), rtol=1e-5, atol=1e-5)
        if doublings:  # the cells between are new
            assert not torch.allclose(fine[:, :, 1::scale, 1::scale], own)


def test_cells_between_equal_those_of_the_shifted_image(make_net: MakeNet) -> None:
    """Its odd cells stand where the network's cells would, were the image 4 pixels further up and left.

    The image is black but for its centre and the net answers black with zeros, so that no border is felt.
    """
    net = make_net(width=3)
    inputs = torch.zeros(1, 3, 160, 160)
    inputs[:, :, 72:88, 72:88] = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if name.endswith(("running_mean", "bias")):
                tensor.zero_()
        fine = dense_twin(net).features(inputs)
        shifted = net.features(inputs.roll((-4, -4), (2, 3)))
    assert shifted.abs().max() > 0.01
    torch.testing.assert_close(fine[:, :, 1::2, 1::2], shifted, rtol=1e-5, atol=1e-6)


def test_parameters_are_shared_and_the_network_is_left_as_it_was(make_net: MakeNet) -> None:
    net = make_net()
    before = repr(net)
    twin = dense_twin(net, 2)
    assert repr(net) == before
    assert net.cell_stride == 1
    pairs = list(zip(net.state_dict(keep_vars=True).values(), twin.state_dict(keep_vars=True).values(), strict=True))
    assert all(one is other for one, other in pairs)


# ---- Inference ----


def test_the_fingerprint_is_of_the_values_alone(make_net: MakeNet) -> None:
    net = make_net()
    same = make_net().to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    assert weights_fingerprint(net) == weights_fingerprint(same)
    assert weights_fingerprint(SimpleNamespace(_orig_mod=net)) == weights_fingerprint(net)  # as of torch.compile
    for name in ("fc.weight", "bn1.running_var", "normalize.mean"):
        other = make_net()
        other.state_dict()[name].view(-1)[0] += 1e-3
        assert weights_fingerprint(other) != weights_fingerprint(net)


def precisions() -> list[str]:
    backends: Any = torch.backends
    places = (backends.cudnn.conv, backends.cuda.matmul, backends.mkldnn.conv, backends.mkldnn.matmul)
    return [place.fp32_precision for place in places]


@pytest.fixture
def rounding() -> Iterator[list[str]]:
    """A process that has asked for rounded products wherever it can."""
    backends: Any = torch.backends
    before = backends.cuda.matmul.fp32_precision, backends.mkldnn.matmul.fp32_precision
    backends.cuda.matmul.fp32_precision, backends.mkldnn.matmul.fp32_precision = "tf32", "bf16"
    yield precisions()
    backends.cuda.matmul.fp32_precision, backends.mkldnn.matmul.fp32_precision = before


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="before torch 2.9 the flags had other names")
@pytest.mark.parametrize("use", [predict, lambda net, split: gradcam(net, split.images, 0)])
def test_every_use_of_a_network_is_in_true_float32(
    make_net: MakeNet, shapes: Data, use: Callable[..., object], rounding: list[str]
) -> None:
    net, seen = make_net(10, 1), list[str]()
    for part in (net.conv1, net.fc):
        part.register_forward_hook(lambda *_: seen.extend(precisions()))
    use(net, shapes.test.take([0, 1]))
    assert seen
    assert not {"tf32", "bf16"} & {*seen}
    assert precisions() == rounding
