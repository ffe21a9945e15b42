"""Steps of a finished run, given again: what can be measured by now is, and what was edited or changed is not taken."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seefar
from seefar.data.reference import labels_sha256
from seefar.data.shapes import load_shapes
from seefar.errors import DataError
from seefar.progress import SILENT, Silent
from seefar.training.run import Run, load_run

TINY = seefar.recipe("demo", width=2, epochs=1, batch_size=16, held_out=10)
DATA = load_shapes(40, 30)
DAMAGED = "cifar10_mturk.json is not the published file: SHA-256 81b2 was wanted, 70a1 found"


class Lines(Silent):
    def __init__(self) -> None:
        self.found: list[str] = []

    def line(self, text: str) -> None:
        self.found.append(text)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    seefar.run(TINY, DATA, folder, precision="float32", progress=SILENT)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Run:
    shutil.copytree(finished, tmp_path / "tiny")
    return load_run(tmp_path / "tiny")


def metrics_of(run: Run) -> dict[str, Any]:
    return json.loads(run.folder.metrics.read_text(encoding="utf-8"))


def edit_metrics(run: Run, change: Any) -> None:
    values = metrics_of(run)
    change(values)
    run.folder.metrics.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """People were asked about the test images of `DATA`; what they said is damaged until `whole` is true."""
    n, state = len(DATA.test), {"whole": False}
    counts = np.eye(10, dtype=np.int64)[DATA.test.labels] * 51
    unchecked, answers = np.full(n, -1), DATA.test.labels[None].copy()
    reference = seefar.Reference(
        counts, unchecked, unchecked, ("a",), answers, DATA.classes, labels_sha256(DATA.test.labels)
    )

    def load(*_: object, **__: object) -> seefar.Reference:
        if state["whole"]:
            return reference
        raise DataError(DAMAGED)

    monkeypatch.setattr("seefar.evaluation.evaluate.load_reference", load)
    for module in ("evaluation.evaluate", "findings"):
        monkeypatch.setattr(f"seefar.{module}.has_reference", lambda split: split is DATA.test)
    return state


@pytest.mark.parametrize("step", ["evaluate", "explain"])
def test_faults_are_measured_as_soon_as_the_reference_data_are_there(
    run: Run, asked: dict[str, bool], step: str
) -> None:
    again = {"evaluate": seefar.evaluate_run, "explain": seefar.explain_run}[step]
    again(run, DATA, progress=SILENT)
    assert metrics_of(run)["faults"] is None
    asked["whole"] = True
    again(run, DATA, progress=SILENT)
    faults = metrics_of(run)["faults"]
    assert faults["model"] == faults["errors"] == metrics_of(run)["test"]["mistakes"]
    assert run.folder.figure("faults").exists()
    header = run.folder.mistakes.read_text(encoding="utf-8").splitlines()[0].split(",")
    assert {"fault", "people", "outcome", "neighbours_true"} <= set(header)
    assert seefar.verify(run.folder) == []
    asked["whole"] = False  # what was measured is not lost again
    again(run, DATA, progress=SILENT)
    assert metrics_of(run)["faults"] == faults


@pytest.mark.parametrize("there", [True, False])
def test_damaged_reference_data_are_said_and_left_out(run: Run, asked: dict[str, bool], there: bool) -> None:
    lines = Lines()
    if not there:
        run.folder.metrics.unlink()
    seefar.evaluate_run(run, DATA, progress=lines)
    assert lines.found == [f"faults are left out: {DAMAGED}"]
    assert metrics_of(run)["faults"] is None
    assert run.folder.manifest.exists()
    seefar.report_run(run, DATA, progress=lines)
    assert len(lines.found) == 2
    edit_metrics(run, lambda values: values.update(faults={"errors": 3}))  # as if they had been whole before
    seefar.report_run(run, DATA, progress=lines)
    assert lines.found[2:] == [f"the page does not say whose fault the mistakes are: {DAMAGED}"]


def test_an_edited_calibration_is_measured_again(run: Run) -> None:
    whole = metrics_of(run)
    for name in ("calibration", "calibration_after_temperature"):
        edit_metrics(run, lambda values, name=name: values[name]["ece"].update(value=0.5))
        found = seefar.explain_run(run, DATA, progress=SILENT).findings
        assert found.calibration.ece.value == whole["calibration"]["ece"]["value"]
        assert metrics_of(run) == whole  # and put right
        assert seefar.verify(run.folder) == []


def test_no_temperature_is_fitted_on_other_training_images(run: Run) -> None:
    changed = replace(DATA, train=replace(DATA.train, images=255 - DATA.train.images))
    few = replace(DATA, train=DATA.train.take(slice(0, 10)))  # as many as were held out
    whole = metrics_of(run)
    for data in (changed, few):
        lines = Lines()
        run.folder.metrics.unlink()
        seefar.evaluate_run(run, data, progress=lines)
        assert [line for line in lines.found if "temperature" in line] == [
            "no temperature is fitted, since the training images are others than when the run was begun: put them back "
            "as they were and evaluate again"
        ]
        assert "calibration_after_temperature" not in metrics_of(run)
        assert metrics_of(run)["calibration"] == whole["calibration"]
    seefar.explain_run(run, DATA, progress=SILENT)  # they are back
    assert metrics_of(run) == whole


def test_a_deleted_table_is_written_with_the_columns_of_the_maps(run: Run, finished: Path) -> None:
    run.folder.mistakes.unlink()
    seefar.evaluate_run(run, DATA, progress=SILENT)
    assert run.folder.mistakes.read_bytes() == (finished / "mistakes.csv").read_bytes()
    assert seefar.verify(run.folder) == []


def test_explain_puts_right_what_it_writes_and_verify_names_the_rest(run: Run) -> None:
    """As the table in docs/failures.md says."""
    folder = run.folder
    mended = (folder.metrics, folder.mistakes, folder.explanation, folder.figure("mistakes"), folder.figure("maps"))
    named = (folder.figure("confusion"), folder.log)
    for path in (*mended, *named):
        path.write_bytes(path.read_bytes() + b"\n")
    seefar.report_run(run, DATA, progress=SILENT)
    assert len(seefar.verify(folder)) == len(mended) + len(named)
    seefar.explain_run(run, DATA, progress=SILENT)
    assert sorted(seefar.verify(folder)) == ["figures/confusion.png is changed", "log.txt is changed"]
