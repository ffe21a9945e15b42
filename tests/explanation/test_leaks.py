from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from seefar.data import Data, Split
from seefar.errors import DataError
from seefar.explanation.leaks import Duplicate, find_duplicates, find_leaks, find_shared_names


def moved(images: np.ndarray) -> np.ndarray:
    return np.pad(images, ((0, 0), (1, 0), (0, 1), (0, 0)), mode="edge")[:, :32, 1:]


def compressed(images: np.ndarray) -> np.ndarray:
    results = []
    for image in images:
        file = BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=95, subsampling=0)
        results.append(np.asarray(Image.open(file)))
    return np.stack(results)


def resized(images: np.ndarray) -> np.ndarray:
    small = [Image.fromarray(image).resize((26, 26), Image.Resampling.BICUBIC) for image in images]
    return np.stack([np.asarray(image.resize((32, 32), Image.Resampling.LANCZOS)) for image in small])


def cropped(images: np.ndarray) -> np.ndarray:
    """Two of 32 pixels less, from the left and from below."""
    box = (2, 0, 32, 30)
    return np.stack([np.asarray(Image.fromarray(image).resize((32, 32), box=box)) for image in images])


def noisy(images: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 4, images.shape)
    return (images + noise).clip(0, 255).astype(np.uint8)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exact": lambda images: images,
    "mirrored": lambda images: images[:, :, ::-1],
    "brighter, paler and with another tint": lambda images: (images * (0.7, 0.75, 0.65) + 40).astype(np.uint8),
    **{change.__name__: change for change in (moved, noisy, compressed, resized, cropped)},
}


@pytest.mark.parametrize("name", CHANGES)
def test_all_planted_near_duplicates_are_found(shapes: Data, name: str) -> None:
    planted = np.arange(0, 200, 10)
    copies = CHANGES[name](shapes.train.images[planted])
    found = find_duplicates(np.concatenate([shapes.test.images[:10], copies]), shapes.train.images[:200])
    assert [(one.index, one.training) for one in found] == list(enumerate(planted.tolist(), start=10))
    assert {one.mirrored for one in found} == {name == "mirrored"}
    if name in ("exact", "mirrored"):
        assert {one.likeness for one in found} == {1.0}
    if name == "cropped":  # a training image may be the cropped one
        turned = find_duplicates(shapes.train.images[planted], copies)
        assert [one.training for one in turned] == list(range(20))


def test_few_other_images_are_near_duplicates(shapes: Data) -> None:
    """No more than one in a hundred has the same shape in the same place by chance."""
    assert len(find_duplicates(shapes.test.images, shapes.train.images)) <= 1


def test_exact_copies_of_flat_images_and_of_tiny_ones_and_no_images() -> None:
    flat = np.full((1, 32, 32, 3), 90, np.uint8)
    assert find_duplicates(flat, flat) == []  # no contrast, so no thumbnail to compare
    tiny = np.random.default_rng(0).integers(0, 256, (3, 5, 5, 3), dtype=np.uint8)
    assert [one.training for one in find_duplicates(tiny[::-1], tiny)] == [2, 1, 0]
    assert find_duplicates(tiny[:0], tiny) == find_duplicates(tiny, tiny[:0]) == []


def test_large_images_are_compared_at_a_small_size(shapes: Data) -> None:
    """Not square either: 96 x 64 pixels."""
    large = shapes.train.images[:60].repeat(3, axis=1).repeat(2, axis=2)
    found = find_duplicates(noisy(large[::6]), large)
    assert [one.training for one in found] == list(range(0, 60, 6))


# ---- File names ----


def named(files: list[str], labels: list[int]) -> Split:
    return Split(np.zeros((len(files), 8, 8, 3), np.uint8), labels, ("a", "b"), files=tuple(files))


def test_stems_that_both_parts_share() -> None:
    test = named(
        [
            "test/a/burst_0012_a.jpg",
            "test/a/IMG_7.png",
            "test/b/x/clip3-frame-9.png",
            "test/b/plain.png",
            "bar_7_b.jpg",
        ],
        [0, 0, 1, 1, 0],
    )
    training = named(
        ["burst_0012_b.jpg", "burst_0012_c.jpg", "burst_0013_a.jpg", "IMG_7.jpg", "clip3-frame-1.png", "plain.png"]
        + [f"other{n}.png" for n in range(30)]
        + ["bar_7.jpg"],
        [0, 0, 0, 0, 1, 1] + [0] * 31,
    )
    found = find_shared_names(test, training)
    assert [(one.stem, one.tests, one.training) for one in found] == [
        ("IMG_7", (1,), (3,)),
        ("bar_7", (4,), (36,)),
        ("burst_0012", (0,), (0, 1)),
        ("clip3-frame", (2,), (4,)),
    ]


def test_uninformative_names_are_not_shared() -> None:
    numbers = [f"{number:04d}.png" for number in range(40)]
    assert find_shared_names(named(numbers[:10], [0] * 10), named(numbers, [0] * 40)) == []  # both numbered from 0
    assert find_shared_names(named(["x_1_a.png"], [0]), named(["x_1_b.png"] * 3, [1] * 3)) == []  # of other classes
    dated = [f"2024_{number}.png" for number in range(80)]
    assert find_shared_names(named(dated[:20], [0] * 20), named(dated[20:], [0] * 60)) == []  # all have it
    bare = Split(np.zeros((1, 8, 8, 3), np.uint8), [0], ("a", "b"))
    assert find_shared_names(bare, bare) == []


# ---- Accuracy with and without them ----


def test_the_accuracy_without_leaks() -> None:
    """Ten test images: 0 and 1 are near-duplicates, the first of another label; 1 and 2 share a name."""
    files = [f"burst_{number}_a.png" if number in (1, 2) else f"{number}{number}.png" for number in range(10)]
    test = named(files, [0] * 10)
    training = named(
        ["burst_1_b.png", "burst_2_b.png", "q.png"] + [f"t{number}.png" for number in range(40)], [0, 0, 1] + [0] * 40
    )
    predicted = np.array([0, 0, 1, 0, 0, 0, 1, 0, 0, 1])
    duplicates = [Duplicate(0, 2, 0.9, False), Duplicate(1, 0, 1.0, True)]
    leaks = find_leaks(test, training, predicted, duplicates=duplicates)
    assert leaks.other_label == (duplicates[0],)
    assert leaks.indices == [0, 1, 2]
    rates = [(one.n, one.share) for one in (leaks.with_leaks, leaks.without_duplicates, leaks.without_leaks) if one]
    assert rates == [(10, 0.7), (8, 5 / 8), (7, 5 / 7)]
    assert [leaks.summary[name] for name in ("near_duplicates", "with_another_label", "shared_names")] == [2, 1, 2]
    assert leaks.summary["without_duplicates"]["accuracy"] == 5 / 8
    copies, names = leaks.findings["near-duplicate"], leaks.findings["shared name"]
    assert copies.startswith("2 of 10 test images")
    assert copies.endswith("62.50%")
    assert names.endswith("71.43%")
    assert find_leaks(test, training, duplicates=[]).with_leaks is None


def test_parts_that_do_not_fit_are_refused() -> None:
    test = named(["1.png"], [0])
    with pytest.raises(DataError):
        find_leaks(test, Split(np.zeros((1, 8, 9, 3), np.uint8), [0], ("a", "b")))
    with pytest.raises(DataError):
        find_leaks(test, test, np.array([0, 1]))
