"""Any classifier: what is taken from a model, which layer is mapped, which shapes are read, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import seefar
from lab.vit import Block
from seefar.data import Data
from seefar.errors import ChoiceError, DataError
from seefar.model.adapt import adapt


class Vit(nn.Module):
    """A vision transformer of any input size, without embedded positions; it classifies by its first token."""

    def __init__(self, classes: int = 4, width: int = 16, prefix: int = 1, patch: int = 4) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.prefix = nn.Parameter(torch.randn(1, prefix, width))
        self.blocks = nn.Sequential(Block(width, heads=1), Block(width, heads=1))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        tokens = self.patches(pictures).flatten(2).transpose(1, 2)
        tokens = self.blocks(torch.cat((self.prefix.expand(len(tokens), -1, -1), tokens), 1))
        return self.head(self.norm(tokens)[:, 0])


class ChannelsLast(nn.Module):
    """Cells first, then channels, as in Swin."""

    def __init__(self, channels: int = 12) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, channels, 4, 4), nn.LayerNorm(channels)
        self.head = nn.Linear(channels, 3)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(pictures).permute(0, 2, 3, 1)).relu().mean((1, 2)))


class Cnn(nn.Module):
    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1)
        )
        self.head = nn.Linear(8, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(self.features(pictures).mean((2, 3)))


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval()


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


# ---- The layer, and its cells ----


@pytest.mark.parametrize(
    ("make", "layer", "cells"),
    [
        (lambda: Vit(prefix=3), "blocks.1.norm1", (8, 12)),
        (ChannelsLast, "norm", (8, 12)),
        (Cnn, "features.3", (8, 12)),
    ],
)
def test_the_layer_is_the_last_with_enough_cells_that_reach_the_logits(
    make: Callable[[], nn.Module], layer: str, cells: tuple[int, int]
) -> None:
    classifier = adapt(seeded(make))
    assert classifier.map_layer(None, (3, 32, 48)) == layer
    assert seefar.gradcam(classifier, images(2, 32, 48), 1).shape == (2, *cells)
    assert adapt(classifier, layer="head").layer == "head"


def at_layer(network: nn.Module, layer: nn.Module, pictures: np.ndarray, k: int) -> tuple[Tensor, Tensor]:
    """Activations of a layer and the gradient of class k's logits, by hooks of the test's own."""
    kept: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _module, _given, made: kept.append(made))
    score = network(torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255)[:, k].sum()
    hook.remove()
    return kept[0], torch.autograd.grad(score, kept[0])[0]


def by_tokens(tokens: Tensor) -> Tensor:
    """Without the class token, (N, T, C)."""
    return tokens[:, 1:]


def by_channels_last(cells: Tensor) -> Tensor:
    return cells.flatten(1, 2)


@pytest.mark.parametrize(
    ("make", "layer", "order"), [(Vit, "blocks.1.norm1", by_tokens), (ChannelsLast, "norm", by_channels_last)]
)
def test_the_map_of_tokens_and_of_channels_last_is_that_of_gradients_by_hand(
    make: Callable[[], nn.Module], layer: str, order: Callable[[Tensor], Tensor]
) -> None:
    network = seeded(make)
    activations, gradient = map(order, at_layer(network, network.get_submodule(layer), images(2, 32, 48), 2))
    by_hand = (activations * gradient.sum(1, keepdim=True)).sum(2).view(2, 8, 12).detach().numpy()
    found = seefar.gradcam(network, images(2, 32, 48), 2, layer)
    np.testing.assert_allclose(found, by_hand, atol=1e-5 * np.abs(by_hand).max())


def test_an_ambiguous_order_of_axes_is_refused() -> None:
    both = seeded(lambda: ChannelsLast(8))  # 8x8 cells of 8 channels
    with pytest.raises(ChoiceError, match="channels_last="):
        seefar.gradcam(both, images(2, 32, 32), 1, "norm")
    readings = [adapt(both, channels_last=is_last) for is_last in (True, False)]
    last, first = (seefar.gradcam(reading, images(2, 32, 32), 1, "norm") for reading in readings)
    assert last.shape == first.shape
    assert not np.allclose(last, first)


class Views(Cnn):
    """Folds two views of each picture into the batch."""

    def forward(self, pictures: Tensor) -> Tensor:
        both = torch.cat((pictures, pictures.flip(3)))
        return self.head(self.features(both).mean((2, 3))).view(2, len(pictures), -1).mean(0)


@pytest.mark.parametrize(
    ("make", "layer"), [(Views, "features.1"), (Vit, "head"), (lambda: Vit(prefix=9), "blocks.0.norm1")]
)
def test_no_shape_is_guessed(make: Callable[[], nn.Module], layer: str) -> None:
    """Views in the batch, a vector, tokens of which nine are no patches, and attention weights."""
    with pytest.raises(ChoiceError, match=rf"Layer {layer}"):
        seefar.gradcam(seeded(make), images(2, 32, 32), 1, layer)
    with pytest.raises(ChoiceError, match="Layer softmax"):
        adapt(Vit()).to_cells(torch.rand(2, 65, 65).softmax(-1), torch.zeros(2, 3, 32, 32), "softmax")


@pytest.mark.parametrize("layer", ["blocks.1", "norm"])
def test_a_layer_after_the_last_attention_is_refused_with_the_one_to_use(layer: str) -> None:
    with pytest.raises(ChoiceError, match=r"'blocks\.1\.norm1'"):
        seefar.gradcam(seeded(Vit), images(2, 32, 32), 1, layer)


# ---- What is taken from a model ----


def test_a_model_of_timm_has_its_normalisation_and_size() -> None:
    network = seeded(Vit)
    settings = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.1), "input_size": (3, 224, 224)}
    network.pretrained_cfg = settings
    network.patch_embed = SimpleNamespace(img_size=(32, 48))  # made for another size than its weights
    classifier = adapt(network)
    assert (classifier.mean, classifier.std, classifier.image_size) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.1), (32, 48))
    stored = images(3, 64, 96)
    pictures = torch.from_numpy(stored).permute(0, 3, 1, 2).float() / 255
    small = F.interpolate(pictures, (32, 48), mode="bilinear", antialias=True)
    normal = (small - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor([0.2, 0.2, 0.1]).view(3, 1, 1)
    np.testing.assert_allclose(classifier.logits(stored), network(normal).detach().numpy(), atol=1e-5)
    with pytest.raises(DataError, match="without normalisation"):
        classifier.inputs(normal)


class Pair(nn.Module):
    def forward(self, cells: Tensor) -> tuple[Tensor, None]:
        return cells.relu(), None


class HuggingFace(nn.Module):
    """Its blocks return tuples, and the logits are an attribute of its output."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.block = Cnn(2), Pair()
        self.config = SimpleNamespace(id2label={0: "cat", 1: "dog"}, image_size=32)

    def forward(self, pixel_values: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.inner.head(self.block(self.inner.features(pixel_values))[0].mean((2, 3))))


def test_a_model_of_hugging_face_has_names_and_needs_its_processor() -> None:
    network = seeded(HuggingFace)
    with pytest.raises(ChoiceError, match="processor="):
        seefar.gradcam(network, images(1, 32, 32), 0)
    processor = SimpleNamespace(image_mean=[0.5] * 3, image_std=[0.25] * 3, size={"height": 8, "width": 8})
    classifier = adapt(network, processor=processor)
    assert (classifier.classes, classifier.image_size, classifier.mean) == (("cat", "dog"), (32, 32), (0.5,) * 3)
    pictures = (torch.from_numpy(images(2, 32, 32)).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(
        classifier.logits(images(2, 32, 32)), network(pictures).logits.detach().numpy(), atol=1e-5
    )
    assert seefar.gradcam(classifier, images(2, 32, 32), 1, "block", force=True).any()


def test_a_torchvision_model_gets_imagenet_normalisation_with_a_line() -> None:
    network = seeded(Cnn)
    network.__class__ = type("ResNet", (Cnn,), {"__module__": "torchvision.models.resnet"})
    with pytest.warns(UserWarning, match="ImageNet"):
        assert adapt(network).mean == (0.485, 0.456, 0.406)
    assert adapt(network, mean=(0.5,) * 3, std=(1,) * 3).std == (1.0,) * 3  # without a warning


def test_a_classifier_is_changed_in_part_and_its_fingerprint_with_its_normalisation() -> None:
    plain = adapt(seeded(Cnn), mean=(0.5,) * 3, std=(0.2,) * 3)
    other = adapt(plain, mean=(0.4,) * 3, classes=("a", "b"))
    assert (other.std, other.network, other.classes) == (plain.std, plain.network, ("a", "b"))
    assert other.fingerprint != plain.fingerprint != adapt(plain.network).fingerprint


@pytest.mark.parametrize(
    "settings",
    [{"mean": (0.5,) * 3}, {"mean": (0.5,) * 3, "std": (1, 0, 1)}, {"mean": (0.5,), "std": (1, 1)}],
)
def test_a_normalisation_that_is_incomplete_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ChoiceError):
        adapt(seeded(Cnn), **settings)


# ---- Heads ----


def test_one_logit_is_that_of_the_second_class() -> None:
    network = seeded(lambda: Cnn(1))
    logits = adapt(network).logits(images(5, 32, 32))
    assert logits.shape == (5, 2)
    assert not logits[:, 0].any()
    assert len(set(logits[:, 1].tolist())) == 5
    one, other = (seefar.gradcam(network, images(5, 32, 32), k) for k in (1, 0))
    assert np.abs(one).max() > 0
    assert not other.any()


def test_probabilities_become_their_logarithms_with_a_warning() -> None:
    network = seeded(lambda: nn.Sequential(Cnn(), nn.Softmax(1))).half()
    with pytest.warns(UserWarning, match="probabilities"):
        logits = adapt(network).logits(images(30, 16, 16))
    with torch.no_grad():
        own = network((torch.from_numpy(images(30, 16, 16)).permute(0, 3, 1, 2) / 255).half()).float()
    np.testing.assert_allclose(np.exp(logits), own, atol=2e-3)


def test_features_are_the_input_of_the_layer_that_makes_the_logits() -> None:
    class Odd(Cnn):
        def __init__(self) -> None:
            super().__init__()
            self.first = self.head
            self.hidden, self.head = nn.Linear(8, 5), nn.Linear(5, 4)
            self.later = nn.Linear(3, 2)  # listed last, never called

        def forward(self, pictures: Tensor) -> Tensor:
            return self.head(self.hidden(self.features(pictures).mean((2, 3))).relu())

    network = seeded(Odd)
    logits, features = adapt(network).outputs(images(3, 32, 32))
    weight, bias = network.head.weight.detach().numpy(), network.head.bias.detach().numpy()
    np.testing.assert_allclose(features @ weight.T + bias, logits, atol=1e-5)


# ---- The state of torch ----


@pytest.fixture
def few(shapes: Data) -> seefar.Split:
    return shapes.test.take(np.arange(40))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_of_other_float_types_are_evaluated_and_explained(few: seefar.Split, kind: torch.dtype) -> None:
    network = seeded(lambda: Vit(10)).to(kind)
    evaluation = seefar.evaluate(network, few, progress=seefar.SILENT)
    explanation = seefar.explain(network, few, evaluation.predictions, evaluation.mistakes[:2], progress=seefar.SILENT)
    assert evaluation.predictions.logits.dtype == explanation.contrast.dtype == np.float32


def test_no_state_of_torch_changes_a_number(few: seefar.Split) -> None:
    network = seeded(lambda: Cnn(10)).requires_grad_(False)

    def found() -> np.ndarray:
        logits = seefar.predict(network, few, progress=seefar.SILENT).logits
        return np.concatenate((logits.ravel(), seefar.gradcam(network, few.images, 1).ravel()))

    plain = found()
    contexts: list[Any] = [torch.inference_mode(), torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16)]
    for context in contexts:
        with context:
            np.testing.assert_array_equal(found(), plain)
    torch.set_default_dtype(torch.float64)
    try:
        np.testing.assert_array_equal(found(), plain)
    finally:
        torch.set_default_dtype(torch.float32)


# ---- Networks that do not repeat themselves, and what is passed ----


class Dropping(Cnn):
    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(F.dropout(self.features(pictures).mean((2, 3)), 0.5))


class OfBatch(Cnn):
    def __init__(self) -> None:
        super().__init__(10)
        self.features.append(nn.BatchNorm2d(8, track_running_stats=False))


@pytest.mark.parametrize(("make", "layer"), [(lambda: Dropping(10), "head"), (OfBatch, "features.5")])
def test_a_network_that_does_not_repeat_itself_is_refused_with_the_cause(
    few: seefar.Split, make: Callable[[], nn.Module], layer: str
) -> None:
    network = seeded(make)
    with pytest.raises(ChoiceError, match=rf"'{layer}'"):
        seefar.evaluate(network, few, progress=seefar.SILENT)


def test_wrong_arguments_are_refused_alike_everywhere(few: seefar.Split, shapes: Data) -> None:
    """The class in place of an instance, all data in place of a split, and an evaluation in place of its parts."""
    network: Any = seeded(lambda: Cnn(10))
    found: Any = seefar.evaluate(network, few, progress=seefar.SILENT)
    wrong: list[tuple[Callable[..., object], tuple[Any, ...]]] = [
        (seefar.predict, (Cnn, few)),
        (seefar.evaluate, (network, shapes)),
        (seefar.explain, (network, few, found)),
        (seefar.explain, (network, few, found.predictions, [0])),
        (seefar.plot_mistakes, (found, few)),
    ]
    for call, arguments in wrong:
        with pytest.raises(ChoiceError):
            call(*arguments)


def test_whether_a_network_gives_probabilities_is_decided_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits are the mean red and green of a picture; those of the second happen to be 0.4 and 0.6."""

    class Means(nn.Module):
        def forward(self, pictures: Tensor) -> Tensor:
            return pictures.mean((2, 3))[:, :2]

    monkeypatch.setattr("seefar.model.adapt.BATCH_SIZE", 1)
    pictures = np.zeros((2, 8, 8, 3), np.uint8)
    pictures[:, ..., 0], pictures[1, ..., 1] = 102, 153
    classifier = adapt(Means())
    for part in (pictures, pictures[1:]):
        found = adapt(classifier).logits(part)
        np.testing.assert_allclose(found, [[0.4, 0], [0.4, 0.6]][-len(part) :], rtol=1e-6)
