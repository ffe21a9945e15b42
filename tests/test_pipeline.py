"""The whole job end to end: damage, kills, read-only folders, other weights, images and choices; what is refused."""

from __future__ import annotations

import csv
import json
import os
import signal
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_job import TINY, At, Lines

import seefar
from seefar.artifacts import SEEDS, read_store
from seefar.cli.printing import print_evaluation, print_result
from seefar.data import Data
from seefar.data.reference import Reference, labels_sha256
from seefar.errors import ChoiceError, DataError, Interrupted, SeefarError
from seefar.evaluation.predictions import Predictions
from seefar.pipeline import Result
from seefar.progress import SILENT
from seefar.report.content import ReportContent
from seefar.runs.store import file_entry
from seefar.training.run import Run

pytestmark = pytest.mark.usefixtures("coarse")

TRAINING = {"recipe.json", "data.json", "history.csv", "log.txt", "weights.safetensors"}
FIGURES = ("history", "mistakes", "maps", "assignment", "confusion", "reliability", "faults")
COMPUTED = {
    *("predictions.npz", "calibration.json", "metrics.json", "maps.npz", "explanation.json", "neighbours.npz"),
    *("mistakes.csv", "report.html"),
    *(f"figures/{name}.png" for name in FIGURES),
}


def content(folder: Path) -> dict[str, bytes]:
    """All files but the manifest, which has the date of nothing but what was done last."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name not in (".lock", "manifest.json")}


def explain(run: Run, data: Data, **choices: Any) -> Result:
    return seefar.explain_run(run, data, progress=SILENT, **{"top": 2, **choices})


def metrics_of(run: Run) -> Any:
    return json.loads(run.folder.metrics.read_text(encoding="utf-8"))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


DAMAGES = (Path.unlink, truncate, flip)


def test_the_job_writes_these_files_and_repeats_no_work(finished: Path, few: Data) -> None:
    assert content(finished).keys() == TRAINING | COMPUTED
    assert seefar.verify(finished) == []
    manifest = json.loads((finished / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["training"]["command"] == manifest["command"] == ["seefar.run"]
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.name != ".lock"}
    again = seefar.run(TINY, few, finished, top=2, progress=SILENT)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (again.evaluation.metrics.n, len(again.shown)) == (20, 2)
    assert len(again.explanation) == again.evaluation.metrics.mistakes == len(again.neighbours.index)
    assert repr(again).startswith("Result(Run('")


@pytest.mark.slow
def test_damaged_files_are_rebuilt_to_the_same_bytes(tiny: Run, few: Data, finished: Path) -> None:
    for number, name in enumerate(sorted(COMPUTED)):
        DAMAGES[number % 3](tiny.folder.path / name)
    assert {line.split(" is ")[0] for line in seefar.verify(tiny.folder)} == COMPUTED
    explain(tiny, few)
    assert content(tiny.folder.path) == content(finished)
    assert seefar.verify(tiny.folder) == []


@pytest.mark.slow
def test_results_of_other_weights_are_removed(tiny: Run, few: Data, finished: Path) -> None:
    with torch.no_grad():
        tiny.model.fc.weight.neg_()
    evaluation = seefar.evaluate_run(tiny, few, progress=SILENT)
    expected = seefar.predict(tiny.model, few.test, progress=SILENT)
    np.testing.assert_allclose(evaluation.predictions.logits, expected.logits, atol=1e-5)
    gone = {"figures/maps.png", "figures/assignment.png"}
    gone |= {"maps.npz", "explanation.json", "neighbours.npz", "report.html"}
    assert content(tiny.folder.path).keys() == TRAINING | COMPUTED - gone
    assert seefar.verify(tiny.folder) == []
    same = {name for name, value in content(tiny.folder.path).items() if value == content(finished)[name]}
    assert same - TRAINING <= {"figures/faults.png", "figures/history.png"}  # both can have the same counts


@pytest.mark.slow
def test_other_choices_and_back_give_the_same_bytes(
    tiny: Run, few: Data, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(**choices: Any) -> set[str]:
        before = content(tiny.folder.path)
        explain(tiny, few, **choices)
        after = content(tiny.folder.path)
        return {name for name in before if before[name] != after.get(name)}

    with monkeypatch.context() as patch:
        for name in ("explain_in_parts", "predict", "evaluate"):
            patch.setattr(f"seefar.artifacts.{name}", lambda *_, **__: pytest.fail("computed again"))
        assert changed(top=1) == {"figures/mistakes.png", "figures/maps.png", "figures/assignment.png"}
    (tiny.folder.path / "neighbours.npz").unlink()
    assert changed(hide="grey", neighbours=False, explain="shown") > {
        "maps.npz",
        "explanation.json",
        "metrics.json",
        "report.html",
    }
    assert json.loads(tiny.folder.explanation.read_text(encoding="utf-8"))["hide"] == "grey"
    assert "neighbours_true" not in tiny.folder.mistakes.read_text(encoding="utf-8").splitlines()[0]
    assert seefar.verify(tiny.folder) == ["neighbours.npz is missing"]
    explain(tiny, few)
    assert content(tiny.folder.path) == content(finished)


@pytest.mark.slow
def test_accuracy_page_and_maps_come_in_the_order_in_which_they_are_useful(
    tiny: Run, few: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    def render(content: ReportContent) -> str:
        seen.append(None if content.explanation is None else len(content.explanation))
        return "a page"

    monkeypatch.setattr("seefar.artifacts.render_report", render)
    for name in COMPUTED:
        (tiny.folder.path / name).unlink()
    options = {"top": 1, "evaluated": lambda _: seen.append("accuracy"), "progress": SILENT}
    result = seefar.explain_run(tiny, few, explain="shown", **options)
    assert (seen, result.neighbours) == (["accuracy", None, 1], None)
    rows = list(csv.DictReader(tiny.folder.mistakes.read_text(encoding="utf-8").splitlines()))
    all_mistakes = result.evaluation.metrics.mistakes
    assert (sum(row["sentence"] != "" for row in rows), len(rows)) == (1, all_mistakes)
    seen.clear()
    seefar.explain_run(tiny, few, **options)
    assert seen == ["accuracy", all_mistakes, all_mistakes]  # the last with neighbours


def test_calibration_has_a_temperature_of_held_out_images_of_the_training_only(tiny: Run, few: Data) -> None:
    plain, fitted = (metrics_of(tiny)[name] for name in ("calibration", "calibration_after_temperature"))
    assert plain["temperature"] == 1 != fitted["temperature"]
    others, lines = replace(few, train=replace(few.train, images=255 - few.train.images)), Lines()
    seefar.evaluate_run(tiny, others, progress=lines)
    assert len(lines.found) == 1
    assert "calibration_after_temperature" not in metrics_of(tiny)


def test_faults_use_human_labels_where_they_are_readable_and_one_download_is_tried(
    tiny: Run, few: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Metrics and table always follow the same rule; what people said about `few` cannot be read until `whole`."""
    unchecked, labels = np.full(len(few.test), -1), few.test.labels
    counts, sha256 = np.eye(10, dtype=np.int64)[labels] * 51, labels_sha256(labels)
    reference = Reference(counts, unchecked, unchecked, ("a",), labels[None].copy(), few.classes, sha256)
    lines, rule, tries = Lines(), {True: "human labels", False: "evidence of one run"}, list[bool]()

    def load(*_: object, fetch: bool, **__: object) -> Reference:
        tries.append(fetch)
        if whole:
            return reference
        raise DataError("cifar10_mturk.json is not the published file")

    monkeypatch.setattr("seefar.artifacts.load_reference", load)
    monkeypatch.setattr("seefar.artifacts.has_reference", lambda split: split is few.test)
    for whole in (False, True, False):
        mistakes = seefar.evaluate_run(tiny, few, data_dir=tmp_path, progress=lines).metrics.mistakes
        found = metrics_of(tiny)
        assert found["fault_rule"]["name"] == rule[whole]
        assert found["faults"]["errors"] == mistakes
        assert not whole or found["faults"]["model"] == mistakes
        rows = list(csv.DictReader(tiny.folder.mistakes.read_text(encoding="utf-8").splitlines()))
        assert {row["fault_rule"] for row in rows} == {rule[whole]}
        assert ("people" in rows[0]) == whole
        assert seefar.verify(tiny.folder) == []
    assert tries == [True, False, False]
    assert [line for line in lines.found if "cifar10_mturk.json" in line] == [lines.found[0], lines.found[-1]]


@pytest.mark.parametrize(
    ("choices", "kind", "named"),
    [
        ({"true": "whale"}, DataError, "whale"),
        ({"layer": "layer9"}, ChoiceError, "layer9"),
        ({"method": "gradcam2"}, ChoiceError, "gradcam2"),
        ({"hide": "gray"}, ChoiceError, "gray"),
        ({"order": "lost"}, ChoiceError, "lost"),
        ({"top": "ten"}, ChoiceError, "ten"),
        ({"checkpoint_minutes": -1}, SeefarError, "-1"),
        ({"precision": "float16", "device": "cpu"}, ChoiceError, "float16"),
        ({"seeds": 0}, ChoiceError, "0"),
    ],
)
def test_impossible_choices_are_refused_before_the_training(
    few: Data, tmp_path: Path, choices: dict[str, Any], kind: type[SeefarError], named: str
) -> None:
    with pytest.raises(kind, match=named):
        seefar.run(TINY, few, tmp_path / "run", progress=SILENT, **choices)
    assert not (tmp_path / "run").exists()


def test_data_of_other_classes_or_of_another_size_and_other_layers_are_refused(
    tiny: Run, few: Data, finished: Path
) -> None:
    def changed(split: seefar.Split, **values: Any) -> seefar.Split:
        return replace(split, masks=None, **values)

    names = tuple(f"new {name}" for name in few.classes)
    renamed = Data("other", *(changed(split, classes=names) for split in (few.train, few.test)))
    small = Data("small", *(changed(split, images=split.images[:, ::2, ::2]) for split in (few.train, few.test)))
    for data, named in ((renamed, "new circle"), (small, "16")):
        with pytest.raises(DataError, match=named):
            seefar.evaluate_run(tiny, data, progress=SILENT)
    with pytest.raises(ChoiceError, match="layer9"):
        explain(tiny, few, layer="layer9")
    with pytest.raises(DataError, match="nowhere"):
        seefar.run(TINY, tiny.folder.path / "nowhere", progress=SILENT)
    assert content(tiny.folder.path) == content(finished)


def test_an_unfinished_training_is_resumed_after_its_pictures_were_moved(few: Data, tmp_path: Path) -> None:
    stop, lines = At(3, lambda: os.kill(os.getpid(), signal.SIGINT)), Lines()
    with pytest.raises(Interrupted):
        seefar.train(replace(TINY, data="here"), few, tmp_path, progress=stop)
    seefar.train(replace(TINY, data="moved"), few, tmp_path, progress=lines)
    assert " 3 done" in lines.found[0]


def test_a_foreign_page_or_table_is_replaced_even_if_the_manifest_fits(tiny: Run, few: Data, finished: Path) -> None:
    """A browser runs the page and a spreadsheet the table, and whoever made a folder can have written both."""
    manifest = json.loads(tiny.folder.manifest.read_text())
    for path, text in ((tiny.folder.report, "<script>hostile()</script>"), (tiny.folder.mistakes, "index\n=hostile()")):
        path.write_text(text)
        manifest["files"][path.name].update(file_entry(path) or {})
    tiny.folder.manifest.write_text(json.dumps(manifest))
    for _ in range(2):
        before = tiny.folder.report.stat().st_mtime_ns
        seefar.report_run(tiny, few, progress=SILENT)
        assert content(tiny.folder.path) == content(finished)
    assert tiny.folder.report.stat().st_mtime_ns == before


@pytest.mark.slow
def test_runs_with_other_seeds_are_joined(tiny: Run, few: Data) -> None:
    """The first run is finished already; two further ones are trained, and their predictions are evidence."""
    folder = tiny.folder
    result = seefar.run(TINY, few, folder.path, seeds=3, top=2, progress=SILENT)
    paths = [folder.path.with_name(name) for name in ("tiny", "tiny-seed-1", "tiny-seed-2")]
    assert [seefar.load_run(path).recipe.seed for path in paths] == [0, 1, 2]
    right = [Predictions.load(path / "predictions.npz").predicted == few.test.labels for path in paths]

    metrics = metrics_of(tiny)
    assert metrics["seeds"] == pytest.approx([one.mean() for one in right])
    assert f"standard deviation {statistics.stdev(metrics['seeds']):.2%}" in "\n".join(result.analysis.lines)
    assert result.leaks is not None
    assert metrics["leaks"] == json.loads(json.dumps(result.leaks.summary))
    assert metrics["fault_rule"]["name"] == "evidence of several runs"
    with folder.mistakes.open(newline="") as file:
        rows = {int(row["index"]): row for row in csv.DictReader(file)}
    assert {row["fault_rule"] for row in rows.values()} == {"evidence of several runs"}
    missed = {index: sum(not bool(one[index]) for one in right[1:]) for index in rows}
    assert all(f"{missed[index]} of 2 other runs" in row["fault_reason"] for index, row in rows.items())
    assert seefar.verify(folder.path) == []

    seefar.report_run(seefar.load_run(folder.path), few, progress=SILENT)  # knows no other runs, and keeps them
    store = read_store(seefar.load_run(folder.path))
    assert store.peek(SEEDS).names == ("tiny-seed-1", "tiny-seed-2")
    assert metrics_of(tiny) == metrics


def dark_or_light(split: seefar.Split) -> seefar.Split:
    """The images of a split, every second so light that no network mistakes it."""
    labels = (np.arange(len(split)) % 2).astype(np.int64)
    images = split.images // 12 + np.where(labels, 220, 10).astype(np.uint8)[:, None, None, None]
    return replace(split, images=images, labels=labels, classes=("dark", "light"), masks=None)


@pytest.mark.slow
def test_a_run_without_mistakes_is_complete(few: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = replace(TINY, epochs=6, batch_size=8, learning_rate=0.03, held_out=0)
    easy = replace(few, train=dark_or_light(few.train), test=dark_or_light(few.test))
    faultless = seefar.run(plan, easy, tmp_path / "easy", progress=SILENT)
    folder = faultless.run.folder
    assert (faultless.evaluation.metrics.mistakes, len(faultless.explanation), faultless.shown) == (0, 0, [])
    assert seefar.verify(folder) == []
    assert len(folder.mistakes.read_text(encoding="utf-8").splitlines()) == 1
    repaired = json.loads(folder.explanation.read_text())["occlusion"]["repaired"]
    assert repaired == {"n": 0, "share": None, "interval": None}
    maps = folder.maps.stat().st_mtime_ns
    assert "<h2>No mistakes</h2>" in folder.report.read_text(encoding="utf-8")
    print_evaluation(faultless.evaluation)
    print_result(faultless, as_json=False)
    assert "\n0 mistakes\n" in capsys.readouterr().out
    again = seefar.explain_run(seefar.load_run(folder.path), easy, true="dark", progress=SILENT)
    assert again.explanation.rates.repaired.n == 0
    assert folder.maps.stat().st_mtime_ns == maps
    assert seefar.verify(folder) == []
