from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seefar import class_maps, gradcam
from seefar.choices import MapChoices
from seefar.data import Data
from seefar.data.images import Split
from seefar.errors import ChoiceError, DataError, RunError
from seefar.evaluation.mistakes import Mistake, find_mistakes
from seefar.evaluation.predictions import Predictions, predict
from seefar.explanation.explain import (
    Explainer,
    MapSettings,
    explain,
    explain_in_parts,
    normalise_map_settings,
    two_best,
)
from seefar.explanation.explanation import Explanation
from seefar.explanation.occlusion import hide, occlude
from seefar.maps.capture import logits_of
from seefar.maps.formulas import METHODS
from seefar.maps.grid import Grid
from seefar.model.inference import weights_fingerprint
from seefar.model.resnet import ResNet18
from seefar.progress import SILENT
from seefar.training.run import Run

ARRAYS = ("contrast", "predicted", "true", "hidden", "damaged")


@pytest.fixture(scope="module")
def predictions(trained: Run, shapes: Data) -> Predictions:
    return predict(trained.model, shapes.test, progress=SILENT)


@pytest.fixture(scope="module")
def all_of_them(trained: Run, shapes: Data, predictions: Predictions) -> Explanation:
    return explain(trained.model, shapes.test, predictions, progress=SILENT)


def assert_same(one: Explanation, other: Explanation) -> None:
    """To the bit."""
    for name in ARRAYS:
        found, expected = getattr(one, name), getattr(other, name)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
    rest = set(Explanation.__dataclass_fields__) - set(ARRAYS)
    assert {name: getattr(one, name) for name in rest} == {name: getattr(other, name) for name in rest}


def test_each_mistake_gets_the_maps_of_its_own_two_classes(
    trained: Run, shapes: Data, predictions: Predictions, all_of_them: Explanation
) -> None:
    assert all_of_them.mistakes == find_mistakes(predictions)
    assert len(all_of_them) > 10
    parts = all_of_them.contrast, all_of_them.predicted, all_of_them.true
    for mistake, contrast, predicted, true in zip(all_of_them.mistakes, *parts, strict=True):
        image = shapes.test.images[mistake.index : mistake.index + 1]
        np.testing.assert_allclose(predicted, gradcam(trained.model, image, mistake.predicted)[0], atol=1e-4)
        np.testing.assert_allclose(true, gradcam(trained.model, image, mistake.true)[0], atol=1e-4)
        np.testing.assert_array_equal(contrast, predicted - true)


def test_what_was_hidden_changed_the_answer_as_is_said(trained: Run, shapes: Data, all_of_them: Explanation) -> None:
    images = shapes.test.images[[mistake.index for mistake in all_of_them.mistakes]]
    logits = logits_of(trained.model, hide(images, all_of_them.hidden))
    assert logits.argmax(1).tolist() == [repair.answer for repair in all_of_them.repairs]
    assert {repair.outcome for repair in all_of_them.repairs} >= {"repaired", "stays"}


def test_the_control_mask_is_drawn_by_data_set_index(
    trained: Run, shapes: Data, predictions: Predictions, all_of_them: Explanation
) -> None:
    """Not by rank: whichever mistakes are explained, in whatever order, each keeps its mask."""
    some = all_of_them.of([all_of_them.mistakes[rank] for rank in (7, 2, 4)])
    index = np.array([mistake.index for mistake in some.mistakes])
    predicted, true = predictions.predicted[index], predictions.labels[index]
    images, model = shapes.test.images[index], trained.model
    found = occlude(model, images, predicted, true, some.contrast, grid=some.grid, index=index).shifted
    shares = [None if np.isinf(share) else share for share in found.first_change]
    assert [repair.control_share for repair in some.repairs] == shares


def test_rates_are_those_of_the_mistakes_that_are_there(all_of_them: Explanation) -> None:
    rates = all_of_them.rates
    for which, rate in (("outcome", rates.repaired), ("shifted", rates.shifted), ("least", rates.least)):
        hits = [getattr(repair, which) == "repaired" for repair in all_of_them.repairs]
        assert (rate.n, rate.share) == (len(hits), pytest.approx(sum(hits) / len(hits)))
    assert rates.damaged.n == len(all_of_them)  # as many right answers
    assert rates.damaged.share == all_of_them.damaged.mean()
    repaired = [m for m, r in zip(all_of_them.mistakes, all_of_them.repairs, strict=True) if r.outcome == "repaired"]
    assert all_of_them.of(repaired).rates.repaired.share == 1.0


def explain_known(
    run: Run, data: Data, predictions: Predictions, mistakes: list[Mistake], known: Explanation | None
) -> Explanation:
    settings = normalise_map_settings(run.model, 32)
    arguments = run.model, data.test, predictions, mistakes
    (*_, found) = explain_in_parts(*arguments, settings=settings, known=known, progress=SILENT)
    return found


def test_several_calls_give_to_the_bit_what_one_call_gives(
    trained: Run, shapes: Data, predictions: Predictions, all_of_them: Explanation
) -> None:
    """Whichever are explained first: the grid, each control's place and the right answers do not depend on it."""
    mistakes, found = all_of_them.mistakes, None
    shuffled = [mistakes[rank] for rank in np.random.default_rng(0).permutation(len(mistakes))]
    for part in (shuffled[:1], shuffled[1:8], shuffled[8:]):
        found = explain_known(trained, shapes, predictions, part, found)
        if len(found) < len(mistakes):
            assert not len(found.damaged)  # right answers come last, so that the first mistakes are there soon
            expected = replace(all_of_them.of(found.mistakes), damaged=found.damaged)
            assert_same(found, expected)
    assert found is not None
    assert_same(found, all_of_them)


def test_what_is_known_is_not_explained_again(
    trained: Run, shapes: Data, predictions: Predictions, all_of_them: Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Explainer, "logits", None)
    monkeypatch.setattr(Explainer, "explain_part", None)
    some = [all_of_them.mistakes[3], all_of_them.mistakes[1]]
    found = explain_known(trained, shapes, predictions, some, all_of_them)
    assert_same(found, all_of_them)
    assert found.of(some).mistakes == some


def test_it_comes_back_from_its_file_to_the_bit(tmp_path: Path, all_of_them: Explanation) -> None:
    path = tmp_path / "maps.npz"
    all_of_them.save(path)
    assert_same(Explanation.load(path), all_of_them)
    assert repr(Explanation.load(path)) == repr(all_of_them)
    assert len(repr(all_of_them)) < 100
    nothing = all_of_them.of([])
    nothing.save(path)
    assert_same(Explanation.load(path), nothing)
    with np.load(path, allow_pickle=False) as arrays:
        assert set(arrays.files) == {"index", *ARRAYS, "about"}


def test_a_damaged_file_is_named(tmp_path: Path, all_of_them: Explanation) -> None:
    path = tmp_path / "maps.npz"
    with pytest.raises(RunError, match=r"maps.npz is missing"):
        Explanation.load(path)
    all_of_them.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match=r"maps.npz cannot be read"):
        Explanation.load(path)


def test_another_method_layer_and_number_of_cells(trained: Run, shapes: Data, predictions: Predictions) -> None:
    model, some = trained.model, find_mistakes(predictions)[:3]
    found = explain(model, shapes.test, predictions, some, method="layercam", layer=model.layer2, progress=SILENT)
    assert (found.layer, found.contrast.shape) == ("layer2", (3, 16, 16))
    assert (found.cell_stride, found.grid) == (1, Grid((16, 16), 2.0, 0.5))
    fine = explain(model, shapes.test, predictions, some, cells=16, progress=SILENT)
    assert (fine.cell_stride, fine.grid.spacing) == (4, 2.0)
    assert 0 <= fine.grid.origin <= 7
    expected = class_maps(model, shapes.test.images[[m.index for m in fine.mistakes]], 16)
    np.testing.assert_allclose(fine.predicted, expected.of([m.predicted for m in fine.mistakes]), atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "gradcam2"}, "one of gradcam, .*got 'gradcam2'"),
        ({"layer": "layer9"}, "no layer 'layer9'"),
        ({"layer": "fc"}, r"Layer fc must give .*got float32 \(1, 10\)"),
        ({"layer": "layer4"}, "Layer layer4 gives maps of 4x4 cells"),
        ({"layer": "layer3", "cells": 16}, "either layer or cells"),
        ({"cells": 7}, "7 cells: choose one of 8, 16, 32"),
        ({"hide": "black"}, "hide must be one of blur, grey, mean .got 'black'"),
    ],
)
def test_wrong_settings_are_refused_at_once(
    trained: Run, shapes: Data, predictions: Predictions, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ChoiceError, match=message):
        explain(trained.model, shapes.test, predictions, [], progress=SILENT, **settings)  # type: ignore[arg-type]
    with pytest.raises(ChoiceError, match=message):  # before a training, for a network of any weights
        normalise_map_settings(ResNet18(10, width=1), 32, MapChoices(**settings))  # type: ignore[arg-type]


def test_settings_are_normalised() -> None:
    """The default number of cells, spelled out, is the default."""
    net = ResNet18(3, width=1)
    default = normalise_map_settings(net, 32)
    assert default == MapSettings("gradcam", None, None, "blur", Grid((8, 8), 4.0, 1.5))
    assert default == normalise_map_settings(net, 32, MapChoices(cells=8))
    assert normalise_map_settings(net, 32, MapChoices(cells=16)).cells == 16
    assert normalise_map_settings(net, 50, MapChoices(cells=13)).cells is None
    assert normalise_map_settings(net, 48, MapChoices(cells=24)).grid.cells == (24, 24)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("layer", [None, "layer2"])
def test_the_maps_of_two_classes_are_those_of_each(shapes: Data, method: str, layer: str | None) -> None:
    net, images = ResNet18(10, width=2).eval(), shapes.test.images[:3]
    settings = normalise_map_settings(net, 32, MapChoices(method, layer))  # type: ignore[arg-type]
    classes = np.array([0, 1, 2]), np.array([3, 3, 3])
    for maps, of in zip(settings.two_maps(net, images, classes), classes, strict=True):
        np.testing.assert_allclose(maps, METHODS[method](net, images, of, layer), atol=1e-4)


def test_default_cells_spelled_out_are_the_default(
    trained: Run, shapes: Data, predictions: Predictions, all_of_them: Explanation
) -> None:
    some = all_of_them.mistakes[:2]
    found = explain(trained.model, shapes.test, predictions, some, cells=8, progress=SILENT)
    assert_same(found, replace(all_of_them.of(some), damaged=found.damaged))


def test_what_is_explained_so_far_comes_after_each_part(
    trained: Run, shapes: Data, predictions: Predictions, all_of_them: Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order that is passed, each more than the one before; it goes on from any of them after a kill."""
    monkeypatch.setattr("seefar.explanation.explain.PART_PIXELS", 20 * 32 * 32)
    mistakes = [all_of_them.mistakes[rank] for rank in np.random.default_rng(1).permutation(len(all_of_them))]
    arguments = trained.model, shapes.test, predictions
    settings = normalise_map_settings(trained.model, 32)
    parts = list(explain_in_parts(*arguments, mistakes, settings=settings, progress=SILENT))
    counts = [len(part) for part in parts]
    assert counts[:2] == [20, min(40, len(mistakes))]
    assert counts == sorted(counts)
    assert {one.index for one in parts[0].mistakes} == {one.index for one in mistakes[:20]}
    assert_same(parts[-1], all_of_them)
    (*_, resumed) = explain_in_parts(*arguments, mistakes, settings=settings, known=parts[0], progress=SILENT)
    assert_same(resumed, all_of_them)


def test_predictions_of_something_else_are_refused(trained: Run, shapes: Data, predictions: Predictions) -> None:
    with pytest.raises(DataError, match="of other weights or images"):
        explain(ResNet18(10, width=8).eval(), shapes.test, predictions, progress=SILENT)
    mirrored = Split(shapes.test.images[:, :, ::-1], shapes.test.labels, shapes.classes)
    with pytest.raises(DataError, match="of other weights or images"):
        explain(trained.model, mirrored, predictions, progress=SILENT)
    right = int(np.flatnonzero(predictions.predicted == predictions.labels)[0])
    with pytest.raises(DataError, match=f"Test image {right} is not a mistake of these predictions"):
        explain(trained.model, shapes.test, predictions, [Mistake(right, 0, 1, 0.5, 0.1, 2.0)], progress=SILENT)


def test_what_is_not_there_cannot_be_chosen(all_of_them: Explanation) -> None:
    some = all_of_them.of([all_of_them.mistakes[4], all_of_them.mistakes[1]])
    assert some.mistakes == [all_of_them.mistakes[4], all_of_them.mistakes[1]]
    np.testing.assert_array_equal(some.true, all_of_them.true[[4, 1]])
    np.testing.assert_array_equal(some.hidden, all_of_them.hidden[[4, 1]])
    assert some.repairs == [all_of_them.repairs[4], all_of_them.repairs[1]]
    assert len(all_of_them.of([]).contrast) == 0
    with pytest.raises(RunError, match=rf"Test image {all_of_them.mistakes[0].index} is not among the 2 mistakes"):
        some.of(all_of_them.mistakes[:1])


def test_a_net_without_mistakes_has_no_maps(trained: Run, shapes: Data, tmp_path: Path) -> None:
    labels, classes = shapes.test.labels, shapes.classes
    perfect = Predictions(
        np.eye(10, dtype=np.float32)[labels],
        np.zeros((150, 1), np.float32),
        labels,
        classes,
        model=weights_fingerprint(trained.model),
        images=shapes.test.fingerprint,
    )
    found = explain(trained.model, shapes.test, perfect, progress=SILENT)
    assert found.contrast.shape == (0, 8, 8)
    assert len(found.repairs) == len(found.damaged) == found.rates.damaged.n == 0
    assert str(found.rates) == "no mistake to repair"
    found.save(tmp_path / "none.npz")
    assert_same(Explanation.load(tmp_path / "none.npz"), found)


class Other(nn.Module):
    """Not a ResNet18: pictures from 0 to 1 in, logits out."""

    def __init__(self) -> None:
        super().__init__()
        self.cells, self.head = nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.Linear(8, 10)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(self.cells(pictures).relu().mean((2, 3)))


def test_a_network_of_other_make_is_explained_at_its_layer(shapes: Data) -> None:
    torch.manual_seed(0)
    net = Other().eval()
    predictions = predict(net, shapes.test, progress=SILENT)
    some = find_mistakes(predictions)[:3]
    with pytest.raises(ChoiceError, match=r"no layer 'layer4': .*'cells'"):
        explain(net, shapes.test, predictions, some, layer="layer4", progress=SILENT)
    found = explain(net, shapes.test, predictions, some, progress=SILENT)  # its only layer with cells
    assert found.layer == "cells"
    assert found.grid == Grid((16, 16), 2.0, 0.5)
    pictures = torch.from_numpy(shapes.test.images[[m.index for m in some]]).permute(0, 3, 1, 2) / 255
    expected = gradcam(net, pictures, [m.predicted for m in some], "cells")
    np.testing.assert_allclose(found.predicted, expected, atol=1e-4)
    assert len(found.repairs) == len(found.health) == 3


def test_the_runner_up_of_tied_logits_is_another_class_than_the_prediction() -> None:
    logits = np.array([[1, 3, 3], [2, 2, 2], [0, 1, 5]], np.float32)
    first, second = two_best(logits)
    assert first.tolist() == logits.argmax(1).tolist() == [1, 0, 2]
    assert second.tolist() == [2, 1, 1]
