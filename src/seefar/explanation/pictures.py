"""Predict pictures of any size and mode: class, runner-up, contrast map of the two, what hiding the evidence does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from seefar.data.images import Images, Labels
from seefar.data.pictures import Picture, Places, read_pictures, unreadable
from seefar.errors import DataError
from seefar.explanation.health import check_health
from seefar.explanation.kept import kept_explanation
from seefar.explanation.occlusion import occlude, random_steps
from seefar.explanation.parts import PairOfMaps, answers, parts
from seefar.explanation.picture_prediction import PicturePrediction
from seefar.explanation.settings import check_hide, check_map_settings, layer_name
from seefar.maps.grid import Grid, grid_of
from seefar.maps.network import original
from seefar.maps.sanity import evidence_inside, randomized
from seefar.model.inference import log_softmax, weights_fingerprint
from seefar.names import HideName, MethodName
from seefar.progress import Progress, showing
from seefar.training.run import Run


def predict_pictures(
    model: nn.Module,
    pictures: Places,
    classes: Sequence[str],
    image_size: int = 32,
    *,
    method: MethodName = "gradcam",
    layer: str | nn.Module | None = None,
    cells: int | None = None,
    hide: HideName = "blur",
    grid: Grid | None = None,
    progress: Progress | None = None,
) -> list[PicturePrediction]:
    """Predict picture files of any size and mode, and explain each answer against its runner-up. Writes nothing.

    What is found for a picture does not depend on the others.

    Args:
        model: as in `seefar.explain`, such as `run.model`.
        pictures: a file or a folder of files, or several of them; see `seefar.data.pictures.read_picture`.
        classes: names of the K classes, such as `run.classes`.
        image_size: height and width in pixels that the network was trained on, such as `run.image_size`.
        method: as in `seefar.explain`, like layer, cells and hide.
        layer: which layer.
        cells: how fine.
        hide: what takes the place of hidden pixels.
        grid: where the cells of the maps lie, such as `grid` of the network's `seefar.Explanation`, which was measured.
            Default: as the network's form says.
        progress: see `seefar.progress`.

    Raises:
        DataError: some of the files cannot be read, and all of these are named; or the network has other classes.
        MapError: as in `seefar.explain`.

    Example:
        >>> import tempfile
        >>> import seefar
        >>> from PIL import Image
        >>> file = tempfile.mkdtemp() + "/red.png"
        >>> Image.new("RGB", (60, 40), "red").save(file)
        >>> classes = ("cat", "dog", "fox")
        >>> net = seefar.ResNet18(num_classes=3, width=2).eval()
        >>> (found,) = seefar.predict_pictures(net, file, classes, progress=seefar.SILENT)
        >>> found.contrast.shape, found.picture.crop, found.classes[found.predicted] in classes
        ((8, 8), (10, 0, 50, 40), True)
    """
    pair, how = PairOfMaps(method, layer_name(model, layer), cells), hide
    by_form = checked_grid(model, image_size, pair, how)
    with showing(progress) as shown:
        read = read_pictures(pictures, image_size, shown)
        if read.bad:
            raise unreadable(read.bad, len(read.bad) + len(read.names))
        return explain_pictures(model, read.names, read.pictures, classes, pair, how, grid or by_form, shown)


def checked_grid(model: nn.Module, image_size: int, pair: PairOfMaps, hide: HideName) -> Grid:
    """Where the cells of such maps lie as the network's form says; before any picture is read.

    Raises:
        MapError: no such maps can be made, or there is no such way of hiding.
    """
    check_hide(hide)
    shape = check_map_settings(model, image_size, pair.method, pair.layer, pair.cells)
    return grid_of(original(model), shape, (image_size, image_size))


def measured_grid(run: Run, layer: str | None = None, cells: int | None = None) -> Grid | None:
    """Where the cells of a run's maps lie, as measured on its mistakes; None if none are explained by such maps."""
    saved = kept_explanation(run)
    if saved is None:
        return None
    is_same = (saved.layer, saved.cells) == (layer, cells) and saved.model == weights_fingerprint(run.model)
    return saved.grid if is_same else None


def explain_pictures(
    model: nn.Module,
    names: Sequence[str],
    pictures: Sequence[Picture],
    classes: Sequence[str],
    pair: PairOfMaps,
    hide: HideName,
    grid: Grid,
    shown: Progress,
) -> list[PicturePrediction]:
    """The predictions of pictures that are read already, with settings that are checked: see `predict_pictures`."""
    if not pictures:
        return []
    images = np.stack([picture.image for picture in pictures])
    network = original(model)
    *_, (_, with_random_weights) = randomized(network)
    found: list[PicturePrediction] = []
    for rows in parts(len(pictures)):
        some = images[rows]
        logits = answers(network)(some)
        if logits.shape[1] != len(classes):
            raise DataError(
                f"The model gives {logits.shape[1]} logits for an image, {len(classes)} classes are named: pass the "
                "names of the classes that it was trained on."
            )
        order = np.argsort(-logits, axis=1, kind="stable")
        facts = _explain(network, with_random_weights, some, order[:, 0], order[:, 1], pair, hide, grid)
        probabilities = np.exp(log_softmax(logits))
        for number, (own, name, picture) in enumerate(zip(facts, names[rows], pictures[rows], strict=True)):
            found.append(
                PicturePrediction(
                    file=name,
                    picture=picture,
                    classes=tuple(classes),
                    probabilities=probabilities[number],
                    predicted=int(order[number, 0]),
                    runner_up=int(order[number, 1]),
                    grid=grid,
                    method=pair.method,
                    layer=pair.layer,
                    hide=hide,
                    **own,
                )
            )
        shown.update("explaining pictures", rows.stop, len(pictures))
    return found


def _explain(
    network: nn.Module,
    with_random_weights: nn.Module,
    images: Images,
    first: Labels,
    second: Labels,
    pair: PairOfMaps,
    hide: HideName,
    grid: Grid,
) -> list[dict[str, Any]]:
    """Maps, occlusion test and badge of each image."""

    def maps_of(network: nn.Module, images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return pair(network, images, first, second, lambda _: None)

    of_first, of_second = maps_of(network, images)
    contrast = of_first - of_second
    # The same step for each, so that what is found for a picture does not depend on its place among them.
    steps = np.repeat(random_steps(1, images.shape[1] * images.shape[2]), len(images))
    occlusion = occlude(answers(network), images, first, second, contrast, grid, hide, steps=steps)
    top, control = occlusion.top, occlusion.shifted
    mirrored = np.subtract(*maps_of(network, images[:, :, ::-1]))
    random = np.subtract(*maps_of(with_random_weights, images))
    health = check_health(contrast, mirrored, random, occlusion, grid)
    evidence = evidence_inside(contrast, top.pixels, grid)
    after = np.exp(log_softmax(top.logits))
    return [
        {
            "contrast": contrast[i],
            "predicted_map": of_first[i],
            "runner_up_map": of_second[i],
            "hidden": top.pixels[i],
            "share": float(top.share[i]),
            "evidence": float(evidence[i]),
            "hidden_probabilities": after[i],
            "control_share": float(control.first_change[i]) if control.changed[i] else None,
            "health": health[i],
        }
        for i in range(len(images))
    ]
