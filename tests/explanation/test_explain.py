from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seefar import gradcam
from seefar.choices import MapChoices
from seefar.data import Data
from seefar.data.images import Split
from seefar.errors import DataError, RunError
from seefar.evaluation.mistakes import Mistake, find_mistakes
from seefar.evaluation.predictions import Predictions, predict
from seefar.explanation.explain import (
    Explainer,
    Explanation,
    MapSettings,
    explain,
    explain_in_parts,
    normalise_map_settings,
    two_best,
)
from seefar.explanation.occlusion import hide, occlude
from seefar.maps.grid import Grid
from seefar.model.adapt import adapt
from seefar.model.inference import weights_fingerprint
from seefar.model.resnet import ResNet18
from seefar.progress import SILENT
from seefar.training.run import Run

ARRAYS = ("contrast", "predicted", "true", "hidden", "damaged")


@pytest.fixture(scope="module")
def split(trained: Run, shapes: Data) -> Split:
    """24 mistakes of the network, more than a batch, and as many correct predictions."""
    right = predict(trained.model, shapes.test, progress=SILENT).predicted == shapes.test.labels
    return shapes.test.take(np.sort(np.concatenate((np.flatnonzero(~right)[:24], np.flatnonzero(right)[:24]))))


@pytest.fixture(scope="module")
def predictions(trained: Run, split: Split) -> Predictions:
    return predict(trained.model, split, progress=SILENT)


@pytest.fixture(scope="module", autouse=True)
def _few_maps_determine_the_grid() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seefar.maps.sanity.FEWEST_MAPS", 10)
        yield


@pytest.fixture(scope="module")
def all_of_them(trained: Run, split: Split, predictions: Predictions) -> Explanation:
    return explain(trained.model, split, predictions, progress=SILENT)


def assert_same(one: Explanation, other: Explanation) -> None:
    """To the bit."""
    for name in ARRAYS:
        found, expected = getattr(one, name), getattr(other, name)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
    rest = set(Explanation.__dataclass_fields__) - set(ARRAYS)
    assert {name: getattr(one, name) for name in rest} == {name: getattr(other, name) for name in rest}


def test_each_mistake_gets_the_maps_of_its_own_two_classes(
    trained: Run, split: Split, predictions: Predictions, all_of_them: Explanation
) -> None:
    assert all_of_them.mistakes == find_mistakes(predictions)
    assert len(all_of_them) == 24
    images = split.images[[mistake.index for mistake in all_of_them.mistakes]]
    for name in ("predicted", "true"):
        expected = gradcam(trained.model, images, [getattr(mistake, name) for mistake in all_of_them.mistakes])
        np.testing.assert_allclose(getattr(all_of_them, name), expected, atol=1e-4)
    np.testing.assert_array_equal(all_of_them.contrast, all_of_them.predicted - all_of_them.true)
    logits = adapt(trained.model).logits(hide(images, all_of_them.hidden))
    assert logits.argmax(1).tolist() == [repair.answer for repair in all_of_them.repairs]
    assert {repair.outcome for repair in all_of_them.repairs} >= {"repaired", "stays"}


def test_the_control_mask_is_drawn_by_data_set_index(
    trained: Run, split: Split, predictions: Predictions, all_of_them: Explanation
) -> None:
    """Not by rank: whichever mistakes are explained, in whatever order, each keeps its mask."""
    some = all_of_them.of([all_of_them.mistakes[rank] for rank in (7, 2, 4)])
    index = np.array([mistake.index for mistake in some.mistakes])
    predicted, true = predictions.predicted[index], predictions.labels[index]
    found = occlude(
        adapt(trained.model).logits, split.images[index], predicted, true, some.contrast, grid=some.grid, index=index
    ).shifted
    shares = [None if np.isinf(share) else share for share in found.first_change]
    assert [repair.control_share for repair in some.repairs] == shares


def test_rates_are_those_of_the_mistakes_that_are_chosen(all_of_them: Explanation) -> None:
    rates = all_of_them.rates
    assert rates.repaired.n == rates.damaged.n == 24  # as many correct predictions
    assert rates.damaged.share == all_of_them.damaged.mean()
    repaired = [m for m, r in zip(all_of_them.mistakes, all_of_them.repairs, strict=True) if r.outcome == "repaired"]
    assert rates.repaired.share == len(repaired) / 24
    some = all_of_them.of(repaired[::-1])  # in their order
    assert (some.mistakes, some.rates.repaired.share) == (repaired[::-1], 1.0)
    other = next(mistake for mistake in all_of_them.mistakes if mistake not in repaired)
    with pytest.raises(RunError, match=rf"Test image {other.index} is not among the {len(repaired)} mistakes"):
        some.of([other])


def test_saving_and_loading_keep_every_bit(tmp_path: Path, all_of_them: Explanation) -> None:
    path = tmp_path / "maps.npz"
    for explanation in (all_of_them, all_of_them.of([])):
        explanation.save(path)
        assert_same(Explanation.load(path), explanation)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match=r"maps.npz cannot be read"):
        Explanation.load(path)


def test_the_cells_of_a_chosen_layer_are_where_its_stride_puts_them(
    trained: Run, split: Split, predictions: Predictions
) -> None:
    """Only those of the dense twin are measured."""
    some = find_mistakes(predictions)[:3]
    found = explain(trained.model, split, predictions, some, layer=trained.model.layer2, progress=SILENT)
    assert (found.layer, found.contrast.shape) == ("layer2", (3, 16, 16))
    assert found.grid == Grid((16, 16), 2.0, 0.5)


def test_settings_are_normalised() -> None:
    """The default number of cells, given as a number, is the default."""
    net = ResNet18(3, width=1)
    default = normalise_map_settings(net, 32)
    assert default == MapSettings("gradcam", None, None, "blur", grid=Grid((8, 8), 4.0, 1.5))
    assert default == normalise_map_settings(net, 32, MapChoices(cells=8))
    assert normalise_map_settings(net, 32, MapChoices(cells=16)).cells == 16
    assert normalise_map_settings(net, 50, MapChoices(cells=13)).cells is None


@pytest.mark.slow
def test_parts_and_known_results_equal_one_call_bit_for_bit(
    trained: Run, split: Split, predictions: Predictions, all_of_them: Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order that is passed, each more than the one before; it resumes from any of them after a kill."""
    monkeypatch.setattr("seefar.explanation.explain.PART_PIXELS", 20 * 32 * 32)
    mistakes = [all_of_them.mistakes[rank] for rank in np.random.default_rng(1).permutation(24)]
    arguments, settings = (trained.model, split, predictions), normalise_map_settings(trained.model, 32)
    parts = list(explain_in_parts(*arguments, mistakes, settings=settings, progress=SILENT))
    assert [len(part) for part in parts] == [20, 24, 24]
    first = all_of_them.of(sorted(mistakes[:20], key=lambda mistake: -mistake.loss))
    assert_same(parts[0], replace(first, damaged=parts[0].damaged))
    assert not len(parts[0].damaged)  # correct predictions come last, so that the first mistakes are there soon
    assert_same(parts[-1], all_of_them)
    (*_, resumed) = explain_in_parts(*arguments, mistakes, settings=settings, known=parts[0], progress=SILENT)
    assert_same(resumed, all_of_them)
    monkeypatch.setattr(Explainer, "explain_part", None)  # from here on nothing is explained again
    (*_, known) = explain_in_parts(*arguments, mistakes[:2], settings=settings, known=all_of_them, progress=SILENT)
    assert_same(known, all_of_them)


def test_predictions_for_another_data_set_are_refused(trained: Run, split: Split, predictions: Predictions) -> None:
    mirrored = Split(split.images[:, :, ::-1], split.labels, split.classes)
    for model, images in ((ResNet18(10, width=8).eval(), split), (trained.model, mirrored)):
        with pytest.raises(DataError, match="from other weights or images"):
            explain(model, images, predictions, progress=SILENT)
    right = int(np.flatnonzero(predictions.predicted == predictions.labels)[0])
    with pytest.raises(DataError, match=f"Test image {right} is not a mistake of these predictions"):
        explain(trained.model, split, predictions, [Mistake(right, 0, 1, 0.5, 0.1, 2.0)], progress=SILENT)


def test_a_network_without_mistakes_has_no_maps(trained: Run, split: Split) -> None:
    perfect = replace(Predictions.of(np.eye(10)[split.labels], split), model=weights_fingerprint(trained.model))
    found = explain(trained.model, split, perfect, progress=SILENT)
    assert found.contrast.shape == (0, 8, 8)
    assert len(found.repairs) == len(found.damaged) == found.rates.damaged.n == 0


def test_the_runner_up_of_tied_logits_is_another_class_than_the_prediction() -> None:
    logits = np.array([[1, 3, 3], [2, 2, 2], [0, 1, 5]], np.float32)
    first, second = two_best(logits)
    assert first.tolist() == logits.argmax(1).tolist() == [1, 0, 2]
    assert second.tolist() == [2, 1, 1]
