"""Folders of pictures and tables of paths, the cache of decoded images, and data sets of torch and Hugging Face."""

from __future__ import annotations

import os
import shutil
import sys
import time
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_job import Lines

from seefar.data import folder as module
from seefar.data import load_data
from seefar.data.folder import load_folder, load_split
from seefar.data.images import Data, Split, correct_labels
from seefar.errors import DataError
from seefar.progress import SILENT

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "\u00e5l") for form in ("NFC", "NFD"))


def picture(path: Path, colour: tuple[int, int, int] = (1, 2, 3)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), colour).save(path)


def load(folder: Path, *size_and_fit: Any, **options: Any) -> Data:
    return load_folder(folder, *size_and_fit, progress=SILENT, **options)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SEEFAR_CACHE", str(folder))
    return folder / "pictures"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part in ("train", "test"):
        picture(tmp_path / part / "red" / "a.png", (255, 0, 0))
        picture(tmp_path / part / "blue" / "b.PNG", (0, 0, 255))
    picture(tmp_path / "train" / "red" / "c.bmp", (200, 0, 0))
    (tmp_path / "train" / "red" / "notes.txt").write_text("not a picture")
    return tmp_path


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Class folders without train/ and test/: 10 red and 5 blue pictures."""
    for number in range(10):
        picture(tmp_path / "flat" / "red" / f"{number}.png", (200 + number, 0, 0))
    for number in range(5):
        picture(tmp_path / "flat" / "blue" / f"{number}.png", (0, 0, 200 + number))
    return tmp_path / "flat"


def test_folders_within_a_class_are_read_and_the_rest_is_counted(folder: Path) -> None:
    picture(folder / "train" / "blue" / "deep" / "er" / "g.jpg", (0, 0, 255))
    picture(folder / "train" / "no_class.png")
    for name in ("train/blue/h.heic", "train/red/readme", "train/list.csv", "train/red/.hidden.png"):
        (folder / name).write_bytes(b"")
    (folder / "train" / "red" / "loop.png").symlink_to("loop.png")
    (folder / "train" / "green").symlink_to(folder / "test" / "red")  # no class: it may lead anywhere
    shown = Lines()
    data = load_data(str(folder), progress=shown)
    assert data.train.files is not None
    assert [name for name in data.train.files if "blue" in name] == ["train/blue/b.PNG", "train/blue/deep/er/g.jpg"]
    assert shown.found == [f"{folder}: {note}" for note in data.notes]
    reasons = "1 .csv, 1 .heic, 1 .txt, 1 broken links or not regular files, 1 links to folders"
    assert data.notes[0] == f"skipped: {reasons}, 1 outside the class folders, 1 without an ending"
    assert "25% of their pixels are cut off (at most 25%" in data.notes[1]  # 30 of 40 columns stay


def tree(root: Path, folders: list[str]) -> Path:
    """Five pictures in each folder."""
    for place in folders:
        for number in range(5):
            picture(root / place / f"{number}.png", (number, 0, 0))
    return root


@pytest.mark.parametrize(
    ("folders", "classes", "train", "test", "note"),
    [
        (["Training_set/a", "Training_set/b", "test_set/a", "test_set/b"], ("a", "b"), 10, 10, ""),
        (["s_train/s_train/a", "s_train/s_train/b", "s_test/a", "s_test/b"], ("a", "b"), 10, 10, ""),
        (["train1/a", "train1/b", "validImages/a", "validImages/b"], ("a", "b"), 10, 10, "validImages/ holds the test"),
        (["train/a", "train/b", "test/a", "test/b", "val/a", "x"], ("a", "b"), 10, 10, "the parts: val, x"),
        (["train/a", "train/b"], ("a", "b"), 8, 2, "there is no test/: 2 of 10"),
        (["a/images", "b/images", "steam train/images"], ("a", "b", "steam train"), 12, 3, ""),
        (["a/2023", "a/2024", "b/2024", ".hidden"], ("a", "b"), 12, 3, ""),
        (["a", "b", "train"], ("a", "b", "train"), 12, 3, ""),
        (["a/@eaDir/1.png", "a", "b", "#snapshot", "$Recycle.Bin/b"], ("a", "b"), 8, 2, "3 folders of other"),
        ([f"train/{COMPOSED}", "train/b", f"test/{DECOMPOSED}", "test/b"], ("b", COMPOSED), 10, 10, ""),
        ([COMPOSED, DECOMPOSED, "b"], ("b", COMPOSED), 12, 3, ""),
    ],
)
def test_folders_of_parts_and_classes(
    folders: list[str], classes: tuple[str, ...], train: int, test: int, note: str, tmp_path: Path
) -> None:
    tree(tmp_path, folders)
    (tmp_path / "loop").symlink_to("loop")
    data = load(tmp_path)
    assert (data.classes, len(data.train), len(data.test)) == (classes, train, test)
    assert any(note in line for line in data.notes)


@pytest.mark.parametrize(
    ("folders", "named"),
    [
        (["fold1/a", "fold1/b", "fold2/a", "fold2/b", "fold3/a", "fold3/b"], "unclear"),
        (["train", "test1"], "two classes.*got none"),  # of a competition: no class folders
        (["train1/a", "train1/b", "train2/a", "train2/b"], "unclear"),
        (["toy_train/wood", "toy_train/metal", "bus", "car"], "unclear"),
        (["train/a", "train/b", "test/a", "test/b", "test/green"], "differ in green"),
        (["test/a", "test/b"], "holds test/ but no train/"),
        (["a"], "two classes.*got a"),
    ],
)
def test_folders_of_no_clear_classes_are_refused(folders: list[str], named: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=named):
        load(tree(tmp_path, folders))


def test_a_class_of_no_or_one_picture_is_named(flat: Path) -> None:
    (flat / "green").mkdir()
    with pytest.raises(DataError, match=r"green in .* holds no picture"):
        load(flat)
    picture(flat / "green" / "a.png")
    with pytest.raises(DataError, match="green has one picture"):
        load(flat)
    with pytest.raises(DataError, match="16 to 512 pixels"):
        load(flat, (32, 15))


def test_without_test_a_fifth_of_each_class_is_set_aside(flat: Path) -> None:
    data = load(flat)
    assert np.bincount(data.test.labels).tolist() == [1, 2]  # of 5 and 10
    assert np.bincount(data.train.labels).tolist() == [4, 8]
    train, test = data.train.files or (), data.test.files or ()
    assert len({*train, *test}) == 15
    number = int(test[-1].split("/")[1].removesuffix(".png"))
    assert data.test.images[-1, 0, 0].tolist() == [200 + number, 0, 0]  # the picture is that of the name


def test_bad_files_are_named_all_at_once_and_names_are_data(folder: Path) -> None:
    """Markup stays as it is; what would act on a terminal is spelled out wherever it is printed."""
    for part in ("train", "test"):
        picture(folder / part / "<i>\x1b[31mx" / "<b>\x1b[2J.png")
    data = load(folder)
    assert data.classes[0] == r"<i>\x1b[31mx"
    assert (data.train.files or ())[0] == "train/<i>\x1b[31mx/<b>\x1b[2J.png"
    for name in ("\x1b[2J.png", "broken0.jpg", "broken1.jpg"):
        (folder / "train" / "red" / name).write_bytes(b"\xff\xd8\xff no picture")
    with pytest.raises(DataError, match=r"(?s)3 of 10 files .*\\x1b\[2J\.png cannot.*broken0\.jpg.*broken1") as error:
        load(folder)
    assert "\x1b" not in str(error.value)


# ---- The cache ----


def test_decoded_pictures_are_kept(folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(folder)
    assert {path.suffix for path in own_cache.iterdir()} == {"", ".raw", ".json"}  # and the lock
    monkeypatch.setattr(module, "read_all", lambda *_: pytest.fail("decoded again"))
    second = load(folder)
    assert (second.train.fingerprint, second.notes) == (first.train.fingerprint, first.notes)
    second.train.images[0] = 0  # its own memory, not the file
    np.testing.assert_array_equal(load(folder).train.images, first.train.images)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not keep when a file was changed")
def test_changed_files_are_decoded_again(folder: Path) -> None:
    """Also where size and time are the same."""
    load(folder)
    path = folder / "train" / "red" / "c.bmp"
    before = path.stat()
    time.sleep(0.02)
    picture(path, (0, 200, 0))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert load(folder).train.images[-1, 0, 0].tolist() == [0, 200, 0]
    path.rename(path.with_name("d.bmp"))
    assert (load(folder).train.files or ())[-1] == "train/red/d.bmp"
    assert load(folder, 24).train.images[-1, 0, 0].tolist() == [0, 200, 0]


def test_a_damaged_or_read_only_cache_is_harmless_and_old_entries_are_removed(folder: Path, own_cache: Path) -> None:
    images = load(folder).train.images
    (kept,) = own_cache.glob("*.raw")
    kept.write_bytes(kept.read_bytes()[:-100])
    np.testing.assert_array_equal(load(folder).train.images, images)
    for size in range(20, 32):
        load(folder, size)
    assert len(list(own_cache.glob("*.raw"))) == len(list(own_cache.glob("*.json"))) == module.CACHED
    shutil.rmtree(own_cache)
    own_cache.write_text("a file where the folder should be")
    np.testing.assert_array_equal(load(folder).train.images, images)


# ---- Sizes and scales ----


def save_tiffs(folder: Path, **values: np.ndarray) -> Path:
    """Two equal pictures of each class."""
    for name, array in values.items():
        (folder / name).mkdir()
        for number in range(2):
            Image.fromarray(array).save(folder / name / f"{number}.tif")
    return folder


def test_pictures_are_cropped_padded_or_stretched(tmp_path: Path) -> None:
    """Three stripes of a picture that is thrice as wide as high."""
    stripes = np.repeat(np.uint8([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]), 32, axis=1).repeat(32, axis=0)
    save_tiffs(tmp_path, a=stripes, b=stripes)
    found = {fit: load(tmp_path, (24, 48), fit) for fit in ("crop", "pad", "stretch")}
    crop, pad, stretch = (data.train.images[0] for data in found.values())
    assert crop[12, [2, 24, 45]].tolist() == pad[12, [2, 24, 45]].tolist() == stripes[0, [0, 40, 80]].tolist()
    assert pad[[3, 20], 24].tolist() == [[128] * 3] * 2  # 48 x 16 pixels on grey
    assert stretch[1, [2, 24, 45]].tolist() == stripes[0, [0, 40, 80]].tolist()
    assert "33% of their pixels are cut off" in found["crop"].notes[-1]  # two thirds of three heights are left
    assert not any("cut off" in note for note in found["pad"].notes)


@pytest.mark.parametrize("white", [1023, 65535])
def test_white_is_chosen_for_the_data_set(tmp_path: Path, white: int) -> None:
    """A dark picture is not made brighter because it is dark."""
    bright, dark = (np.full((32, 32), value, np.uint16) for value in (white, white // 100))
    data = load(save_tiffs(tmp_path, a=bright, b=dark))
    assert sorted({*data.train.images.ravel().tolist()}) == [round(white // 100 * 255 / white), 255]
    assert any(f"4 pictures: {white.bit_length()} bits" in note for note in data.notes)


# ---- Pictures to judge, and tables ----


def test_pictures_without_training_are_the_test_split(flat: Path, folder: Path) -> None:
    judged = load(flat, to_judge=True, classes=("red", "green", "blue"))
    assert (len(judged.train), judged.classes) == (0, ("red", "green", "blue"))
    assert np.bincount(judged.test.labels).tolist() == [10, 0, 5]
    with pytest.raises(DataError, match="blue"):
        load(flat, to_judge=True, classes=("red", "green"))
    parts = load(folder, to_judge=True)
    shutil.rmtree(folder / "train")
    alone = load(folder, to_judge=True)
    assert [len(part) for part in (parts.train, parts.test, alone.train, alone.test)] == [3, 2, 0, 2]


@pytest.mark.parametrize("head", ["", "name,label\n", "number;class;path\n"])
def test_paths_and_labels_in_a_table(flat: Path, head: str) -> None:
    names = [f"red/{number}.png" for number in range(10)] + [f"blue/{number}.png" for number in range(5)]
    rows = [(name, "10" if "red" in name else "9") for name in names]  # numbers are in the order of numbers
    lines = [f"0;{label};{name}\n" if ";" in head else f"{name},{label}\n" for name, label in rows]
    (flat / "labels.csv").write_text(head + "".join(lines))
    found = load(flat / "labels.csv", to_judge=True)
    assert (found.classes, found.test.files) == (("9", "10"), tuple(names))
    assert found.test.labels.tolist() == [1] * 10 + [0] * 5
    split = load_data(flat / "labels.csv", progress=SILENT)
    assert (len(split.train), len(split.test)) == (12, 3)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "labels.csv"),
        ("red/0.png\n", "red/0.png"),
        ("no.png,blue\nred/0.png,red\n", "no.png"),
        ("red/0.png,red\nred/1.png\n", "line 2"),
        ("red/0.png,red,3\n", "3 columns"),
        ("red/0.png,red\nred/1.png,red\n", "two classes"),
    ],
)
def test_a_table_that_names_no_pictures_is_refused(flat: Path, text: str, named: str) -> None:
    (flat / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=named):
        load(flat / "labels.csv")


# ---- Notes that the report exported ----


HEAD = "index,tag,new_label,note\n"
JUDGED = Split(np.zeros((4, 8, 8, 3), np.uint8), [0, 0, 1, 1], ["cat", "=dog"])


def test_labels_are_corrected_without_the_mark_of_a_formula(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text(HEAD + '3,blurred,,\n0,,\'=dog,"\'=1, ""x""\ny"\n', encoding="utf-8")
    assert correct_labels(JUDGED, tmp_path / "notes.csv").labels.tolist() == [1, 0, 1, 1]
    assert JUDGED.labels.tolist() == [0, 0, 1, 1]


def test_notes_in_the_folder_correct_labels_of_test_images(flat: Path) -> None:
    before = load(flat)
    (flat / "notes.csv").write_text(HEAD + "0,,red,\n1,odd,,\n", encoding="utf-8")
    data = load(flat)
    assert data.test.labels.tolist() == [1, *before.test.labels[1:]]
    assert set(data.notes) - set(before.notes) == {"1 label of test images corrected by notes.csv"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("index,label\n", "index,tag,new_label,note"),
        (HEAD + "4,,,\n", "line 2"),
        (HEAD + "9" * 5000 + ",,,\n", "line 2"),
        (HEAD + f"1,{'x' * 200_000},,\n", "notes.csv"),
        (HEAD + "1,,\n", "line 2"),
        (HEAD + "1,,frog,\n", "frog"),
        (HEAD + "1,,=dog,\n1,,cat,\n", "image 1"),
    ],
)
def test_errors_in_notes_are_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "notes.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=named):
        correct_labels(JUDGED, tmp_path / "notes.csv")


# ---- Data sets in memory ----


CLASSES = ("blue", "red")
ARRAYS = [np.full((20, 30, 3), colour, np.uint8) for colour in ((0, 0, 200), (200, 0, 0), (190, 0, 0))]
LABELS = [0, 1, 1]


class Pairs(torch.utils.data.Dataset[Any]):
    """A torch data set without iteration."""

    def __init__(self, pictures: list[Any], labels: list[Any], **more: Any) -> None:
        self.pictures, self.labels = pictures, labels
        vars(self).update(more)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.pictures[index], self.labels[index]


class ClassLabel:
    """Named as the feature of Hugging Face."""

    names = CLASSES


class Rows(list[Any]):
    """A Hugging Face data set, as far as its attributes go."""

    features = {"id": "", "photo": type("Image", (), {})(), "kind": ClassLabel()}  # noqa: RUF012


PICTURES = [Image.fromarray(array) for array in ARRAYS]
TENSORS = [torch.from_numpy(array).permute(2, 0, 1) for array in ARRAYS]
SOURCES = {
    "arrays": Pairs(ARRAYS, LABELS, classes=CLASSES),
    "pictures": Pairs(PICTURES, [torch.tensor(label) for label in LABELS], classes=CLASSES),
    "bytes": Pairs(TENSORS, LABELS, classes=CLASSES),
    "floats": Pairs([tensor / 255 for tensor in TENSORS], LABELS, classes=CLASSES),
    "names": Pairs(ARRAYS, [CLASSES[label] for label in LABELS]),
    "rows": Rows({"id": n, "photo": PICTURES[n], "kind": LABELS[n]} for n in range(3)),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_data_set_gives_the_same(kind: str) -> None:
    found = load_split(SOURCES[kind], 16, progress=SILENT)
    assert (found.classes, found.labels.tolist(), found.images.shape) == (CLASSES, LABELS, (3, 16, 16, 3))
    np.testing.assert_array_equal(found.images[:, 3, 3], [array[0, 0] for array in ARRAYS])


def test_a_folder_a_split_and_labels_without_names(flat: Path) -> None:
    found = load_split(flat, (16, 24), "stretch", progress=SILENT)
    assert found.images.shape == (15, 16, 24, 3)
    numbered = load_split(Pairs(ARRAYS, [7, 3, 3]), 16, progress=SILENT)
    assert (numbered.classes, numbered.labels.tolist()) == (("3", "7"), [1, 0, 0])


@pytest.mark.parametrize(
    ("source", "named"),
    [
        (3, "int"),
        ("nowhere", "no data set .nowhere"),
        ([], "list"),
        (iter(ARRAYS), "iterator"),
        (Pairs([torch.zeros(5, 4, 4)], [0]), "Picture 0"),
        (Pairs([torch.full((3, 20, 20), 3.0)], [0]), "0 to 1"),
        (Pairs(ARRAYS, ["blue", "red", "green"], classes=CLASSES), "green"),
    ],
)
def test_other_things_are_refused(source: Any, named: str) -> None:
    with pytest.raises(DataError, match=named):
        load_split(source, 16, progress=SILENT)
