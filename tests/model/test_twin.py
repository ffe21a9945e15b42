from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from seefar.model.resnet import ResNet18, dense_twin

MakeNet = Callable[..., ResNet18]


@pytest.mark.parametrize("doublings", [0, 1, 2, 3])
@pytest.mark.parametrize(("size", "stem_stride"), [((16, 16), 1), ((48, 48), 1), ((96, 160), 4)])
def test_every_other_cell_is_the_networks_own_and_so_are_the_logits(
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


def test_a_cell_between_is_what_the_network_sees_of_the_shifted_image(make_net: MakeNet) -> None:
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
