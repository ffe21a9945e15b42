"""One `Split` from every kind of source of labelled pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture

import seefar
from seefar.data.sources import load_split
from seefar.errors import DataError

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


class Image:
    """Named as the feature of Hugging Face."""


class ClassLabel:
    names = ("blue", "red")


class Rows(list[Any]):
    """A Hugging Face data set, as far as its attributes go."""

    @property
    def features(self) -> dict[str, Any]:
        return {"id": "", "photo": Image(), "kind": ClassLabel()}


def sources() -> dict[str, Any]:
    pictures = [Picture.fromarray(array) for array in ARRAYS]
    tensors = [torch.from_numpy(array).permute(2, 0, 1) for array in ARRAYS]
    return {
        "arrays": Pairs(ARRAYS, LABELS, classes=CLASSES),
        "pictures": Pairs(pictures, [torch.tensor(label) for label in LABELS], classes=CLASSES),
        "bytes": Pairs(tensors, LABELS, classes=CLASSES),
        "floats": Pairs([tensor / 255 for tensor in tensors], LABELS, classes=CLASSES),
        "names": Pairs(ARRAYS, [CLASSES[label] for label in LABELS]),
        "rows": Rows({"id": n, "photo": pictures[n], "kind": LABELS[n]} for n in range(3)),
    }


@pytest.mark.parametrize("kind", sources())
def test_every_data_set_gives_the_same(kind: str) -> None:
    found = load_split(sources()[kind], 16, progress=seefar.SILENT)
    assert found.classes == CLASSES
    assert found.labels.tolist() == LABELS
    np.testing.assert_array_equal(found.images[:, 3, 3], [array[0, 0] for array in ARRAYS])
    assert found.images.shape == (3, 16, 16, 3)


def test_a_folder_and_a_split(tmp_path: Path) -> None:
    for number, array in enumerate(ARRAYS):
        path = tmp_path / CLASSES[LABELS[number]] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Picture.fromarray(array).save(path)
    found = load_split(tmp_path, (16, 24), "stretch", progress=seefar.SILENT)
    assert found.images.shape == (3, 16, 24, 3)
    assert load_split(found) is found


def test_labels_without_names_are_named_by_their_numbers() -> None:
    found = load_split(Pairs(ARRAYS, [7, 3, 3]), 16, progress=seefar.SILENT)
    assert found.classes == ("3", "7")
    assert found.labels.tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("source", "named"),
    [
        (3, "int"),
        ([], "list"),
        (iter(ARRAYS), "iterator"),
        (Pairs([torch.zeros(5, 4, 4)], [0]), "Picture 0"),
        (Pairs([torch.full((3, 20, 20), 3.0)], [0]), "0 to 1"),
        (Pairs(ARRAYS, ["blue", "red", "green"], classes=CLASSES), "green"),
    ],
)
def test_other_things_are_refused(source: Any, named: str) -> None:
    with pytest.raises(DataError, match=named):
        load_split(source, 16, progress=seefar.SILENT)
