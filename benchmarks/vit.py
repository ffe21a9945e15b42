"""Do the maps of a vision transformer find what is known to decide? As `ground_truth.py`, for a tiny transformer.

Trains `lab.vit.TinyVit` on `shapes` as it is, and with a planted shortcut: a magenta patch on half of the training
images, which are all labelled `circle`. `last` is the layer that `seefar.adapt` chooses, the norm before the last
attention; `first` is the norm before the first one, where no token has seen another yet. With `--weights` the trained
networks are kept in a folder, and read from it the next time.

    python benchmarks/vit.py [--epochs N] [--weights FOLDER] > results/vit.json
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ground_truth import CIRCLE, ask
from lab.measuring import arguments, print_result, rate_of
from lab.shortcut import plant_shortcut
from lab.vit import TinyVit, train_vit
from seefar.data.images import Split
from seefar.data.shapes import load_shapes
from seefar.explanation.occlusion import occlude
from seefar.maps.formulas import METHODS, contrast_map
from seefar.maps.sanity import evidence_inside, pointing_hits
from seefar.model.adapt import adapt

LAYERS = {"last": None, "first": "blocks.0.norm1"}
MAPS = {
    f"{name}, {where}": (METHODS[name], layer) for where, layer in LAYERS.items() for name in ("gradcam", "hirescam")
} | {"integrated_gradients": (METHODS["integrated_gradients"], None)}


def on_shapes(network: TinyVit, test: Split) -> dict[str, Any]:
    """Pointing game and evidence inside of the shape, of at most 300 correct predictions."""
    correct = adapt(network).logits(test.images).argmax(1) == test.labels
    right = np.flatnonzero(correct)[:300]
    images, labels, masks = test.images[right], test.labels[right], test.masks[right]
    found: dict[str, Any] = {"accuracy": float(correct.mean()), "chance": float(masks.mean()), "methods": {}}
    for name, (method, layer) in MAPS.items():
        maps = method(network, images, labels, layer)
        found["methods"][name] = {
            "pointing": rate_of(pointing_hits(maps, masks)),
            "evidence_inside": float(evidence_inside(maps, masks).mean()),
        }
    return found


def on_shortcut(network: TinyVit, plain: Split, planted: Split) -> dict[str, Any]:
    """The contrast maps of images that are right without the patch and `circle` with it, and the occlusion test."""
    without, with_patch, fooled = ask(network, plain, planted)
    images, true, masks = planted.images[fooled], planted.labels[fooled], planted.masks[fooled]
    found: dict[str, Any] = {
        "accuracy_without_patch": float((without == plain.labels).mean()),
        "answers_circle_with_patch": float((with_patch == CIRCLE).mean()),
        "chance": float(masks.mean()),
        "methods": {},
    }
    for name, (method, layer) in MAPS.items():
        contrast = contrast_map(network, images, CIRCLE, true, layer, method=method)
        hidden = occlude(adapt(network).logits, images, np.full(len(images), CIRCLE), true, contrast)
        found["methods"][name] = {
            "pointing": rate_of(pointing_hits(contrast, masks)),
            "evidence_inside": float(evidence_inside(contrast, masks).mean()),
            "repaired": rate_of(hidden.top.predicted == true),
            "shifted_control": rate_of(hidden.shifted.predicted == true),
        }
    return found


def trained(split: Split, epochs: int, file: Path | None) -> TinyVit:
    """The network of these epochs on this split, from a file if it exists."""
    if file is None or not file.exists():
        network = train_vit(split, epochs)
        if file is not None:
            torch.save(network.state_dict(), file)
        return network
    network = TinyVit(len(split.classes)).eval()
    network.load_state_dict(torch.load(file))
    return network


def main() -> None:
    """Train both networks and print the JSON."""
    options = arguments(__doc__, epochs=20, weights=Path)
    epochs, folder = options.epochs, options.weights
    files = [folder and folder / f"{name}-{epochs}.pt" for name in ("plain", "shortcut")]
    plain = load_shapes(train=8000)
    planted = plant_shortcut(plain.test, 1.0)
    network = trained(plain.train, epochs, files[0])
    layer = adapt(network).map_layer(None, (3, 32, 32))
    shapes = on_shapes(network, plain.test)
    fooled = trained(plant_shortcut(plain.train, 0.5, CIRCLE), epochs, files[1])
    shortcut = on_shortcut(fooled, plain.test, planted)
    print_result({"epochs": epochs, "layer": layer, "shapes": shapes, "shortcut": shortcut})


if __name__ == "__main__":
    main()
