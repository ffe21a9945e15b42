"""The command `seefar predict`, on pictures of all kinds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import seefar
from seefar.cli.main import main
from seefar.data import Data
from seefar.explanation.explanation import Explanation
from seefar.report.style import new_figure
from seefar.training.run import Run

pytestmark = pytest.mark.usefixtures("coarse")


@pytest.fixture
def odd_pictures(shapes: Data, in_folder: Path) -> Path:
    """One test image in many forms; each comes to the image itself, or nearly."""
    folder = in_folder / "odd"
    folder.mkdir()
    image = Image.fromarray(shapes.test.images[0])
    image.save(folder / "plain.png")
    image.save(folder / "PLAIN.bmp")
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: a quarter turn to the right makes it so
    image.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.png", exif=exif)
    wide = Image.new("RGB", (64, 32), (255, 0, 255))
    wide.paste(image, (16, 0))
    wide.save(folder / "wide.webp", lossless=True)
    image.quantize(256).save(folder / "moving.gif", save_all=True, append_images=[Image.new("P", (32, 32))])
    image.convert("L").save(folder / "grey.png")
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(folder / "deep.png")
    image.convert("CMYK").save(folder / "print.tif")
    return folder


def predict(run: Run, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    assert main(["predict", str(run.folder), *words, "--json", "--quiet"]) == code
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_odd_pictures_are_predicted_and_bad_ones_named_after_them(
    run: Run, odd_pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (odd_pictures / "broken.jpg").write_text("no picture")
    found = predict(run, capsys, "odd", "gone.png", code=2)
    rows = {Path(row["file"]).name: row for row in found["pictures"]}
    assert len(rows) == len({row["figure"].lower() for row in rows.values()}) == 8
    for row in rows.values():
        assert Path(row["figure"]).parent == Path("predictions/run")
        assert Path(row["figure"]).exists()
        assert sum(row["probabilities"].values()) == pytest.approx(1)
    for name in ("turned.png", "wide.webp"):  # the same pixels
        assert rows[name]["probabilities"] == rows["plain.png"]["probabilities"], name
    assert rows["grey.png"]["probabilities"] == rows["deep.png"]["probabilities"]
    assert rows["wide.webp"]["crop"] == [16, 0, 48, 32]
    assert [name for name, row in sorted(rows.items()) if row["notes"]] == ["deep.png", "moving.gif", "print.tif"]
    broken, gone = found["unreadable"]
    assert "broken.jpg" in broken
    assert "gone.png" in gone


def test_what_is_printed_of_a_picture_cannot_be_obeyed_by_a_terminal(
    run: Run, shapes: Data, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(shapes.test.images[0]).save("\x1b[31mred\n.png")
    assert main(["predict", str(run.folder), "\x1b[31mred\n.png", "--out", "here"]) == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith(r"\x1b[31mred\n.png: ")
    assert last == r"  here/\x1b[31mred\n.png"
    assert Path("here/\x1b[31mred\n.png").exists()


def test_the_grid_that_was_measured_on_the_mistakes_is_used(
    tiny: Run, odd_pictures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    grids: list[Any] = []
    monkeypatch.setattr("seefar.report.figures.plot_picture", lambda one: grids.append(one.grid) or new_figure(1, 1))
    predict(tiny, capsys, "odd/plain.png")
    assert grids == [Explanation.load(tiny.folder.maps).grid]


@pytest.mark.slow
def test_maps_are_made_as_chosen(run: Run, odd_pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    how = {"method": "hirescam", "layer": "layer2", "hide": "grey"}
    (chosen,) = predict(run, capsys, "odd/plain.png", *(f"--{name}={value}" for name, value in how.items()))["pictures"]
    assert [chosen["map"][name] for name in ("method", "layer", "cells")] == ["hirescam", "layer2", [16, 16]]
    (same,) = seefar.predict_pictures(run.model, "odd/plain.png", run.classes, progress=seefar.SILENT, **how)
    assert json.loads(json.dumps({**same.summary(), "figure": "predictions/run/plain.png"})) == chosen


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--layer", "layer9"), "layer9"),
        (("--layer", "layer4"), "6x6"),
        (("--cells", "16", "--layer", "layer2"), "cells"),
        (("--out", "a.png"), "a.png"),
    ],
)
def test_what_cannot_be_made_is_refused_before_pictures_are_read(
    run: Run,
    in_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    named: str,
) -> None:
    monkeypatch.setattr("seefar.data.pictures.read_pictures", None)
    Path("a.png").write_text("no picture")
    assert main(["predict", str(run.folder), "a.png", "--quiet", *words]) == 2
    assert named in capsys.readouterr().err
    assert not Path("predictions").exists()
