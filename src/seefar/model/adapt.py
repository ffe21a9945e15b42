"""One interface for any image classifier: logits of images, normalisation, the layer to map and its cells.

Every public function that takes a model calls `adapt`. Models of torchvision, timm and Hugging Face are recognised by
their attributes; the packages are not needed.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from math import gcd, isqrt
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from seefar.data.images import Images, both, slices
from seefar.errors import ChoiceError, DataError
from seefar.model.inference import BATCH_SIZE, device_of, evaluating, float_type, weights_fingerprint
from seefar.model.resnet import ResNet18

Pictures = Images | Tensor | Sequence[Images | Tensor]
"""Images as callers pass them: an array, a tensor, or a list of either."""

Constants = tuple[float, ...]
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation that torchvision's weights were trained with; its models do not store them."""

SMALLEST_MAP = 6  # cells on a side; 5x5 and fewer show no region
MOST_PREFIX_TOKENS = 5  # class, distillation and register tokens
BATCH_PIXELS = BATCH_SIZE * 64 * 64
"""Pixels that are in memory at once: 250 images of 64x64, 20 of 224x224."""


@dataclass(frozen=True, eq=False, repr=False)
class Classifier:
    """An image classifier of any origin, returned by `seefar.adapt`.

    Attributes:
        network: the torch module, not compiled.
        mean, std: what pictures in 0 to 1 are normalised with, one number a channel; None: not at all, since the
            network takes pictures in 0 to 1 (a `ResNet18` normalises them itself).
        image_size: height and width that pictures are resized to; None: the network takes them as they are.
        layer: name of the layer to map; None: chosen by `map_layer`.
        channels_last: whether that layer gives (N, h, w, C); None: inferred from the shape of its activations.
        classes: names of the K classes, if the model has them.
        decisions: whether the network gives `probabilities`, once it was used: a later batch does not decide again.
    """

    network: nn.Module
    mean: Constants | None = None
    std: Constants | None = None
    image_size: tuple[int, int] | None = None
    layer: str | None = None
    channels_last: bool | None = None
    classes: tuple[str, ...] | None = None
    decisions: dict[str, bool] = field(default_factory=dict, init=False, compare=False)

    def __repr__(self) -> str:
        size = "pictures as they are" if self.image_size is None else "{}x{} pixels".format(*self.image_size)
        normalised = "not normalised" if self.mean is None else f"mean {self.mean}, std {self.std}"
        return f"Classifier({type(self.network).__name__}, {size}, {normalised}, layer {self.layer or 'automatic'})"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights, and of normalisation and size where there are any; see `weights_fingerprint`."""
        weights = weights_fingerprint(self.network)
        settings = self.mean, self.std, self.image_size
        if settings == (None, None, None):
            return weights
        return hashlib.sha256(f"{weights} {settings}".encode()).hexdigest()

    @property
    def layers(self) -> dict[str, nn.Module]:
        """All submodules by name."""
        return {name: module for name, module in self.network.named_modules() if name}

    def layer_name(self, layer: str | nn.Module) -> str:
        """The name of a layer that is given by name or as the module itself; a `ChoiceError` if there is none."""
        names = [name for name, module in self.layers.items() if layer in (name, module)]
        if not names:
            kind, which = type(self.network).__name__, repr(layer) if isinstance(layer, str) else type(layer).__name__
            raise ChoiceError(f"{kind} has no layer {which}: pass {list_layers(self.network)}.")
        return names[0]

    def inputs(self, images: Pictures) -> Tensor:
        """The network's input, on its device and in its float type: pictures resized and normalised, (N, C, H, W).

        Images are uint8 (N, H, W, 3), or float (N, C, H, W); one picture is a batch of one. Floats outside 0 to 1 are a
        `DataError` where there is a `mean`, as are other forms.
        """
        batch, device, own = to_batch(images), device_of(self.network), float_type(self.network)
        exact = torch.promote_types(own, torch.float32)  # half types would round the pixels before they are normalised
        if batch.dtype == torch.uint8 and batch.ndim == 4 and batch.shape[3] == 3:
            batch = batch.to(device, exact).permute(0, 3, 1, 2) / 255
        elif batch.is_floating_point() and batch.ndim == 4:
            batch = batch.to(device, exact)
        else:
            raise DataError(f"Images must be uint8 (N, H, W, 3) or float (N, 3, H, W) in 0 to 1, found {_form(batch)}.")
        if self.image_size is not None and batch.shape[2:] != self.image_size:
            batch = F.interpolate(batch, self.image_size, mode="bilinear", antialias=True)
        if self.mean is not None and self.std is not None:
            low, high = batch.aminmax() if batch.numel() else (0.0, 1.0)
            if not -0.01 <= low <= high <= 1.01:  # false for NaN; resizing rounds
                raise DataError(
                    f"Pictures must be in 0 to 1, found {low:.3g} to {high:.3g}: pass them without normalisation, the "
                    f"adapter normalises them by mean {self.mean} and std {self.std}."
                )
            mean, std = (batch.new_tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
            batch = (batch - mean) / std
        return batch.to(own)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, K) of the network's input; a `ChoiceError` if it returns something else.

        `.logits` of a Hugging Face output are taken, one logit z (N, 1) becomes (0, z), and probabilities become their
        logarithms: those of a network whose rows for the first inputs are not negative and sum to 1.
        """
        output = self.network(inputs)
        output = getattr(output, "logits", output)
        if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != len(inputs):
            raise ChoiceError(
                f"{type(self.network).__name__} must return logits ({len(inputs)}, K) for {len(inputs)} images (got "
                f"{_form(output)}): wrap it in a module that does so."
            )
        if isinstance(self.network, ResNet18):
            return output
        if output.shape[1] == 1:
            return torch.cat((torch.zeros_like(output), output), 1)
        if not self.decisions and len(output):
            self.decisions["probabilities"] = _are_shares(output)
            if self.decisions["probabilities"]:
                message = f"{type(self.network).__name__} returns probabilities, not logits: their logarithms are used."
                warnings.warn(message, stacklevel=2)
        return output.clamp(min=torch.finfo(output.dtype).tiny).log() if self.decisions.get("probabilities") else output

    def logits(self, images: Images) -> NDArray[np.float32]:
        """Logits, float32 (N, K), of stored images, uint8 (N, H, W, 3)."""
        return self.outputs(images)[0]

    def outputs(
        self, images: Images, done: Callable[[int], None] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits, float32 (N, K), and the input of the linear layer that makes them, float32 (N, C); else (N, 0).

        The network is used in eval mode and in true float32 (or its own type), and left in its mode. `done` is called
        after each batch with the number of images so far.
        """
        logits, features = [], []
        entering: list[tuple[Tensor, Tensor]] = []
        size = self.image_size or images.shape[1:3]
        step = max(1, min(BATCH_SIZE, BATCH_PIXELS // (size[0] * size[1])))
        linear = [module for module in self.network.modules() if isinstance(module, nn.Linear)]
        with evaluating(self.network), hooked(linear, lambda _m, given, made: entering.append((given[0], made))):
            for rows in slices(len(images), step):
                entering.clear()
                inputs = self.inputs(np.ascontiguousarray(images[rows]))
                output = self.forward(inputs)
                logits.append(output.float().cpu().numpy())
                # The last linear layer that was called, if it made the logits: modules can be listed in another order.
                last = [given for given, made in entering[-1:] if made.shape in (output.shape, (len(output), 1))]
                features.append(last[0].float().cpu().numpy() if last else np.zeros((len(inputs), 0), np.float32))
                if done is not None:
                    done(rows.start + len(inputs))
        joined = np.concatenate(logits)
        if not np.isfinite(joined).all():
            raise DataError(
                "The network gives logits that are not finite: its weights are damaged or too large. Restore them from "
                "a copy, or train again."
            )
        return joined, np.concatenate(features)

    def check_repeats(self, image: Images) -> None:
        """Refuse a network whose logits for an image (H, W, 3) depend on more than the image, with the layer that does.

        It is classified twice in a batch with its negative, and once in a batch with itself.
        """
        names = {module: name for name, module in self.network.named_modules()}
        seen: list[dict[str, Tensor]] = []

        def take(module: nn.Module, _given: object, output: object) -> None:
            first = first_tensor(output)
            if first is not None and len(first):
                seen[-1].setdefault(names[module], first[0].float())

        with evaluating(self.network), hooked(names, take):
            logits = []
            for together in (255 - image, 255 - image, image):
                seen.append({})
                logits.append(self.forward(self.inputs(np.stack((image, together))))[0].float())
        tolerance = 1e-3 * (1 + logits[0].abs().max())
        for number, how in ((1, "in a second pass"), (2, "in another batch")):
            if (logits[number] - logits[0]).abs().max() > tolerance:  # not for NaN, which is refused elsewhere
                both = ((name, seen[0][name], seen[number][name]) for name in seen[0] if name in seen[number])
                layer = next(
                    (name for name, alone, together in both if not torch.allclose(alone, together, 1e-3, 1e-5)), ""
                )
                where = f"layer {layer!r} ({type(self.layers[layer]).__name__})" if layer else "the logits"
                raise ChoiceError(
                    f"{type(self.network).__name__} gives different logits for the same picture {how}; the first "
                    f"change is at {where}, or on the way to it. Dropout that is called as a function needs "
                    "training=self.training, and batch norm needs running statistics (track_running_stats=True)."
                )

    def to_cells(self, activations: object, inputs: Tensor, layer: str) -> Tensor:
        """A layer's activations as (N, C, h, w): from (N, C, h, w), (N, h, w, C), or tokens (N, T, C) without prefix.

        The first axis must be the images', and the cells have the input's ratio, within one cell. A `ChoiceError` if no
        reading fits, or if two do and `channels_last` does not decide.
        """
        fits: list[Tensor] = []
        if isinstance(activations, Tensor) and len(activations) == len(inputs) and not _are_shares(activations):
            height, width = inputs.shape[2:]
            if activations.ndim == 4:
                orders = {False: activations, True: activations.permute(0, 3, 1, 2)}
                possible = [cells for last, cells in orders.items() if self.channels_last in (None, last)]
                fits = [cells for cells in possible if _same_ratio(cells.shape[2:], (height, width))]
            elif activations.ndim == 3 and (grid := _token_grid(activations.shape[1], (height, width))):
                patches = activations[:, activations.shape[1] - grid[0] * grid[1] :]
                fits = [patches.transpose(1, 2).reshape(len(patches), -1, *grid)]
        if not fits:
            raise ChoiceError(
                f"Layer {layer} must give (N, C, h, w), (N, h, w, C) or tokens (N, T, C), with cells in the ratio of "
                f"the input {_form(inputs)} (got {_form(activations)}): pass {list_layers(self.network)}; or "
                "image_size=, if the network resizes its input itself."
            )
        mixed = self.network.get_submodule(layer).modules()
        if len(fits) == 2 and any(isinstance(module, nn.LayerNorm | nn.Linear) for module in mixed):
            raise ChoiceError(
                f"Layer {layer} gives {_form(activations)}, where the channels may be the first or the last axis: pass "
                "channels_last=True or False to seefar.adapt."
            )
        return fits[0]  # modules without LayerNorm or Linear have torch's order: channels first

    def map_layer(self, layer: str | nn.Module | None, shape: Sequence[int]) -> str | None:
        """The name of the layer to map: the one passed, else the classifier's own, else the one found by noise.

        That is the last layer with at least 6x6 cells whose activations reach the logits: of CNNs the last stage that
        is fine enough, of transformers with a class token the norm before the last attention. None for a `ResNet18`,
        whose dense twin is mapped. `shape`: channels, height and width of the pictures.
        """
        chosen = self.layer if layer is None else self.layer_name(layer)
        if chosen is not None or isinstance(self.network, ResNet18):
            return chosen
        probed = self.probe(shape)
        enough = {name: reaches for name, (cells, reaches) in probed.items() if cells >= SMALLEST_MAP}
        if not enough:
            raise ChoiceError(
                f"No layer of {type(self.network).__name__} gives at least {SMALLEST_MAP}x{SMALLEST_MAP} cells of a "
                f"picture of {shape[1]}x{shape[2]} pixels: pass layer=, {list_layers(self.network)}."
            )
        return ([name for name, reaches in enough.items() if reaches] or list(enough))[-1]

    def probe(self, shape: Sequence[int]) -> dict[str, tuple[int, bool]]:
        """Layers that can be mapped, in the order of computation: cells on the shorter side, if any reaches a logit.

        They are found by one pass forwards and back over noise. Left out are layers that are used more than once or do
        nothing, and those that mix cells.
        """
        noise = torch.from_numpy(np.random.default_rng(0).random((1, *shape), dtype=np.float32))
        names = {module: name for name, module in self.layers.items() if not isinstance(module, _NO_STAGE)}
        made: dict[str, Any] = {}

        def take(module: nn.Module, _given: object, output: object) -> None:
            made[names[module]] = None if names[module] in made else first_tensor(output)

        with evaluating(self.network, gradients=True):
            inputs = self.inputs(noise)
            with hooked(names, take):
                logits = self.forward(inputs.requires_grad_().clone())
            cells: dict[str, Tensor] = {}
            for name, tensor in made.items():
                with suppress(ChoiceError):
                    cells[name] = self.to_cells(tensor, inputs, name)
            # Of all classes, but not their plain sum: that is constant where logits are logarithms of probabilities.
            score = (logits * torch.linspace(1, 2, logits.shape[1]).to(logits)).sum()
            gradients: Sequence[Tensor | None] = [None] * len(cells)
            if score.requires_grad and cells:
                gradients = torch.autograd.grad(score, [made[name] for name in cells], allow_unused=True)
        probed = {}
        for name, gradient in zip(cells, gradients, strict=True):
            reaches = gradient is not None and bool(self.to_cells(gradient, inputs, name).any())
            probed[name] = min(cells[name].shape[2:]), reaches
        return probed


_NO_STAGE = nn.Linear | nn.Identity | nn.Dropout | nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d


def adapt(
    model: nn.Module | Classifier,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    image_size: int | tuple[int, int] | None = None,
    layer: str | nn.Module | None = None,
    channels_last: bool | None = None,
    classes: Sequence[str] | None = None,
    processor: object = None,
) -> Classifier:
    """Adapt any image classifier, for every function that takes a model.

    What is not passed is taken from the model: mean, std and input size of a timm model, class names and size of a
    Hugging Face model, with its processor also mean and std. A torchvision model gets those of ImageNet, with a
    warning, since the model does not store them. Any other module gets pictures in 0 to 1 in their own size.

    Args:
        model: a `ResNet18`, any torch module that returns logits (N, K), or a `Classifier`, to change some of it.
        mean: what pictures in 0 to 1 are normalised with, one number a channel.
        std: likewise.
        image_size: height and width that pictures are resized to, or one number for both.
        layer: the layer to map: a submodule that gives (N, C, h, w), (N, h, w, C) or tokens (N, T, C), or its name.
        channels_last: the order of axes of that layer, where its shape alone is ambiguous.
        classes: names of the K classes.
        processor: the image processor of a Hugging Face model.

    Raises:
        ChoiceError: `model` is no torch module, there is no such layer, or the normalisation is unknown or incomplete.

    Examples:
        >>> import numpy as np, seefar
        >>> network = nn.Sequential(nn.Conv2d(3, 5, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(320, 2))
        >>> classifier = seefar.adapt(network, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2), layer="1")
        >>> classifier.logits(np.zeros((7, 32, 32, 3), np.uint8)).shape
        (7, 2)
        >>> seefar.gradcam(classifier, np.zeros((7, 32, 32, 3), np.uint8), 1).shape
        (7, 8, 8)
    """
    own = mean is not None or std is not None
    known = model if isinstance(model, Classifier) else _described(model, processor, own)
    passed: dict[str, Any] = {
        "mean": None if mean is None else tuple(map(float, mean)),
        "std": None if std is None else tuple(map(float, std)),
        "image_size": _to_size(image_size),
        "layer": None if layer is None else known.layer_name(layer),
        "channels_last": channels_last,
        "classes": None if classes is None else tuple(classes),
    }
    changed = {name: value for name, value in passed.items() if value is not None}
    adapted = replace(known, **changed) if changed else known
    mean, std = adapted.mean or (), adapted.std or ()
    if len(mean) != len(std) or not all(deviation > 0 for deviation in std):
        raise ChoiceError(f"mean and std must have one number a channel each, std above 0 (got {mean} and {std}).")
    return adapted


def _described(model: object, processor: object, own: bool) -> Classifier:
    """The settings in the attributes of models of timm, Hugging Face, torchvision; `own`: mean and std are passed."""
    network = getattr(model, "_orig_mod", model)  # of a compiled module, whose code hooks do not reach
    if not isinstance(network, nn.Module):
        raise ChoiceError(
            f"The model must be a torch module, such as run.model (got {_form(network)}): load a state_dict into its "
            "network, with network.load_state_dict(...), and pass the network."
        )
    config: Any = getattr(network, "config", None)
    if isinstance(getattr(network, "pretrained_cfg", None), Mapping):  # timm
        settings: Any = network.pretrained_cfg
        embed = getattr(network, "patch_embed", None)  # it has the size of a transformer that was made for another one
        size = _to_size(getattr(embed, "img_size", None) or settings["input_size"][1:])
        return Classifier(network, tuple(settings["mean"]), tuple(settings["std"]), size)
    if isinstance(getattr(config, "id2label", None), Mapping):  # Hugging Face
        if processor is None and not own:
            raise ChoiceError(
                f"{type(network).__name__} does not store its normalisation: pass processor=, its image processor, or "
                "mean= and std= to seefar.adapt."
            )
        given = (getattr(processor, name, None) for name in ("image_mean", "image_std"))
        mean, std = (values and tuple(values) for values in given)
        size = getattr(config, "image_size", None) or getattr(processor, "crop_size", None)
        size = _to_size(size or getattr(processor, "size", None))
        names = tuple(str(config.id2label[k]) for k in sorted(config.id2label))
        return Classifier(network, mean, std, size, classes=names if len(set(names)) == len(names) else None)
    if type(network).__module__.startswith("torchvision.models"):
        size = _to_size(getattr(network, "image_size", None))
        if own:
            return Classifier(network, image_size=size)
        warnings.warn(
            "A torchvision model does not store its normalisation: that of ImageNet is used. Pass mean= and std= to "
            "seefar.adapt if it was trained with others.",
            stacklevel=3,
        )
        return Classifier(network, *IMAGENET, size)
    return Classifier(network)


def _to_size(size: Any) -> tuple[int, int] | None:
    """Height and width, from one number, a pair, or a processor's dictionary."""
    if isinstance(size, Mapping):
        size = (size["height"], size["width"]) if "height" in size else size.get("shortest_edge")
    return None if size is None else both(size)


# ---- Shapes ----


def to_batch(images: Pictures) -> Tensor:
    """Images as one tensor: from an array, a tensor, a PIL image, or a list of them of one size; one is a batch."""
    if isinstance(images, Tensor):
        batch = images
    elif isinstance(images, list | tuple):
        batch = torch.stack([part if isinstance(part, Tensor) else torch.from_numpy(np.array(part)) for part in images])
    else:
        batch = torch.from_numpy(np.array(images))  # a copy: torch rejects read-only and mirrored arrays
    is_picture = batch.ndim == 3 and (batch.dtype == torch.uint8 or batch.is_floating_point())
    return batch[None] if is_picture else batch


def first_tensor(output: object) -> Tensor | None:
    """The output of a layer as a tensor: the first of several values, as in the blocks of Hugging Face."""
    first = output[0] if isinstance(output, tuple | list) and output else output
    return first if isinstance(first, Tensor) else None


def _token_grid(tokens: int, pixels: tuple[int, int]) -> tuple[int, int] | None:
    """Rows and columns of the patches among T tokens: the largest grid of the input's own ratio, (14, 14) of 197.

    Grids of that ratio are so far apart that at most one leaves only a few prefix tokens.
    """
    common = gcd(*pixels)
    rows, columns = pixels[0] // common, pixels[1] // common
    scale = isqrt(tokens // (rows * columns))
    prefix = tokens - scale**2 * rows * columns
    return (scale * rows, scale * columns) if scale and prefix <= MOST_PREFIX_TOKENS else None


def _same_ratio(cells: Sequence[int], pixels: tuple[int, int]) -> bool:
    """Whether rows and columns of cells have the ratio of the input's, within one cell, and are no more than those."""
    (rows, columns), (height, width) = cells, pixels
    return rows <= height and columns <= width and abs(rows * width - columns * height) <= max(height, width)


@torch.no_grad()
def _are_shares(values: Tensor) -> bool:
    """Whether each row of the last axis is a distribution: probabilities, or attention weights."""
    tolerance = 1e-4 if values.dtype in (torch.float32, torch.float64) else 1e-2
    return bool(len(values) and (values >= 0).all() and ((values.float().sum(-1) - 1).abs() < tolerance).all())


def list_layers(network: nn.Module) -> str:
    """The layers in a message: the names of a network's parts, and its last convolution as an example."""
    names = ", ".join(name for name, _ in network.named_children()) or "no named parts"
    last = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)][-1:]
    example = f"; its last convolution is {last[0]!r}" if last else ""
    return f"the name of a submodule (it has {names}{example})"


@contextmanager
def hooked(modules: Iterable[nn.Module], hook: Callable[..., Any]) -> Iterator[None]:
    """A forward hook on each of these modules within `with`."""
    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(module.register_forward_hook(hook))
        yield


def _form(value: object) -> str:
    if isinstance(value, Tensor | np.ndarray):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {', '.join(map(_form, value[:2]))}{', ...' if len(value) > 2 else ''}"
    return f"a {type(value).__name__}"
