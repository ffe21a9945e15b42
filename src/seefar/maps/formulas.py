"""Maps: Grad-CAM, Grad-CAM++, HiResCAM, LayerCAM, integrated gradients; all classes; the contrast of two classes.

The first four differ in how the gradient of the class's logit weighs the activations. At the last stage of a
`ResNet18`, whose global average enters a linear layer, Grad-CAM and HiResCAM are the same map, CAM (Zhou et al. 2015,
arXiv 1512.04150), and it is exact: the mean over the cells that enter the logit, plus the bias, is the logit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from seefar.data.images import ImageSize, both
from seefar.errors import ChoiceError
from seefar.maps.grid import Grid, Maps
from seefar.model.adapt import SMALLEST_MAP, Classifier, Pictures, adapt, first_tensor, hooked, list_layers
from seefar.model.inference import evaluating
from seefar.model.resnet import STAGES, ResNet18, dense_twin

MapMethod = Callable[..., Maps]
"""A function with the arguments of `seefar.gradcam`."""
BATCH_SIZE = 100
EPSILON = 1e-12
STEPS = 50
"""Steps of integrated gradients: with 12, a planted patch was found for 91% of 150 images, not 97%."""


def gradcam(
    model: nn.Module | Classifier,
    images: Pictures,
    classes: ArrayLike | None = None,
    layer: str | nn.Module | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """Grad-CAM (Selvaraju et al. 2016, arXiv 1610.02391): evidence for a class (above 0) and against it (below 0).

    Each channel is weighted by the gradient of the class's logit, summed over the cells, and the channels are added
    up. The paper averages the gradient; its map is this one divided by h * w. The sum makes the unit logits. Good for:
    the last stage, where it is exact. Nothing is cut off at zero or rescaled. Where the network's numbers are not
    finite the map is zero. The network keeps its mode and gets no hook and no `.grad`.

    Args:
        model: a `ResNet18`, or anything that `seefar.adapt` takes or returns.
        images: uint8 (N, H, W, 3), or float (N, 3, H, W) in 0 to 1; one picture, or a list of pictures of one size.
        classes: the class indices to explain, int (N,), or one for all; default: the predicted ones.
        layer: a submodule that gives (N, C, h, w), (N, h, w, C) or tokens (N, T, C), or its name, such as `layer3`.
            Default: the last stage of the dense twin of a `ResNet18`, which has the same weights and finer cells; of
            another network that of `Classifier.map_layer`.
        cells: cells on a side of a `ResNet18`'s default layer: 8, 16 or 32 for 32-pixel images; default 8.
        force: also give a map of 5x5 cells or fewer.

    Returns:
        float32 (N, h, w).

    Raises:
        DataError: the images are not in the range 0 to 1.
        ChoiceError: the layer does not exist, has no cells or too few, does not reach the logits, or a class is out of
            range.

    Examples:
        >>> import numpy as np, seefar
        >>> seefar.gradcam(seefar.ResNet18(width=2), np.zeros((2, 32, 32, 3), np.uint8), classes=3).shape
        (2, 8, 8)
    """

    def formula(at: Captured) -> Tensor:
        weights = at.gradients.sum((2, 3), keepdim=True)  # (n, C, 1, 1)
        return (weights * at.activations).sum(1)

    return compute_maps(formula, model, images, classes, layer, cells=cells, force=force)


def gradcam_plus_plus(
    model: nn.Module | Classifier,
    images: Pictures,
    classes: ArrayLike | None = None,
    layer: str | nn.Module | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """Grad-CAM++ (Chattopadhyay et al. 2017, arXiv 1710.11063): cells with a steep gradient count more.

    The score is exp(logit) as in the paper, which makes the higher derivatives powers of the gradient; its common
    factor exp(logit) is left out, so the values have no unit. Good for: several objects of one class. Arguments as
    `gradcam`.

    Examples:
        >>> import numpy as np, seefar
        >>> seefar.gradcam_plus_plus(seefar.ResNet18(width=2), np.zeros((2, 32, 32, 3), np.uint8), layer="layer2").shape
        (2, 16, 16)
    """

    def formula(at: Captured) -> Tensor:
        square, total = at.gradients**2, at.activations.sum((2, 3), keepdim=True)
        denominator = 2 * square + total * at.gradients**3
        alpha = torch.where(denominator.abs() > EPSILON, square / denominator, 0.0)
        weights = (alpha * at.gradients.relu()).sum((2, 3), keepdim=True)  # (n, C, 1, 1)
        return (weights * at.activations).sum(1)

    return compute_maps(formula, model, images, classes, layer, cells=cells, force=force)


def hirescam(
    model: nn.Module | Classifier,
    images: Pictures,
    classes: ArrayLike | None = None,
    layer: str | nn.Module | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """HiResCAM (Draelos & Carin 2020, arXiv 2011.08891): gradient times activation, cell by cell.

    The paper's map times h * w, so that it has the unit of `gradcam`: divided by h * w, a cell is what the logit
    would lose, to first order, without the cell's activations. Good for: earlier stages, where each cell has its own
    gradient. Arguments as `gradcam`.

    Examples:
        >>> import numpy as np, seefar
        >>> seefar.hirescam(seefar.ResNet18(width=2), np.zeros((2, 32, 32, 3), np.uint8), [3, 1], layer="layer2").shape
        (2, 16, 16)
    """

    def formula(at: Captured) -> Tensor:
        return (at.gradients * at.activations).sum(1) * at.activations.shape[2:].numel()

    return compute_maps(formula, model, images, classes, layer, cells=cells, force=force)


def layercam(
    model: nn.Module | Classifier,
    images: Pictures,
    classes: ArrayLike | None = None,
    layer: str | nn.Module | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """LayerCAM (Jiang et al. 2021, doi 10.1109/TIP.2021.3089943): positive gradients times activations, cell by cell.

    Good for: fine detail at early stages. It shows evidence for a class only, never against it, as long as
    activations are not negative. Times h * w, as `hirescam`. Arguments as `gradcam`.

    Examples:
        >>> import numpy as np, seefar
        >>> seefar.layercam(seefar.ResNet18(width=2), np.zeros((2, 32, 32, 3), np.uint8), 3, layer="layer1").shape
        (2, 32, 32)
    """

    def formula(at: Captured) -> Tensor:
        return (at.gradients.relu() * at.activations).sum(1) * at.activations.shape[2:].numel()

    return compute_maps(formula, model, images, classes, layer, cells=cells, force=force)


def integrated_gradients(
    model: nn.Module | Classifier,
    images: Pictures,
    classes: ArrayLike | None = None,
    layer: str | nn.Module | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365) of the pixels, averaged over cells.

    The path leads from a picture of the image's mean colour to the image, in `STEPS` steps. Where the cells divide the
    image evenly, the mean of the map is the difference of the two logits, apart from the error of the steps. Good for:
    transformers, whose attention moves information to other tokens before the last layers. The layer sets only the size
    of the map. It takes `STEPS` times as long as the other methods. Arguments as `gradcam`.
    """
    classifier = adapt(model)

    def formula(at: Captured) -> Tensor:
        baseline = at.inputs.mean((2, 3), keepdim=True)  # (n, 3, 1, 1)
        total = torch.zeros_like(at.inputs)
        with torch.enable_grad():
            for step in range(STEPS):
                picture = baseline + (step + 0.5) / STEPS * (at.inputs - baseline)  # the midpoint of each step
                picture.requires_grad_()
                score = classifier.forward(picture).gather(1, at.classes[:, None]).sum()
                total += torch.autograd.grad(score, picture)[0]
        pixels = (total / STEPS * (at.inputs - baseline)).sum(1, keepdim=True)  # (n, 1, H, W)
        height, width = at.activations.shape[2:]
        return F.adaptive_avg_pool2d(pixels * pixels[0].numel(), (height, width))[:, 0]

    return compute_maps(formula, classifier, images, classes, layer, cells=cells, force=force)


METHODS: dict[str, MapMethod] = {
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
    "hirescam": hirescam,
    "layercam": layercam,
    "integrated_gradients": integrated_gradients,
}
"""The methods by the names that `--method` takes."""
METHOD_NAMES = {
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "integrated_gradients": "Integrated gradients",
}
IN_LOGITS = ("gradcam", "hirescam", "layercam", "integrated_gradients")  # the other method's values have no unit


@dataclass(frozen=True)
class ClassMaps:
    """The maps of every class at the last stage, float32 (N, K, h, w), in logits.

    `logits`, float32 (N, K), are the network's own: the mean of the cells that enter them, plus the bias.
    """

    maps: NDArray[np.float32]
    logits: NDArray[np.float32]

    def of(self, classes: ArrayLike) -> Maps:
        """The maps of one class for each image, int (N,), or of one class for all: float32 (N, h, w)."""
        return self.maps[np.arange(len(self.maps)), np.asarray(classes, dtype=np.int64)]

    def contrast(self, predicted: ArrayLike, true: ArrayLike) -> Maps:
        """Why `predicted` rather than `true`: the difference of their maps, float32 (N, h, w)."""
        return self.of(predicted) - self.of(true)


def class_maps(
    model: nn.Module | Classifier, images: Pictures, cells: int | None = None, *, force: bool = False
) -> ClassMaps:
    """The maps of every class at the default layer; for a `ResNet18` CAM (Zhou et al. 2015, arXiv 1512.04150).

    Equal to `seefar.gradcam` of each class there. For a `ResNet18` no gradient is needed: the head's weights are
    applied to each cell. Arguments and errors as `seefar.gradcam`.

    Examples:
        >>> import numpy as np, seefar
        >>> found = seefar.class_maps(seefar.ResNet18(width=2), np.zeros((1, 32, 32, 3), np.uint8))
        >>> found.maps.shape, found.contrast(3, 5).shape
        ((1, 10, 8, 8), (1, 8, 8))
    """
    classifier = adapt(model)
    maps, logits = [], []
    with evaluating(classifier.network):
        inputs = classifier.inputs(images)
        layer = classifier.map_layer(None, inputs.shape[1:])
        if layer is not None:
            scores = torch.cat([classifier.forward(part) for part in torch.split(inputs, BATCH_SIZE)])
            each = [gradcam(classifier, images, k, layer, cells=cells, force=force) for k in range(scores.shape[1])]
            return ClassMaps(np.stack(each, 1), scores.float().cpu().numpy())
        twin = fine_twin(classifier.network, (inputs.shape[-2], inputs.shape[-1]), cells, force)
        for batch in torch.split(inputs, BATCH_SIZE):
            features = twin.features(twin.normalize(batch))
            of_batch = F.conv2d(features, twin.fc.weight[:, :, None, None]).float()  # (n, K, h, w)
            logits.append(twin.pool(of_batch) + twin.fc.bias)
            maps.append(zero_if_not_finite(of_batch.flatten(0, 1)).view(of_batch.shape))
    return ClassMaps(torch.cat(maps).cpu().numpy(), torch.cat(logits).float().cpu().numpy())


def contrast_map(
    model: nn.Module | Classifier,
    images: Pictures,
    predicted: ArrayLike,
    true: ArrayLike,
    layer: str | nn.Module | None = None,
    *,
    method: MapMethod = gradcam,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """Why one class rather than the other: map of `predicted` minus map of `true`.

    With Grad-CAM, which is linear in the gradient, this is the map of the difference of the two logits; at the default
    layer the mean over the cells that enter the logits, plus the difference of the two biases, is the margin. Arguments
    and errors as `seefar.gradcam`; `method` is a function such as `seefar.hirescam`.

    Examples:
        >>> import numpy as np, seefar
        >>> images = np.zeros((2, 32, 32, 3), np.uint8)
        >>> seefar.contrast_map(seefar.ResNet18(width=2), images, predicted=3, true=5).shape
        (2, 8, 8)
    """
    first, second = (method(model, images, classes, layer, cells=cells, force=force) for classes in (predicted, true))
    return first - second


# ---- What all methods share ----


def compute_maps(
    formula: Callable[[Captured], Tensor],
    model: nn.Module | Classifier,
    images: Pictures,
    classes: ArrayLike | None = None,
    layer: str | nn.Module | None = None,
    *,
    cells: int | None = None,
    force: bool = False,
) -> Maps:
    """The maps (n, h, w) that a formula gives for each batch of captured images; other arguments as `gradcam`."""
    classifier = adapt(model)
    with evaluating(classifier.network):
        inputs = classifier.inputs(images)
        target = _to_classes(classifier, inputs, classes)
        name = classifier.map_layer(layer, inputs.shape[1:])
        if cells is not None and name is not None:
            raise ChoiceError("Cells can be chosen for a ResNet18's default layer only: pass either layer or cells.")
        source = classifier
        if name is None:
            twin = fine_twin(classifier.network, (inputs.shape[-2], inputs.shape[-1]), cells, force)
            # The twin's head averages only those cells that the network has too, so only they would get a gradient.
            # Here it averages all of them: each cell gets the same gradient, and its sum over the cells, which weighs
            # the channels, is still the network's. The logits of this twin are not the network's and not used.
            twin.cell_stride = 1
            source, name = replace(classifier, network=twin), STAGES[-1]
        maps = []
        for part, of in zip(torch.split(inputs, BATCH_SIZE), torch.split(target, BATCH_SIZE), strict=True):
            at = capture(source, part, of, name)
            _check_size(at.activations, classifier.network, name, force)
            maps.append(zero_if_not_finite(formula(at)))
    return torch.cat(maps).cpu().numpy()


def zero_if_not_finite(maps: Tensor) -> Tensor:
    """The maps (N, h, w) as float32; a map that has a number that is not finite becomes zero everywhere."""
    maps = maps.float()
    return maps.masked_fill(~maps.isfinite().flatten(1).all(1)[:, None, None], 0.0)


def _to_classes(classifier: Classifier, inputs: Tensor, classes: ArrayLike | None) -> Tensor:
    """The class of each image, int64 (N,): those that were passed, or those that the network predicts."""
    if classes is None:
        return torch.cat([classifier.forward(part).argmax(1) for part in torch.split(inputs, BATCH_SIZE)])
    chosen = np.asarray(classes.cpu() if isinstance(classes, Tensor) else classes)
    if chosen.shape not in ((), (len(inputs),)) or chosen.dtype.kind not in "iu":
        raise ChoiceError(
            f"Classes must be one class index for all images, or one for each of the {len(inputs)} "
            f"(got {chosen.dtype} {chosen.shape})."
        )
    return torch.from_numpy(np.broadcast_to(chosen, len(inputs)).astype(np.int64)).to(inputs.device)


def _check_size(activations: Tensor, network: nn.Module, layer: str, force: bool) -> None:
    height, width = activations.shape[2:]
    if min(height, width) >= SMALLEST_MAP or force:
        return
    raise ChoiceError(
        f"Layer {layer} gives maps of {height}x{width} cells; fewer than {SMALLEST_MAP}x{SMALLEST_MAP} show no region: "
        f"pass an earlier layer, {list_layers(network)}. seefar.gradcam(..., force=True) computes them."
    )


# ---- A layer's activations, and the gradients of class scores ----


@dataclass(frozen=True)
class Captured:
    """For n images the network's input (n, ...), the classes of the maps, int64 (n,), and a layer's activations.

    Activations and gradients of each image's class score are float32 (n, C, h, w).
    """

    inputs: Tensor
    classes: Tensor
    activations: Tensor
    gradients: Tensor


def capture(classifier: Classifier, inputs: Tensor, classes: Tensor, layer: str) -> Captured:
    """Run the network forwards once, and backwards to `layer`, from the logit of each image's class, int64 (N,).

    Nothing below the layer is differentiated, so frozen weights and a surrounding `torch.no_grad()` do not matter,
    and no parameter gets a `.grad`. A `ChoiceError` if the layer has no cells, is used more than once or does not reach
    the logits, or a class is out of range.
    """
    taken: list[Tensor] = []

    def take(_module: nn.Module, _inputs: object, output: Any) -> Any:
        activations = first_tensor(output)
        classifier.to_cells(activations, inputs, layer)  # refuses layers without cells
        assert activations is not None
        taken.append(activations.detach().clone().requires_grad_())
        copied = taken[-1].clone()  # since the next layer may change it in place
        return (copied, *output[1:]) if isinstance(output, tuple) else copied

    name = type(classifier.network).__name__
    with evaluating(classifier.network, gradients=True):
        with hooked([classifier.layers[layer]], take):
            logits = classifier.forward(inputs.clone())  # a tensor made under inference_mode could not be used here
        if len(taken) != 1:
            part = "takes no part in the forward pass" if not taken else f"is used {len(taken)} times in a forward pass"
            raise ChoiceError(f"Layer {layer} {part}: choose another layer.")
        count, indices = logits.shape[1], classes.tolist()
        if indices and not 0 <= min(indices) <= max(indices) < count:
            raise ChoiceError(f"Class indices must be from 0 to {count - 1} (got {min(indices)} to {max(indices)}).")
        score = logits.gather(1, classes.clone()[:, None]).sum()
        gradient = torch.autograd.grad(score, taken[0], allow_unused=True)[0] if score.requires_grad else None
        if gradient is None:
            raise ChoiceError(f"The logits do not depend on layer {layer} by a gradient: choose another layer.")
        activations, gradients = (classifier.to_cells(part.detach(), inputs, layer) for part in (taken[0], gradient))
    if len(inputs) and not gradients.any():
        probed = classifier.probe(inputs.shape[1:])
        others = [other for other, (_, reaches) in probed.items() if reaches]
        if others and layer not in others:
            raise ChoiceError(
                f"The gradient of {name}'s logits is zero in all cells of layer {layer}: pass layer {others[-1]!r}, "
                "the last whose cells reach the logits."
            )
    return Captured(inputs, classes, activations.float(), gradients.float())


# ---- Cells of the default layer ----


def default_cells(image_size: ImageSize, stem_stride: int) -> int:
    """Cells on the shorter side of the default layer: those of the first dense twin with at least 6, 8 at 32 pixels."""
    doublings = _doublings(image_size, stem_stride)
    return next(size for size in doublings if size >= SMALLEST_MAP and doublings[size])


def fine_twin(model: nn.Module, image_size: ImageSize, cells: int | None, force: bool = False) -> ResNet18:
    """The dense twin whose last stage has this many cells on its shorter side; by default `default_cells`."""
    assert isinstance(model, ResNet18)  # of all other networks a layer is mapped
    doublings = _doublings(image_size, model.stem_stride)
    wanted = default_cells(image_size, model.stem_stride) if cells is None else cells
    allowed = [size for size in doublings if size >= SMALLEST_MAP or force]
    if wanted not in allowed:
        choices = ", ".join(map(str, allowed))
        raise ChoiceError(f"A {image_size}-pixel image cannot give {wanted!r} cells: choose one of {choices}.")
    return dense_twin(model, doublings[wanted])


def _doublings(image_size: ImageSize, stem_stride: int) -> dict[int, int]:
    """For each possible number of cells on the shorter side of the last stage, how many strides its twin replaces."""
    # A stride of 2 halves the cells, rounding up; the network has three of them after the stem.
    shorter = -(-min(both(image_size)) // stem_stride)
    return {-(-shorter // 2 ** (3 - doublings)): doublings for doublings in range(4)}


def grid_of(model: nn.Module | Classifier, cells: tuple[int, int], image_size: int | tuple[int, int]) -> Grid:
    """The grid of a layer's cells, (rows, columns), as far as the network's architecture determines it.

    A `ResNet18` halves its cells by strides of 2, rounding up, so its cells are 1, 2, 4 or 8 pixels apart whatever the
    image's size: at 50 pixels 13 cells are 4 apart, not 50 / 13. Those of other networks are assumed to share the image
    evenly. The origin is the middle of the first cell's block; for a dense twin see `seefar.maps.sanity.find_origin`.
    """
    grid = Grid.even(cells, image_size)
    if isinstance(adapt(model).network, ResNet18):
        spacing = float(2 ** int(np.ceil(np.log2(grid.spacing))))
        grid = Grid(cells, spacing, (spacing - 1) / 2)
    return grid
