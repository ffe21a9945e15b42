from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from seefar.data import Data
from seefar.evaluation.predictions import predict
from seefar.maps.formulas import class_maps, gradcam
from seefar.model.adapt import adapt
from seefar.model.inference import weights_fingerprint
from seefar.model.resnet import ResNet18

MakeNet = Callable[..., ResNet18]


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
    before = precisions()
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined]
    yield precisions()
    torch.backends.cuda.matmul.fp32_precision = before[1]
    torch.backends.mkldnn.matmul.fp32_precision = before[3]  # type: ignore[attr-defined]


NEW_FLAGS = pytest.mark.skipif(
    not hasattr(torch.backends.cudnn, "conv"), reason="before torch 2.9 the flags had other names"
)


@NEW_FLAGS
def test_whatever_asks_the_network_does_it_in_true_float32(
    make_net: MakeNet, shapes: Data, rounding: list[str]
) -> None:
    net, images = make_net(10, 1), shapes.test.images[:2]
    seen: list[list[str]] = []
    for part in (net.conv1, net.fc):
        part.register_forward_hook(lambda *_: seen.append(precisions()))
    calls: list[Callable[[], object]] = [
        lambda: adapt(net).logits(images),
        lambda: predict(net, shapes.test.take(slice(0, 2))),
        lambda: gradcam(net, images, 0),
        lambda: class_maps(net, images),
    ]
    for call in calls:
        seen.clear()
        call()
        assert seen
        assert all("tf32" not in one and "bf16" not in one for one in seen)
        assert precisions() == rounding
