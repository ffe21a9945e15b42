from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seefar.data import load_data
from seefar.errors import DataError


def picture(path: Path, colour: tuple[int, ...], size: tuple[int, int] = (40, 30), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour if len(colour) > 1 else colour[0]).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part in ("train", "test"):
        picture(tmp_path / part / "red" / "a.png", (255, 0, 0))
        picture(tmp_path / part / "blue" / "b.PNG", (0, 0, 255))
    picture(tmp_path / "train" / "red" / "c.png", (200, 0, 0))
    (tmp_path / "train" / "red" / "notes.txt").write_text("not a picture")
    return tmp_path


def test_classes_are_the_folder_names_in_order(folder: Path) -> None:
    data = load_data(str(folder), image_size=24)
    assert data.classes == ("blue", "red")
    assert data.train.labels.tolist() == [0, 1, 1]
    assert data.test.labels.tolist() == [0, 1]
    assert data.train.images.shape == (3, 24, 24, 3)
    np.testing.assert_array_equal(data.train.images[0], np.broadcast_to([0, 0, 255], (24, 24, 3)))


def test_grey_and_transparent_pictures_become_rgb(folder: Path) -> None:
    picture(folder / "train" / "blue" / "grey.png", (90,), mode="L")
    picture(folder / "train" / "blue" / "glass.png", (0, 0, 255, 128), mode="RGBA")
    images = load_data(str(folder)).train.images
    assert images[2, 0, 0].tolist() == [90, 90, 90]  # b.PNG, glass.png, grey.png
    assert images[1, 0, 0].tolist() == [0, 0, 255]


def test_a_picture_lies_as_its_camera_meant_it(folder: Path) -> None:
    lying = Image.new("RGB", (32, 32), (0, 0, 0))
    lying.paste((255, 255, 255), (0, 0, 32, 16))  # its upper half is white
    exif = Image.Exif()
    exif[0x0112] = 3  # turned upside down
    lying.save(folder / "test" / "red" / "z.jpg", exif=exif, quality=95)
    upright = load_data(str(folder)).test.images[-1]
    assert upright[:14].max() < 20
    assert upright[18:].min() > 235


def test_a_broken_picture_is_named(folder: Path) -> None:
    (folder / "train" / "red" / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    with pytest.raises(DataError, match=r"broken\.jpg cannot be read as a picture"):
        load_data(str(folder))


def test_a_class_that_is_only_tested_is_named(folder: Path) -> None:
    picture(folder / "test" / "green" / "a.png", (0, 255, 0))
    with pytest.raises(DataError, match="they differ in green"):
        load_data(str(folder))
    (folder / "train" / "green").mkdir()
    with pytest.raises(DataError, match="green holds no"):
        load_data(str(folder))


@pytest.mark.parametrize("size", [15, 97])
def test_sizes_the_network_is_not_made_for_are_refused(folder: Path, size: int) -> None:
    with pytest.raises(DataError, match="--image-size of 16 to 96"):
        load_data(str(folder), image_size=size)


def test_an_empty_class_is_named(folder: Path) -> None:
    for part in ("train", "test"):
        (folder / part / "yellow").mkdir()
    with pytest.raises(DataError, match="yellow holds no"):
        load_data(str(folder))


def test_a_folder_without_the_two_parts_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train should hold one folder of images for each class"):
        load_data(str(tmp_path))


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(DataError, match=r"no data set 'cifar11'.*cifar10, shapes"):
        load_data("cifar11")
