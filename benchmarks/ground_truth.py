"""Ground truth: do maps find what is known to decide, and does hiding it repair the answer?

Trains the recipe `demo` on `shapes` as it is, and with a planted shortcut: a small magenta patch on half of the
training images, which are all labelled `circle`. On the test images the patch is a mistake waiting to happen. The
second training is repeated with several seeds, since another training gives another network.

    python benchmarks/ground_truth.py [--seeds N] [--epochs N] [--figure FILE.png] > results/ground_truth.json
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lab.baselines import BASELINES
from lab.gradient_free import GRADIENT_FREE
from lab.measuring import arguments, print_result, rate_of
from lab.placed import placed_contrast
from lab.shortcut import plant_shortcut
from seefar import class_maps, recipe, train
from seefar.data import Data
from seefar.data.images import Labels, Split
from seefar.data.shapes import load_shapes
from seefar.explanation.occlusion import hide, occlude
from seefar.maps.formulas import METHODS, grid_of
from seefar.maps.sanity import (
    evidence_inside,
    find_origin,
    flip_agreement,
    pointing_hits,
    randomized,
    rank_correlation,
)
from seefar.model.adapt import adapt
from seefar.model.resnet import ResNet18
from seefar.report.figures import over_image
from seefar.report.style import DPI, NotebookFigure

CIRCLE = 0


def on_shapes(model: ResNet18, test: Split) -> dict[str, Any]:
    """(a) Pointing game and evidence inside the shape; (c) randomisation; (d) mirroring; correct predictions only."""
    right = np.flatnonzero(adapt(model).logits(test.images).argmax(1) == test.labels)[:300]
    images, labels, masks = test.images[right], test.labels[right], test.masks[right]
    scores: dict[str, Any] = {"chance": float(masks.mean()), "n": len(right), "methods": {}}
    for name, method in {**METHODS, **GRADIENT_FREE, **BASELINES}.items():
        some = slice(0, 50 if name in ("scorecam", "integrated_gradients") else None)  # slow ones
        maps = method(model, images[some], labels[some])
        mirrored = method(model, images[some, :, ::-1].copy(), labels[some])
        grid = grid_of(model, maps.shape[1:], 32)
        if name not in BASELINES:  # they share the image evenly
            grid = find_origin(maps, mirrored, 32, grid)
        cascade = {
            part: float(np.abs(rank_correlation(maps, method(changed, images[some], labels[some]))).mean())
            for part, changed in randomized(model)
        }
        # Smooth maps of a few cells agree by chance: what the map says of another image is what "nothing left" means.
        by_chance = float(np.abs(rank_correlation(maps, np.roll(maps, 1, axis=0))).mean())
        scores["methods"][name] = {
            "pointing": rate_of(pointing_hits(maps, masks[some], grid)),
            "evidence_inside": float(evidence_inside(maps, masks[some], grid).mean()),
            "rank_correlation_after_randomising": cascade,
            "rank_correlation_with_another_image": by_chance,
            "flip_agreement": float(flip_agreement(maps, mirrored, 32, grid).mean()),
        }
    return scores


def ask(model: ResNet18, plain: Split, planted: Split) -> tuple[Labels, Labels, Labels]:
    """Answers without and with the patch, (N,) each, and the indices of the images that only the patch makes wrong."""
    without, with_patch = (adapt(model).logits(split.images).argmax(1) for split in (plain, planted))
    fooled = np.flatnonzero((without == plain.labels) & (with_patch == CIRCLE) & (plain.labels != CIRCLE))
    return without, with_patch, fooled


def on_shortcut(model: ResNet18, plain: Split, planted: Split, cells: int) -> dict[str, Any]:
    """(b) On images that are right without the patch and `circle` with it."""
    without, with_patch, fooled = ask(model, plain, planted)
    images, true, masks = planted.images[fooled], planted.labels[fooled], planted.masks[fooled]
    contrast, grid = placed_contrast(model, images, CIRCLE, true, cells)
    before: Labels = np.full(len(images), CIRCLE, dtype=np.int64)
    found = occlude(adapt(model).logits, images, before, true, contrast, grid=grid)
    # Without the patch: the same question of the same images, which the network gets right; no patch can be found.
    absent = class_maps(model, plain.images[fooled], cells).contrast(CIRCLE, true)
    return {
        "accuracy_without_patch": float((without == plain.labels).mean()),
        "answers_circle_with_patch": float((with_patch == CIRCLE).mean()),
        "chance": float(masks.mean()),
        "first_cell": grid.origin,
        "pointing": rate_of(pointing_hits(contrast, masks, grid)),
        "pointing_if_cells_shared_the_image_evenly": rate_of(pointing_hits(contrast, masks)),
        "evidence_inside": float(evidence_inside(contrast, masks, grid).mean()),
        "repaired": rate_of(found.top.predicted == true),
        "shifted_control": rate_of(found.shifted.predicted == true),
        "least_relevant_control": rate_of(found.least.predicted == true),
        "without_patch": {
            "pointing_at_its_place": rate_of(pointing_hits(absent, masks, grid)),
            "evidence_inside": float(evidence_inside(absent, masks, grid).mean()),
        },
    }


def draw(model: ResNet18, plain: Split, planted: Split, rows: int = 4) -> Figure:
    """A few fooled images: without and with the patch, the contrast map at three finenesses, the patch hidden."""
    *_, fooled = ask(model, plain, planted)
    images, true = planted.images[fooled], planted.labels[fooled]
    maps = [placed_contrast(model, images, CIRCLE, true, cells) for cells in (8, 16, 32)]
    before: Labels = np.full(rows, CIRCLE, dtype=np.int64)
    top = occlude(adapt(model).logits, images[:rows], before, true[:rows], maps[0][0][:rows], grid=maps[0][1]).top
    figure = NotebookFigure(figsize=(11, 2.1 * rows), dpi=DPI, layout="constrained")
    for row, axes in enumerate(figure.subplots(rows, 6)):
        name, answer = plain.classes[true[row]], plain.classes[top.predicted[row]]
        pictures = (
            (axes[0], plain.images[fooled[row]], f"without the patch: {name}"),
            (axes[1], images[row], "with it: circle"),
            (axes[5], hide(images[row : row + 1], top.pixels[row : row + 1])[0], f"evidence hidden: {answer}"),
        )
        for one, picture, title in pictures:
            one.imshow(picture)
            one.set_title(title, fontsize=8)
            one.set_axis_off()
        for one, (contrast, grid) in zip(axes[2:5], maps, strict=True):
            cells, scale = contrast.shape[1], float(np.abs(contrast[row]).max())
            title = f"why circle, not {name}: {cells}x{cells}"
            one.imshow(over_image(images[row], contrast[row], scale, grid))
            one.set_title(title, fontsize=8)
            one.set_axis_off()
    return figure


def main() -> None:
    """Train the nets and print the JSON."""
    options = arguments(__doc__, seeds=5, epochs=6, figure=Path)
    # Cutout, so that the network knows images with a hole: what is tested is the map, not its fear of holes.
    chosen = recipe("demo", epochs=options.epochs, cutout=8)
    plain = load_shapes(train=8000)
    planted = plant_shortcut(plain.test, 1.0)
    shortcut = Data("shortcut", plant_shortcut(plain.train, 0.5, CIRCLE), planted)
    with tempfile.TemporaryDirectory() as folder:
        run = train(chosen, plain, Path(folder) / "plain")
        shapes = on_shapes(run.model, plain.test)
        found = []
        for seed in range(options.seeds):
            run = train(replace(chosen, seed=seed), shortcut, Path(folder) / f"shortcut-{seed}")
            found.append({cells: on_shortcut(run.model, plain.test, planted, cells) for cells in (8, 16, 32)})
            if options.figure and seed == 0:
                draw(run.model, plain.test, planted).savefig(options.figure, metadata={"Software": None})
    print_result({"epochs": chosen.epochs, "shapes": shapes, "shortcut": found})


if __name__ == "__main__":
    main()
