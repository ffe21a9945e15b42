"""Files of a run with the right checksum and wrong values: never taken for right, computed anew or refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_job import TINY

import seefar
from seefar.artifacts import measured_grid
from seefar.cli.main import main
from seefar.compared_runs import predicted_classes
from seefar.data import Data
from seefar.data.shapes import load_shapes
from seefar.errors import DataError, RunError
from seefar.evaluation.metrics import Metrics
from seefar.pipeline import evaluate_run, explain_run, report_run
from seefar.runs.arrays import save_arrays
from seefar.runs.folder import RunFolder
from seefar.runs.tensors import load_tensors, save_tensors
from seefar.training.run import Run, load_run

Arrays = dict[str, Any]


@pytest.fixture(scope="module")
def whole(few: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    seefar.run(TINY, few, folder, top=2, progress=seefar.SILENT)
    return folder


@pytest.fixture
def tiny(whole: Path, tmp_path: Path) -> Run:
    shutil.copytree(whole, tmp_path / "run")
    return load_run(tmp_path / "run")


def change_arrays(path: Path, change: Callable[[Arrays], Arrays]) -> None:
    with np.load(path) as archive:
        arrays = dict(archive)
    save_arrays(path, {**arrays, **change(arrays)})


def change_about(path: Path, change: Callable[[Any], object]) -> None:
    def changed(arrays: Arrays) -> Arrays:
        about = json.loads(arrays["about"].tobytes())
        change(about)
        return {"about": np.frombuffer(json.dumps(about).encode(), np.uint8)}

    change_arrays(path, changed)


def rows(count: int) -> Callable[[Arrays], Arrays]:
    return lambda found: {name: np.resize(found[name], (count, *found[name].shape[1:])) for name in PER_IMAGE}


PER_IMAGE = ("logits", "features", "labels")
PREDICTIONS: dict[str, Callable[[Arrays], Arrays]] = {
    "five rows": rows(5),
    "two thousand rows": rows(2000),
    "other labels": lambda found: {"labels": (found["labels"] + 1) % 10},
}


@pytest.mark.parametrize("change", PREDICTIONS.values(), ids=PREDICTIONS)
@pytest.mark.parametrize("step", [evaluate_run, explain_run, report_run])
def test_predictions_that_do_not_fit_the_images_are_computed_anew(
    tiny: Run, few: Data, whole: Path, step: Callable[..., object], change: Callable[[Arrays], Arrays]
) -> None:
    change_arrays(tiny.folder.predictions, change)
    step(tiny, few, progress=seefar.SILENT)
    assert tiny.folder.predictions.read_bytes() == RunFolder(whole).predictions.read_bytes()


def test_predictions_of_other_rows_are_not_compared(tiny: Run, few: Data) -> None:
    change_arrays(tiny.folder.predictions, rows(5))
    with pytest.raises(RunError, match=r"predictions\.npz is of other test images"):
        predicted_classes(tiny.folder, few.test)


def first(table: str, **values: object) -> Callable[[Any], object]:
    return lambda about: about[table][0].update(values)


ABOUT: dict[str, Callable[[Any], object]] = {
    "a text for a share": first("repairs", share="abc"),
    "a share above 1": first("repairs", share=7.0),
    "a box of nothing": first("repairs", box=[]),
    "a box outside": first("repairs", box=[0, 0, 10**9, 4]),
    "a number for a reason": first("health", reasons=[5]),
    "a reason that a terminal obeys": first("health", badge="fair", reasons=["\x1b[31mred"]),
    "HTML for a badge": first("health", badge="<b>"),
    "a text for a confidence": first("mistakes", confidence="zz"),
    "another true class": lambda about: about["mistakes"][0].update(true=(about["mistakes"][0]["true"] + 1) % 10),
    "another image": first("mistakes", index=10**9),
    "a text for a spacing": lambda about: about["grid"].update(spacing="x"),
    "no spacing": lambda about: about["grid"].update(spacing=0),
    "another spacing": lambda about: about["grid"].update(spacing=1e-9),
    "an origin outside": lambda about: about["grid"].update(origin=1e30),
    "a grid of many cells": lambda about: about["grid"].update(cells=[10**9, 10**9]),
    "another hide": lambda about: about.update(hide="<i>"),
    "classes that are none": lambda about: about.update(classes=[None] * 10),
}


@pytest.mark.parametrize("change", ABOUT.values(), ids=ABOUT)
def test_maps_with_wrong_values_are_left_out_and_computed_anew(
    tiny: Run, few: Data, whole: Path, change: Callable[[Any], object]
) -> None:
    def as_in_index(arrays: Arrays) -> Arrays:
        mistakes = json.loads(arrays["about"].tobytes())["mistakes"]
        return {"index": np.array([mistake["index"] for mistake in mistakes])}

    change_about(tiny.folder.maps, change)
    change_arrays(tiny.folder.maps, as_in_index)
    report_run(tiny, few, progress=seefar.SILENT)
    assert measured_grid(tiny) in (None, measured_grid(load_run(whole)))
    explain_run(tiny, few, top=2, progress=seefar.SILENT)
    assert tiny.folder.maps.read_bytes() == RunFolder(whole).maps.read_bytes()


def test_hidden_pixels_of_another_size_are_computed_anew(tiny: Run, few: Data, whole: Path) -> None:
    change_arrays(tiny.folder.maps, lambda found: {"hidden": np.ones((len(found["hidden"]), 3, 5), bool)})
    report_run(tiny, few, progress=seefar.SILENT)
    explain_run(tiny, few, top=2, progress=seefar.SILENT)
    assert tiny.folder.maps.read_bytes() == RunFolder(whole).maps.read_bytes()


NEIGHBOURS: dict[str, Callable[[Arrays], Arrays]] = {
    "an image that is not there": lambda found: {"of_predicted": np.full_like(found["of_predicted"], 10**9)},
    "images of another class": lambda found: {"of_true": found["of_predicted"]},
    "a mistake less": lambda found: {
        name: found[name][1:] for name in ("index", "of_predicted", "of_true", "distance_predicted", "distance_true")
    },
    "a distance that is none": lambda found: {"distance_true": np.full_like(found["distance_true"], np.inf)},
    "an accuracy that is none": lambda found: {"accuracy": np.float64(np.nan)},
    "answers for other images": lambda found: {"knn": found["knn"][:3]},
    "a copy of no image": lambda found: {
        "duplicate_index": np.array([10**9]),
        "duplicate_training": np.array([0]),
        "duplicate_likeness": np.array([1.0]),
        "duplicate_mirrored": np.array([True]),
    },
}


@pytest.mark.parametrize("change", NEIGHBOURS.values(), ids=NEIGHBOURS)
def test_neighbours_with_wrong_values_are_left_out_and_computed_anew(
    tiny: Run, few: Data, whole: Path, change: Callable[[Arrays], Arrays]
) -> None:
    change_arrays(tiny.folder.neighbours, change)
    report_run(tiny, few, progress=seefar.SILENT)
    explain_run(tiny, few, top=2, progress=seefar.SILENT)
    assert tiny.folder.neighbours.read_bytes() == RunFolder(whole).neighbours.read_bytes()


@pytest.mark.parametrize("count", ["1e999", "NaN", '"3"', "null", "1" + "0" * 400, "[" * 200_000])
def test_a_number_of_mistakes_that_is_none_is_refused(tiny: Run, few: Data, count: str) -> None:
    tiny.folder.predictions.unlink()
    tiny.folder.metrics.write_text(f'{{"test": {{"mistakes": {count}}}}}')
    with pytest.raises(RunError, match=r"mistakes\.csv"):
        predicted_classes(tiny.folder, few.test)


@pytest.mark.parametrize(("field", "value"), [("accuracy", "high"), ("n", 0.5), ("loss", [1])])
def test_metrics_of_another_kind_are_refused(tiny: Run, field: str, value: object) -> None:
    metrics = json.loads(tiny.folder.metrics.read_text())
    metrics["test"][field] = value
    with pytest.raises(ValueError, match=f"{field} is .* was wanted"):
        Metrics.from_json(json.dumps(metrics))


def change_weights(run: Run, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> None:
    tensors, about = load_tensors(run.folder.weights)
    change(tensors, about)
    save_tensors(run.folder.weights, tensors, about)


@pytest.mark.parametrize("size", [0, 3, -5, 10**5, 10**400, "32", True, None])
def test_an_image_size_that_no_network_has_is_refused(tiny: Run, size: object) -> None:
    change_weights(tiny, lambda _, about: about.update(image_size=size))
    with pytest.raises(RunError, match=r"weights\.safetensors does not say what it was trained as: .*image_size is"):
        load_run(tiny.folder)


@pytest.mark.parametrize("classes", [[1, None], ["one"], "abcdefghij", {"a": 1}, None, ["a", "a"]])
def test_classes_that_are_none_are_refused(tiny: Run, classes: object) -> None:
    change_weights(tiny, lambda _, about: about.update(classes=classes))
    with pytest.raises(RunError, match=r"weights\.safetensors does not say what it was trained as: .*classes must"):
        load_run(tiny.folder)


@pytest.mark.parametrize("width", [2000, 4096])
def test_a_width_that_the_weights_have_not_takes_no_memory(
    tiny: Run, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = json.dumps({**json.loads(tiny.recipe.to_json()), "width": width})
    tiny.folder.recipe.write_text(recipe)
    change_weights(tiny, lambda _, about: about.update(recipe=recipe))
    monkeypatch.setattr("torch.nn.Module.to_empty", lambda *_, **__: pytest.fail("memory was taken"))
    with pytest.raises(RunError, match=rf"weights\.safetensors holds the weights of another network .*{width}"):
        load_run(tiny.folder)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tiny: Run, wrong: float) -> None:
    change_weights(tiny, lambda tensors, _: tensors["fc.weight"].fill_(wrong))
    with pytest.raises(RunError, match=r"weights\.safetensors holds numbers that are not finite"):
        load_run(tiny.folder)


def test_a_network_without_an_answer_is_told_so(tiny: Run, few: Data) -> None:
    change_weights(tiny, lambda tensors, _: tensors["normalize.std"].zero_())
    tiny.folder.predictions.unlink()
    with pytest.raises(DataError, match="logits that are not finite"):
        evaluate_run(load_run(tiny.folder), few, progress=seefar.SILENT)


def test_no_class_name_of_a_run_is_obeyed_by_a_terminal(
    tiny: Run, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    Image.fromarray(load_shapes(20, 10).test.images[0]).save("x.png")
    names = [f"\x1b]0;PWN\x07\x1b[31m{number}" for number in range(10)]
    recipe = tiny.recipe.to_json().replace('"demo"', json.dumps(names[0]))
    tiny.folder.recipe.write_text(recipe)
    change_weights(tiny, lambda _, about: about.update(classes=names, recipe=recipe))
    assert load_run(tiny.folder).classes[0] == r"\x1b]0;PWN\x07\x1b[31m0"
    assert main(["predict", str(tiny.folder), "x.png", "--quiet"]) == 0
    assert main(["export", str(tiny.folder), "--to", "exported"]) == 0
    printed = capsys.readouterr()
    for text in (printed.out, printed.err, Path("exported/README.md").read_text(), repr(load_run(tiny.folder))):
        assert "\x1b" not in text
        assert "\x07" not in text
