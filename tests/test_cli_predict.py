"""The command `seefar predict`, on pictures of all kinds."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import seefar
from seefar.cli import main as cli
from seefar.cli.predict import _figure_paths
from seefar.data import Data, pictures
from seefar.explanation.explain import Explanation
from seefar.training.run import Run


def call(*words: object) -> int:
    return cli.main([str(word) for word in words])


@pytest.fixture
def odd_pictures(shapes: Data, tmp_path: Path) -> Path:
    """One test image in many forms; each comes to the image itself, or nearly."""
    folder = tmp_path / "odd"
    folder.mkdir()
    image = Image.fromarray(shapes.test.images[0])
    image.save(folder / "plain.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: a quarter turn to the right makes it so
    image.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.png", exif=exif)
    wide = Image.new("RGB", (64, 32), (255, 0, 255))
    wide.paste(image, (16, 0))
    wide.save(folder / "wide.webp", lossless=True)
    image.convert("RGBA").save(folder / "opaque.tif")
    image.quantize(256).save(folder / "moving.gif", save_all=True, append_images=[Image.new("P", (32, 32))])
    image.convert("L").save(folder / "grey.png")
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(folder / "deep.png")
    image.convert("CMYK").save(folder / "print.tif")
    return folder


@pytest.mark.slow
def test_odd_pictures_are_predicted_and_bad_ones_named_after_them(
    run: Run, odd_pictures: Path, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (odd_pictures / "broken.jpg").write_text("no picture")
    assert call("predict", run.folder.path, odd_pictures, "gone.png", "--json", "--quiet") == 2
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    rows = {Path(row["file"]).name: row for row in found["pictures"]}
    assert len(rows) == 8
    for row in rows.values():
        with Image.open(row["figure"]) as figure:
            assert figure.size[0] > 1000
        assert Path(row["figure"]).parent == Path("predictions/run")
        assert sum(row["probabilities"].values()) == pytest.approx(1)
    plain = rows["plain.png"]["probabilities"]
    for name in ("turned.png", "wide.webp", "opaque.tif"):  # the same pixels
        assert rows[name]["probabilities"] == plain, name
    assert rows["grey.png"]["probabilities"] == rows["deep.png"]["probabilities"]
    assert rows["wide.webp"]["crop"] == [16, 0, 48, 32]
    assert rows["deep.png"]["notes"] == ["16 bits scaled to 8"]
    assert rows["moving.gif"]["notes"] == ["the first of 2 frames"]
    assert rows["print.tif"]["notes"] == ["CMYK made into RGB"]
    assert len(found["unreadable"]) == 2
    for words in ("2 of 10 files", "broken.jpg cannot be read", "gone.png is missing"):
        assert words in printed.err


@pytest.mark.slow
def test_words_and_figures_of_a_picture(
    run: Run, odd_pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("predict", run.folder.path, odd_pictures / "wide.webp", "--out", tmp_path / "here") == 0
    first, second, third, badge, path = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{odd_pictures}/wide.webp: ")
    assert ", then " in first
    assert second == "  64x32 pixels, the centre square, columns 16 to 47 and rows 0 to 31, resized to 32x32"
    assert third.startswith("  Hiding ")
    assert badge.startswith("  map: ")
    assert path == f"  {tmp_path}/here/wide.png"
    assert Path(path.strip()).exists()


@pytest.mark.slow
def test_a_files_name_cannot_write_to_the_terminal(
    run: Run, shapes: Data, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(shapes.test.images[0]).save("\x1b[31mred\n.png")
    assert call("predict", run.folder.path, "\x1b[31mred\n.png") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(r"\x1b[31mred\n.png: ")
    assert lines[-1] == r"  predictions/run/\x1b[31mred\n.png"
    assert "\x1b" not in "".join(lines)


@pytest.mark.slow
def test_the_grid_that_was_measured_on_the_mistakes_is_used(
    run: Run, shapes: Data, odd_pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seefar import explain_run, report

    explain_run(run, shapes, progress=None, explain="shown", top=2)
    grids = []
    monkeypatch.setattr(report.figures, "plot_picture", lambda one: grids.append(one.grid) or _figure())
    assert call("predict", run.folder.path, odd_pictures / "plain.png", "--out", tmp_path / "here", "--quiet") == 0
    assert grids == [Explanation.load(run.folder.maps).grid]


@pytest.mark.slow
def test_maps_are_made_as_asked(run: Run, odd_pictures: Path, in_folder: Path) -> None:
    words = ["predict", run.folder.path, odd_pictures / "plain.png", "--json", "--quiet"]
    how = ["--method", "hirescam", "--layer", "layer2", "--hide", "grey"]
    printed = []
    for more in ([], how):
        with contextlib.redirect_stdout(io.StringIO()) as caught:
            assert call(*words, *more) == 0
        printed.append(json.loads(caught.getvalue())["pictures"][0])
    default, chosen = printed
    assert [default["map"][name] for name in ("method", "layer", "cells")] == ["gradcam", None, [8, 8]]
    assert [chosen["map"][name] for name in ("method", "layer", "cells")] == ["hirescam", "layer2", [16, 16]]
    assert [one["hidden"]["by"] for one in printed] == ["blur", "grey"]
    assert chosen["probabilities"] == default["probabilities"]
    (same,) = seefar.predict_pictures(
        run.model,
        odd_pictures / "plain.png",
        run.classes,
        method="hirescam",
        layer="layer2",
        hide="grey",
        progress=seefar.SILENT,
    )
    assert json.loads(json.dumps({**same.summary(), "figure": "predictions/run/plain.png"})) == chosen


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--layer", "layer9"), "has no layer 'layer9'"),
        (("--layer", "layer4"), "at least 6x6 are wanted"),
        (("--cells", "7"), "7 cells cannot be had of 32-pixel images"),
        (("--cells", "16", "--layer", "layer2"), "cells"),
    ],
)
def test_maps_that_cannot_be_made_are_refused_before_pictures_are_read(
    run: Run,
    words: tuple[str, ...],
    said: str,
    in_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pictures, "read_pictures", None)
    (in_folder / "a.png").write_text("no picture")
    assert call("predict", run.folder.path, "a.png", "--quiet", *words) == 2
    assert said in capsys.readouterr().err
    assert not (in_folder / "predictions").exists()


def _figure() -> object:
    from seefar.report.style import new_figure

    return new_figure(1, 1)


def test_a_place_for_figures_that_is_none_is_refused_before_pictures_are_read(
    run: Run, in_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "read_picture", lambda *_: pytest.fail("read"))
    Path("file").write_text("")
    assert call("predict", run.folder.path, "file", "--out", "file") == 2
    assert capsys.readouterr().err == (
        "seefar: Nothing can be written into file, since file is a file: choose another folder.\n"
    )


def test_pictures_of_one_name_get_figures_of_their_own() -> None:
    names = ("a/cat.png", "b/cat.jpg", "CAT.gif", "dog.png", "a/cat-2.png")
    assert [path.name for path in _figure_paths(Path("out"), names)] == [
        "cat.png",
        "cat-2.png",
        "CAT-3.png",
        "dog.png",
        "cat-2-2.png",
    ]
