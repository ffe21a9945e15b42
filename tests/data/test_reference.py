from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from tiny_host import serve
from tiny_job import Lines

from seefar.data import load_data
from seefar.data import reference as module
from seefar.data.images import Split
from seefar.data.official import CIFAR10
from seefar.data.reference import (
    CLASSES,
    OFFICIAL_LABELS,
    OFFICIAL_TEST,
    PEOPLE,
    Reference,
    Source,
    find_files,
    has_reference,
    labels_sha256,
    load_reference,
    reference_sources,
)
from seefar.errors import DataError

COUNTS, NET = b"counts of people", b"[1, 2]"


def source(name: str, content: bytes, repository: str, path: str) -> Source:
    sha256 = hashlib.sha256(content).hexdigest()
    return Source("People's choices", "MIT", repository, "c0ffee", {name: (path, sha256)})


NET_NAME = "published-predictions/a.json"
WANTED = (source(PEOPLE, COUNTS, "owner/people", "data/file"), source(NET_NAME, NET, "owner/nets", "nets/a.json"))


@pytest.fixture(autouse=True)
def _no_data_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if "official" not in request.fixturenames:
        monkeypatch.setenv("SEEFAR_DATA", str(tmp_path / "default"))


def test_missing_files_are_downloaded_with_their_licences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a host that is laid out as owner/repository/commit/path."""
    monkeypatch.setattr(module, "reference_sources", lambda: WANTED)
    for one, content in zip(WANTED, (COUNTS, NET), strict=True):
        path = tmp_path / "host" / one.repository / one.commit / next(iter(one.files.values()))[0]
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    progress = Lines()
    monkeypatch.setattr(module, "HOST", serve(tmp_path / "host", monkeypatch))
    found = find_files(tmp_path / "data", progress=progress)
    assert found == {name: tmp_path / "data" / name for name in (PEOPLE, NET_NAME)}
    assert (found[PEOPLE].read_bytes(), found[NET_NAME].read_bytes()) == (COUNTS, NET)
    assert progress.found == [
        "downloading People's choices; licence MIT; github.com/owner/people",
        "downloading People's choices; licence MIT; github.com/owner/nets",
    ]
    quiet = Lines()
    monkeypatch.setattr(module, "HOST", "http://127.0.0.1:9")
    find_files(tmp_path / "data", progress=quiet)  # nothing is asked for
    assert quiet.found == []


@pytest.mark.parametrize("place", ["default", "data"])
def test_files_of_the_default_folder_and_beside_cifar10s_own_folder_are_found(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "reference_sources", lambda: WANTED[:1])
    counts = tmp_path / place / PEOPLE
    counts.parent.mkdir(parents=True)
    counts.write_bytes(COUNTS)
    assert find_files(tmp_path / "data" / CIFAR10.folder, fetch=False) == {PEOPLE: counts}


def test_a_missing_file_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    listed = [sha256 for source in reference_sources() for _, sha256 in source.files.values()]
    assert [len(sha256) for sha256 in listed] == [64] * 32
    with pytest.raises(DataError, match=f"{tmp_path} lacks 1 file .*{PEOPLE}: `seefar data reference`"):
        load_reference(tmp_path, fetch=False)


SMALL = Reference(
    counts=np.array([[4, 0], [2, 2], [1, 3]]),
    confirmed=np.array([-1, 2, 3]),
    suggested=np.array([-1, 0, 1]),
    nets=("a",),
    predictions=np.array([[0, 1, 0]]),
    classes=("cat", "dog"),
    labels_sha256=labels_sha256(np.array([0, 1, 0])),
)


def test_entropy_and_label_errors_by_hand() -> None:
    quarter = 0.25 * 2 + 0.75 * np.log2(4 / 3)
    np.testing.assert_allclose(SMALL.entropy, [0, 1, quarter], atol=1e-12)
    assert SMALL.label_errors.tolist() == [False, True, False]  # unchecked, two of five, three of five


@pytest.fixture
def official() -> Reference:
    """The published reference data, where they are at hand."""
    if "SEEFAR_DATA" not in os.environ:
        pytest.skip("SEEFAR_DATA is not set: the reference data are not at hand")
    try:
        return load_reference(os.environ["SEEFAR_DATA"], fetch=False)
    except DataError as error:
        pytest.skip(str(error))


def test_the_published_data_have_the_known_figures(official: Reference) -> None:
    assert official.counts.shape == (10_000, 10)
    assert official.counts.sum() == 511_000
    assert official.predictions.shape == (len(official.nets), 10_000) == (30, 10_000)
    assert (official.confirmed >= 0).sum() == 275
    assert official.label_errors.sum() == 54
    assert (official.entropy == 0).sum() == 4_393  # all people chose one class


def test_only_the_official_test_set_in_its_order_has_a_reference(official: Reference) -> None:
    assert not has_reference(Split(np.zeros((2, 8, 8, 3), np.uint8), np.array([0, 1]), ("cat", "dog")))
    if not (Path(os.environ["SEEFAR_DATA"]) / CIFAR10.folder).exists():
        pytest.skip("CIFAR-10 is not in SEEFAR_DATA")
    data = load_data("cifar10", os.environ["SEEFAR_DATA"])
    official.check_labels(data.test.labels)
    assert data.test.fingerprint == OFFICIAL_TEST
    assert labels_sha256(data.test.labels) == OFFICIAL_LABELS
    assert data.test.classes == CLASSES
    assert has_reference(data.test)
    assert not has_reference(data.test.take(np.arange(10_000)[::-1]))
