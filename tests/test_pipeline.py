"""The main job and its steps: what is written when, what is read back, what is refused before anything is done."""

from __future__ import annotations

import csv
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import seefar
from seefar import steps
from seefar.data.shapes import load_shapes
from seefar.errors import ChoiceError, DataError, DeviceError, MapError, RunError, SeefarError
from seefar.inputs import load_for
from seefar.progress import Silent
from seefar.training.run import Run, load_run

TINY = seefar.recipe("demo", width=2, epochs=1, batch_size=16)
DATA = load_shapes(40, 30)


def job(folder: Path, **choices: Any) -> seefar.Result:
    return seefar.run(TINY, DATA, folder, precision="float32", progress=seefar.SILENT, **choices)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole job: 30 test images, most of them mistakes."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    job(folder)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Run:
    """The finished job in a folder that a test may change."""
    shutil.copytree(finished, tmp_path / "tiny")
    return load_run(tmp_path / "tiny")


def times(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_job_from_python_is_sealed_and_read_back(finished: Path) -> None:
    assert seefar.verify(finished) == []
    weights = times(finished)["weights.safetensors"]
    again = job(finished, top=3)
    assert times(finished)["weights.safetensors"] == weights
    assert len(again.shown) == 3
    assert repr(again).startswith("Result(Run('")
    assert seefar.verify(finished) == []


def test_the_manifest_names_the_precision_of_the_training(finished: Path) -> None:
    for _ in range(2):  # of the job, and of a later step
        manifest = json.loads((finished / "manifest.json").read_text(encoding="utf-8"))
        (sitting,) = manifest["training"]
        assert sitting == {"device": f"cpu ({torch.get_num_threads()} threads)", "precision": "float32"}
        seefar.report_run(load_run(finished), DATA, progress=seefar.SILENT)


def test_the_accuracy_and_two_figures_are_there_before_the_explanation(tmp_path: Path) -> None:
    seen = []

    def look(evaluation: seefar.Evaluation) -> None:
        names = ("history.png", "mistakes.png", "maps.png")
        seen.append((evaluation.metrics.n, [(tmp_path / "run" / "figures" / name).exists() for name in names]))

    job(tmp_path / "run", evaluated=look)
    assert seen == [(30, [True, True, False])]


def test_evaluating_again_writes_nothing(run: Run) -> None:
    before = times(run.folder.path)
    steps.evaluate_run(run, DATA, progress=seefar.SILENT)
    assert times(run.folder.path) == before


@pytest.mark.parametrize("what", ["weights", "images"])
def test_predictions_of_other_weights_or_images_are_not_taken_for_new_ones(run: Run, what: str) -> None:
    data = DATA
    before = steps.evaluate_run(run, data, progress=seefar.SILENT)
    if what == "weights":
        with torch.no_grad():
            run.model.fc.weight.neg_()
    else:
        data = replace(DATA, test=replace(DATA.test, images=255 - DATA.test.images))  # the labels stay
    after = steps.evaluate_run(run, data, progress=seefar.SILENT)
    assert not np.allclose(before.predictions.logits, after.predictions.logits)
    np.testing.assert_allclose(
        after.predictions.logits, seefar.predict(run.model, data.test, progress=seefar.SILENT).logits, atol=1e-5
    )
    folder = run.folder
    assert not [path for path in (folder.maps, folder.explanation, folder.figure("maps")) if path.exists()]
    assert len(folder.mistakes.read_text().splitlines()) == 1 + len(after.mistakes)
    assert seefar.verify(folder) == []


def test_what_was_deleted_is_made_again_from_what_is_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "evaluate", lambda *_args, **_more: pytest.fail("the network was run again"))
    run.folder.metrics.unlink()
    run.folder.figure("history").unlink()
    steps.evaluate_run(run, DATA, progress=seefar.SILENT)
    assert run.folder.metrics.exists()
    assert run.folder.figure("history").exists()


@pytest.mark.parametrize(
    ("choices", "kind", "message"),
    [
        ({"true": "whale"}, DataError, "whale"),
        ({"predicted": "whale"}, DataError, "whale"),
        ({"true": "circle", "predicted": "circle"}, DataError, "no mistakes: choose two different classes"),
        ({"layer": "layer9"}, MapError, "layer9"),
        ({"cells": 7}, MapError, "7"),
        ({"method": "eigencam"}, MapError, "eigencam"),
        ({"hide": "gray"}, MapError, "gray"),
        ({"top": 0}, ChoiceError, "top is 0"),
        ({"top": 101}, ChoiceError, "1 to 100"),
        ({"explain": "some"}, ChoiceError, "explain is 'some'"),
    ],
)
def test_choices_that_cannot_be_met_are_refused_before_the_training(
    tmp_path: Path, choices: dict[str, Any], kind: type[SeefarError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        job(tmp_path / "run", **choices)
    assert not (tmp_path / "run").exists()


def test_a_network_that_memory_cannot_hold_is_refused_in_one_paragraph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_wide(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 360000000000 bytes.")

    monkeypatch.setattr("seefar.pipeline.train", too_wide)
    with pytest.raises(DeviceError, match="choose a smaller batch size or width"):
        job(tmp_path / "run")


def test_a_folder_of_another_recipe_is_refused_and_left_as_it_is(run: Run) -> None:
    before = times(run.folder.path)
    with pytest.raises(RunError, match="epochs 2, not 1"):
        seefar.run(replace(TINY, epochs=2), DATA, run.folder.path, progress=seefar.SILENT)
    assert times(run.folder.path) == before


def test_a_finished_run_in_a_read_only_folder_is_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = times(run.folder.path)
    monkeypatch.setattr(os, "access", lambda *_: False)  # permissions do not hold for root
    result = seefar.explain_run(run, DATA, top=2, progress=seefar.SILENT)
    assert len(result.shown) == 2
    assert times(run.folder.path) == before


@pytest.mark.parametrize(
    "name", ["predictions.npz", "metrics.json", "mistakes.csv", "figures/history.png", "maps.npz", "neighbours.npz"]
)
def test_a_run_that_lacks_a_file_in_a_read_only_folder_is_shown_too(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    wanted = job(run.folder.path, top=2)
    (run.folder.path / name).write_bytes(b"damaged")
    if name not in ("predictions.npz", "maps.npz", "neighbours.npz"):
        (run.folder.path / name).unlink()
    before, lines = times(run.folder.path), Lines()
    monkeypatch.setattr(os, "access", lambda *_: False)  # permissions do not hold for root
    monkeypatch.setattr("seefar.runs.folder.locked", lambda _: pytest.fail("written to"))
    result = seefar.explain_run(run, DATA, top=2, progress=lines)
    assert result.evaluation.metrics == wanted.evaluation.metrics
    assert result.explanation.summary() == wanted.explanation.summary()
    told = f"{run.folder} cannot be written to, so these are not written: {name}"
    assert [line for line in lines.found if "cannot be written" in line] == [told]
    assert seefar.evaluate_run(run, DATA, progress=seefar.SILENT).metrics == wanted.evaluation.metrics
    assert times(run.folder.path) == before


def test_a_report_in_a_read_only_folder_is_the_one_that_is_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = seefar.report_run(run, DATA, progress=seefar.SILENT)
    before = times(run.folder.path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert seefar.report_run(run, DATA, progress=seefar.SILENT) == page
    assert times(run.folder.path) == before


def test_other_classes_are_refused(run: Run) -> None:
    other = replace(DATA, train=_renamed(DATA.train), test=_renamed(DATA.test))
    with pytest.raises(DataError, match="was trained on this data"):
        steps.evaluate_run(run, other, progress=seefar.SILENT)


def _renamed(split: seefar.Split) -> seefar.Split:
    return replace(split, classes=tuple(f"new {name}" for name in split.classes))


def test_a_data_folder_that_is_not_there_is_no_place_to_download_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"folder .*nowhere does not exist"):
        load_for(seefar.recipe("quick"), tmp_path / "nowhere")
    monkeypatch.setenv("SEEFAR_DATA", str(tmp_path / "mistyped"))
    with pytest.raises(DataError, match=r"folder .*mistyped, which SEEFAR_DATA names, does not exist"):
        load_for(seefar.recipe("quick"))
    assert not list(tmp_path.iterdir())


def test_an_image_size_that_would_do_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="image_size is 64, but shapes has images of 32 pixels"):
        load_for(seefar.recipe("demo", image_size=64))


def test_an_explanation_that_was_broken_off_goes_on_and_ends_the_same(
    run: Run, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = seefar.Explanation.load(finished / "maps.npz")
    run.folder.maps.unlink()
    explain, asked = steps.explain, []

    def broken_off(*arguments: Any, **more: Any) -> seefar.Explanation:
        asked.append(len(arguments[3]))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return explain(*arguments, **more)

    monkeypatch.setattr(steps, "PART", 10)
    monkeypatch.setattr(steps, "explain", broken_off)
    with pytest.raises(KeyboardInterrupt):
        seefar.explain_run(run, DATA, top=5, order="confidence", progress=seefar.SILENT)
    assert asked == [5, 10, 10]
    assert run.folder.figure("maps").exists()  # of the five
    saved = seefar.Explanation.load(run.folder.maps)
    assert 10 <= len(saved.mistakes) <= 15
    assert "manifest.json is missing" in seefar.verify(run.folder)[0]
    result = seefar.explain_run(run, DATA, top=5, order="confidence", progress=seefar.SILENT)
    np.testing.assert_array_equal(result.explanation.contrast, whole.contrast)
    assert result.explanation.rates == whole.rates
    assert (run.folder.mistakes.read_bytes()) == (finished / "mistakes.csv").read_bytes()
    assert seefar.verify(run.folder) == []


def test_what_is_explained_is_not_explained_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seefar.explanation.explainer.check_health", lambda *_, **__: pytest.fail("computed again"))
    before = times(run.folder.path)["maps.npz"]
    seefar.explain_run(run, DATA, top=3, order="index", progress=seefar.SILENT)
    assert times(run.folder.path)["maps.npz"] == before


def test_other_choices_draw_other_figures_and_leave_table_and_page_as_they_are(run: Run) -> None:
    seefar.explain_run(run, DATA, progress=seefar.SILENT)
    before = times(run.folder.path)
    seefar.explain_run(run, DATA, top=3, order="index", progress=seefar.SILENT)
    after = times(run.folder.path)
    assert {name for name in before if before[name] != after[name]} == {
        "figures/mistakes.png",
        "figures/maps.png",
        "manifest.json",
    }
    assert seefar.verify(run.folder) == []


def test_what_is_new_is_in_table_and_page(run: Run) -> None:
    """Nothing of the page may be of another method, of other predictions, or without neighbours that are there."""
    folder = run.folder

    def renewed(**choices: Any) -> set[str]:
        """Which of the page and the two files beside it are written anew."""
        before = {path.name: path.read_bytes() for path in (folder.explanation, folder.mistakes, folder.report)}
        seefar.explain_run(run, DATA, progress=seefar.SILENT, **choices)
        return {name for name, content in before.items() if (folder.path / name).read_bytes() != content}

    assert renewed() == set()
    assert renewed(hide="grey") == {"explanation.json", "mistakes.csv", "report.html"}
    assert renewed(hide="blur") == {"explanation.json", "mistakes.csv", "report.html"}
    folder.neighbours.unlink()
    assert renewed(neighbours=False) == {"mistakes.csv", "report.html"}
    assert renewed() == {"mistakes.csv", "report.html"}
    with torch.no_grad():
        run.model.fc.weight.neg_()
    assert renewed() == {"explanation.json", "mistakes.csv", "report.html"}


@pytest.mark.parametrize("last", ["explanation.json", "mistakes.csv"])
def test_a_page_that_a_kill_kept_from_being_written_is_made_later(
    run: Run, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    """Killed behind the last file that was written, the old page must not be taken for the new one."""
    first, after = run.folder.report.read_bytes(), "write_mistakes" if last == "explanation.json" else "make_report"

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"seefar.result.{after}", killed)
        with pytest.raises(KeyboardInterrupt):
            seefar.explain_run(run, DATA, hide="grey", progress=seefar.SILENT)
    assert run.folder.report.read_bytes() == first
    seefar.explain_run(run, DATA, hide="grey", progress=seefar.SILENT)
    assert '"hide":"grey"' in run.folder.report.read_text(encoding="utf-8")
    assert '"hide": "grey"' in run.folder.explanation.read_text()


def test_a_table_that_was_deleted_has_the_columns_of_the_explanation_again(run: Run, finished: Path) -> None:
    run.folder.mistakes.unlink()
    seefar.explain_run(run, DATA, progress=seefar.SILENT)
    assert run.folder.mistakes.read_bytes() == (finished / "mistakes.csv").read_bytes()


def test_only_the_shown_mistakes_are_explained_if_that_is_asked_for(run: Run) -> None:
    run.folder.maps.unlink()
    result = seefar.explain_run(run, DATA, top=4, explain="shown", progress=seefar.SILENT)
    assert [len(result.explanation), len(result.shown)] == [4, 4]
    rows = list(csv.DictReader(run.folder.mistakes.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == len(result.evaluation.mistakes)
    assert sum(row["sentence"] != "" for row in rows) == 4


def test_other_settings_are_explained_anew(run: Run) -> None:
    assert seefar.explain_run(run, DATA, hide="grey", progress=seefar.SILENT).explanation.hide == "grey"
    assert '"hide": "grey"' in run.folder.explanation.read_text()


def test_a_job_without_a_name_says_when_it_takes_another_folder(in_folder: Path) -> None:
    lines = []

    class Lines:
        def line(self, text: str) -> None:
            lines.append(text)

        def update(self, *_: object) -> None:
            pass

    (in_folder / "runs" / "demo").mkdir(parents=True)
    (in_folder / "runs" / "demo" / "recipe.json").write_text(replace(TINY, seed=9).to_json())
    result = seefar.run(TINY, DATA, explain="shown", top=1, progress=Lines())
    assert lines[0].endswith(f"this goes into {Path('runs') / 'demo-2'}")
    assert result.run.folder.path == Path("runs") / "demo-2"


def test_what_is_found_of_the_mistakes_is_in_the_folder(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["calibration"]["accuracy"] == pytest.approx(metrics["test"]["accuracy"])
    assert metrics["faults"] is None  # nobody was asked about shapes
    rows = list(csv.DictReader((finished / "mistakes.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == metrics["test"]["mistakes"]
    for row in rows:
        of_true = [int(index) for index in row["neighbours_true"].split()]
        assert of_true
        assert {DATA.classes[DATA.train.labels[index]] for index in of_true} == {row["true"]}
        assert row["outcome"] in ("repaired", "other", "stays")
    for name in ("history", "mistakes", "maps", "confusion", "reliability"):
        assert (finished / "figures" / f"{name}.png").stat().st_size > 5_000


def test_neighbours_are_left_out_if_they_are_not_wanted(tmp_path: Path) -> None:
    result = job(tmp_path / "run", neighbours=False)
    assert result.neighbours is None
    assert "neighbours_true" not in (tmp_path / "run" / "mistakes.csv").read_text(encoding="utf-8").splitlines()[0]


def test_a_temperature_is_fitted_on_held_out_images_only(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    seefar.run(replace(TINY, held_out=10), DATA, folder, progress=seefar.SILENT, neighbours=False)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["calibration"]["temperature"] == 1
    assert metrics["calibration_after_temperature"]["temperature"] != 1
    assert metrics["calibration_after_temperature"]["accuracy"] == metrics["calibration"]["accuracy"]


@pytest.mark.parametrize("name", ["history", "mistakes", "maps", "confusion", "reliability"])
def test_a_figure_that_was_taken_away_is_drawn_again(finished: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    figure = folder / "figures" / f"{name}.png"
    figure.unlink()
    seefar.explain_run(seefar.load_run(folder), DATA, progress=seefar.SILENT)
    assert figure.stat().st_size > 5_000
    assert seefar.verify(folder) == []


def test_a_page_made_anew_says_what_it_lacks(finished: Path, tmp_path: Path) -> None:
    folder, lines = tmp_path / "run", Lines()
    shutil.copytree(finished, folder)
    run = seefar.load_run(folder)
    seefar.report_run(run, DATA, progress=lines)
    assert lines.found == []
    (folder / "maps.npz").write_bytes((folder / "maps.npz").read_bytes()[:1000])
    (folder / "neighbours.npz").write_bytes(b"")
    seefar.report_run(run, DATA, progress=lines)
    again = f"`seefar explain {folder}` makes it anew"
    assert lines.found == [
        f"the page has no maps, since {folder}/maps.npz cannot be used: {again}",
        f"the page has no neighbours, since {folder}/neighbours.npz cannot be used: {again}",
    ]


def test_predictions_that_were_damaged_take_nothing_with_them(finished: Path, tmp_path: Path) -> None:
    """The maps are of the same weights and images, and hours of work."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    maps = (folder / "maps.npz").read_bytes()
    (folder / "predictions.npz").write_bytes((folder / "predictions.npz").read_bytes()[:500])
    evaluate = seefar.evaluate_run(seefar.load_run(folder), DATA, progress=seefar.SILENT)
    assert evaluate.metrics.n == 30
    assert (folder / "maps.npz").read_bytes() == maps
    assert (folder / "neighbours.npz").exists()
    assert seefar.verify(folder) == []


class Lines(Silent):
    def __init__(self) -> None:
        self.found: list[str] = []

    def line(self, text: str) -> None:
        self.found.append(text)


def test_calibrations_are_read_back_and_the_network_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, quiet = tmp_path / "run", {"neighbours": False, "progress": seefar.SILENT}
    first = seefar.run(replace(TINY, held_out=10), DATA, folder, **quiet)
    run, metrics = seefar.load_run(folder), folder / "metrics.json"
    whole = metrics.read_text(encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr("seefar.findings.predict", lambda *_, **__: pytest.fail("the network was asked"))
        patch.setattr("seefar.report.write.measure_calibration", lambda *_: pytest.fail("measured again"))
        found = seefar.explain_run(run, DATA, **quiet).findings
        assert (found.calibration, found.after) == (first.findings.calibration, first.findings.after)
        assert f"temperature of {found.after.temperature:.2f}" in (folder / "report.html").read_text(encoding="utf-8")
        seefar.report_run(run, DATA, progress=seefar.SILENT)
    others = json.loads(whole)
    others["calibration"]["accuracy"] = 0.123
    others["test"]["loss"] += 1e-9
    for text in (json.dumps(others), "", "[" * 100_000, whole.replace('"temperature": ', '"temperature": "1", "n": ')):
        metrics.write_text(text, encoding="utf-8")  # of other predictions, or damaged
        found = seefar.explain_run(run, DATA, **quiet).findings
        assert (found.calibration, found.after) == (first.findings.calibration, first.findings.after)
