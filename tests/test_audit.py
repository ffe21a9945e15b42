"""Audits: predictions and classifiers from elsewhere, judged in a run folder without a training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Brightness
from PIL import Image

import seefar
from seefar.cli.main import main
from seefar.data import Data, Split
from seefar.errors import ChoiceError, DataError, RunError
from seefar.evaluation.audit import open_finished, prepare_audit
from seefar.evaluation.predictions import Predictions
from seefar.training.run import Run

MODEL = "from conftest import Brightness\n\ndef load():\n    return Brightness().eval()\n"
COLOURS = {"blue": (20, 30, 200), "green": (20, 200, 30), "red": (200, 30, 20)}


@pytest.fixture
def photos(in_folder: Path, coarse: None) -> Path:
    """Twelve pictures, four of each class, of which the first blue one is green."""
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        for number in range(4):
            path = in_folder / "photos" / name / f"{name[0]}{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            own = COLOURS["green"] if path.name == "b0.png" else colour
            noise = rng.integers(0, 30, (40, 60, 3)) + np.array(own)
            Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(path)
    (in_folder / "net.py").write_text(MODEL)
    return in_folder / "photos"


def write_csv(photos: Path, predicted: dict[str, str], path: str = "mine.csv") -> Path:
    """Predicted classes by file name, in an order of their own; those that are not named are right."""
    names = sorted(photos.rglob("*.png"), key=lambda file: file.name[::-1])
    lines = [f"{file.name},{predicted.get(file.name, file.parent.name)}\n" for file in names]
    Path(path).write_text("file,predicted\n" + "".join(lines))
    return Path(path)


def audit(pictures: Any, *arguments: Any, **more: Any) -> Any:
    return seefar.audit(pictures, *arguments, **{"image_size": 32, "progress": seefar.SILENT, **more})


def metrics_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("runs", name, "metrics.json").read_text())
    return found


def test_predicted_classes_alone_make_a_run_folder(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(photos, {"r1.png": "green", "b2.png": "red"})
    flags = ["--predictions", "mine.csv", "--name", "mine", "--image-size", "32", "48", "--quiet"]
    assert main(["audit", "photos", *flags]) == 0
    assert "2 mistakes" in capsys.readouterr().out
    assert json.loads(Path("runs/mine/audit.json").read_text())["image_size"] == [32, 48]
    found = metrics_of("mine")
    # scikit-learn 1.7: confusion_matrix(labels, predicted), rows blue, green, red
    assert found["test"]["confusion"] == [[3, 0, 1], [0, 4, 0], [0, 1, 3]]
    assert (found["test"]["n"], found["test"]["loss"], found["label_issues"]) == (12, None, None)
    assert "calibration" not in found
    rows = Path("runs/mine/mistakes.csv").read_text().splitlines()
    assert rows[0].startswith("index,true,predicted,confidence,true_probability,loss,file")
    assert [row.split(",")[:7] for row in rows[1:]] == [
        ["2", "blue", "red", "", "", "", "blue/b2.png"],
        ["9", "red", "green", "", "", "", "red/r1.png"],
    ]
    for command in ("report", "evaluate", "explain"):
        assert main([command, "mine", "--quiet"]) == 0
    assert seefar.verify("mine") == []
    write_csv(photos, {}, "right.csv")
    assert main(["compare", "mine", "right.csv", "--quiet", "--json"]) == 0
    (pair,) = json.loads(capsys.readouterr().out.split("\n{", 1)[-1].join(("{", "")))["pairs"]
    assert (pair["repaired"], pair["broken"]) == ([2, 9], [])


@pytest.mark.slow
def test_a_model_of_a_file_is_explained_and_its_code_is_not_loaded_again(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--model", "net.py:load", "--image-size", "32", "--layer", "normalize", "--name", "net", "--quiet"]
    assert main(["audit", "photos", *flags, "--classes", "red", "green", "blue"]) == 0
    printed = capsys.readouterr().out.split()
    assert all(str(path) in printed for path in Path("runs/net/figures").iterdir())
    assert metrics_of("net")["test"]["confusion"] == [[4, 0, 0], [0, 4, 0], [0, 1, 3]]
    rows = Path("runs/net/mistakes.csv").read_text().splitlines()
    assert rows[1].startswith("0,blue,green,")
    assert Path("runs/net/maps.npz").exists()
    Path("net.py").write_text("raise SystemExit('this must not run')")
    capsys.readouterr()
    assert main(["report", "net", "--quiet"]) == 0
    assert main(["explain", "net", "--layer", "fc", "--quiet"]) == 2
    assert "no model" in capsys.readouterr().err
    assert Path("runs/net/maps.npz").exists()
    assert seefar.verify("net") == []
    audited, _ = open_finished("net", progress=seefar.SILENT)
    assert audited.model is None
    assert audited.classes == ("red", "green", "blue")


def test_pictures_have_the_size_of_the_model_and_none_is_guessed(photos: Path) -> None:
    network, silent = Brightness().eval(), seefar.SILENT
    with pytest.raises(ChoiceError, match=r"Brightness .*--image-size"):
        prepare_audit(photos, model=network, progress=silent)
    assert prepare_audit(photos, model=seefar.adapt(network, image_size=48), progress=silent)[1].image_size == 48


@pytest.mark.slow
def test_a_model_and_predictions_that_differ_are_named(photos: Path) -> None:
    write_csv(photos, {"b0.png": "green", "r3.png": "green"})
    classes = ("red", "green", "blue")
    with pytest.warns(UserWarning, match=r"differ in 1 of 12 pictures, first in red/r3\.png"):
        result = audit(
            photos, "mine.csv", Brightness().eval(), classes=classes, layer="normalize", explain="shown", top=1
        )
    assert [mistake.index for mistake in result.evaluation.mistakes] == [0]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["photos"], "predictions or a model"),
        (["photos", "--predictions", "no.csv"], "no.csv"),
        (["photos", "--model", "no.py:load"], "no.py:load"),
        (["photos", "--model", "net.py:other"], "other"),
        (["nowhere", "--predictions", "mine.csv"], "nowhere"),
        (["photos", "--predictions", "mine.csv", "--true", "cat"], "cat"),
    ],
)
def test_mismatched_inputs_are_refused_and_nothing_is_written(
    photos: Path, words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(photos, {})
    assert main(["audit", *words, "--image-size", "32", "--quiet"]) == 2
    assert named in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_size_of_zero_is_refused_and_not_taken_as_none(photos: Path) -> None:
    write_csv(photos, {})
    with pytest.raises(DataError, match="16 to 512"):
        audit(photos, "mine.csv", image_size=0)


def test_run_folders_of_audits_and_trainings_do_not_mix(photos: Path) -> None:
    write_csv(photos, {"b1.png": "red"})
    for _ in range(2):  # the same again
        assert audit(photos, "mine.csv").run.folder.path.as_posix() == "runs/audit"
    write_csv(photos, {}, "other.csv")
    assert audit(photos, "other.csv").run.folder.path.as_posix() == "runs/audit-2"
    with pytest.raises(RunError, match=r"mine\.csv"):
        audit(photos, "other.csv", name="audit")
    write_csv(photos, {})  # the file changed: the same folder, computed again
    assert audit(photos, "mine.csv").evaluation.mistakes == []
    assert json.loads(Path("runs/audit/metrics.json").read_text())["test"]["mistakes"] == 0
    assert seefar.verify("audit") == []


def test_an_audit_that_failed_does_not_keep_its_name(photos: Path) -> None:
    broken = Brightness().eval()
    broken.fc.weight.data.fill_(float("nan"))
    with pytest.raises(DataError, match="not finite"):
        audit(photos, model=broken, name="mine", layer="normalize")
    write_csv(photos, {})
    assert audit(photos, "mine.csv", name="mine").run.folder.path.as_posix() == "runs/mine"
    assert seefar.verify("mine") == []


@pytest.mark.parametrize("content", ["{}", '{"classes": 3, "fingerprint": 1, "image_size": []}', "x"])
def test_a_damaged_audit_is_refused(in_folder: Path, content: str) -> None:
    Path("runs/audit").mkdir(parents=True)
    Path("runs/audit/audit.json").write_text(content)
    with pytest.raises(RunError, match=r"audit\.json"):
        open_finished("audit")


@pytest.mark.slow
def test_another_test_set_gets_a_folder_of_its_own(tiny: Run, few: Data, in_folder: Path) -> None:
    for number, label in enumerate(few.test.labels.tolist()):
        path = in_folder / "field" / "test" / few.classes[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(few.test.images[number]).save(path)
    before = {path: path.read_bytes() for path in tiny.folder.path.rglob("*") if path.is_file()}
    own = str(in_folder / "own")
    assert main(["evaluate", str(tiny.folder.path), "--on", "field", "--name", own, "--quiet", "--device", "cpu"]) == 0
    found = json.loads(Path(own, "metrics.json").read_text())["test"]
    assert found["confusion"] == json.loads(tiny.folder.metrics.read_text())["test"]["confusion"]  # the same pictures
    assert {path: path.read_bytes() for path in tiny.folder.path.rglob("*") if path.is_file()} == before
    flags = ["--top", "1", "--explain", "shown", "--quiet", "--device", "cpu"]
    assert main(["explain", own, *flags]) == 0  # the network of the run is found
    assert seefar.verify(Path(own)) == []


@pytest.mark.filterwarnings("ignore")  # the model is at chance
def test_near_duplicates_are_found_without_a_model(few: Data, in_folder: Path, coarse: None) -> None:
    images = few.test.images.copy()
    images[3] = few.train.images[5, :, ::-1]
    data = Data("mine", few.train, Split(images, few.test.labels, few.classes))
    found = audit(data, np.eye(10)[(few.test.labels + 1) % 10]).neighbours
    assert [(one.index, one.training, one.mirrored) for one in found.duplicates] == [(3, 5, True)]
    assert (found.of_true == -1).all()
    with pytest.raises(DataError, match="other images"):
        audit(few.test, Predictions.of(np.eye(10)[few.train.labels], few.train))
