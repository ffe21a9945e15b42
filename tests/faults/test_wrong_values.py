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
from seefar.cli.main import main
from seefar.data import Data
from seefar.data.shapes import load_shapes
from seefar.errors import DataError, RunError
from seefar.evaluation.compared_runs import predicted_classes
from seefar.evaluation.metrics import Metrics
from seefar.runs.arrays import save_arrays
from seefar.runs.folder import RunFolder
from seefar.runs.tensors import load_tensors, save_tensors
from seefar.steps import evaluate_run, explain_run, report_run
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


def rows(count: int) -> Callable[[Arrays], Arrays]:
    return lambda found: {name: np.resize(found[name], (count, *found[name].shape[1:])) for name in PER_IMAGE}


PER_IMAGE = ("logits", "features", "labels")
PREDICTIONS: dict[str, Callable[[Arrays], Arrays]] = {
    "no rows": rows(0),
    "five rows": rows(5),
    "two thousand rows": rows(2000),
    "other labels": lambda found: {"labels": (found["labels"] + 1) % 10},
    "other answers": lambda found: {"logits": found["logits"][::-1]},
    "another logit": lambda found: {"logits": found["logits"] + np.eye(20, 10, dtype=np.float32)},
    "huge features": lambda found: {"features": np.full_like(found["features"], 3e38)},
    "other features": lambda found: {"features": found["features"][:, :3]},
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
    change_arrays(tiny.folder.predictions, rows(0))
    with pytest.raises(RunError, match=r"predictions\.npz holds predictions for no image"):
        predicted_classes(tiny.folder, few.test)


@pytest.mark.parametrize("count", ["1e999", "NaN", '"3"', "null", "1" + "0" * 400, "[" * 200_000])
def test_a_number_of_mistakes_that_is_none_is_refused(tiny: Run, few: Data, count: str) -> None:
    tiny.folder.predictions.unlink()
    tiny.folder.metrics.write_text(f'{{"test": {{"mistakes": {count}}}}}')
    with pytest.raises(RunError, match=r"mistakes\.csv"):
        predicted_classes(tiny.folder, few.test)


@pytest.mark.parametrize(("field", "value"), [("accuracy", "high"), ("accuracy", 7), ("n", 0.5), ("loss", [1])])
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
    with pytest.raises(RunError, match=r"weights\.safetensors does not say what it was trained as: .*classes should"):
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
