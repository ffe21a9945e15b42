"""Human labels (CIFAR-10H), checked label errors and published predictions of CIFAR-10's test set, as arrays.

The files are not part of the package: they are downloaded from their public repositories, each at a fixed commit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seefar.data.images import Labels, Split
from seefar.data.official import SOURCES, Remote, default_folder, download_all, read_checked
from seefar.errors import DataError, RunError, counted
from seefar.progress import Progress, showing
from seefar.runs.arrays import load_array
from seefar.runs.files import expanded, read_json

OFFICIAL_TEST = "e54a434ec35094516eacbaac0f2f9550358d985e9d1f71b47d41d333c15ba304"
"""`Split.fingerprint` of CIFAR-10's test set in its official order."""
OFFICIAL_LABELS = "cbb7365de8ed11f05cc4c3a1e7f78144127c5e851efd83762fb18202461230bb"
"""SHA-256 of its labels as int64, little-endian."""
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CHECKERS = 5
"""People who checked each suspected label error."""
HOST = "https://raw.githubusercontent.com"
LARGEST_BYTES = 1 << 20
"""Size limit of a file in bytes."""
PEOPLE = "cifar10h/cifar10h-counts.npy"
CHECKS = "label-errors/cifar10_mturk.json"
NETS = "published-predictions"


@dataclass(frozen=True)
class Source:
    """A GitHub repository at a fixed commit; `files`: path below the data folder -> path in it, and SHA-256."""

    title: str
    licence: str
    repository: str
    commit: str
    files: Mapping[str, tuple[str, str]]

    @property
    def credit(self) -> str:
        """One line: title, licence, address."""
        return f"{self.title}; licence {self.licence}; github.com/{self.repository}"


def reference_sources() -> tuple[Source, ...]:
    """The sources of human labels, checked label errors and published predictions."""
    return tuple(Source(**entry) for entry in SOURCES["reference"])


@dataclass(frozen=True)
class Reference:
    """Choices of people and predictions of M published networks, `nets`, for N test images of K classes.

    Attributes:
        counts: int64 (N, K), how many people chose each class.
        confirmed: int64 (N,), how many of five checkers confirmed the given label and no other; -1: nobody checked it.
        suggested: int64 (N,), the other class that the checkers were offered; -1: nobody checked it.
        predictions: int64 (M, N), the class each network predicts.
        labels_sha256: see the function `labels_sha256`; of the labels in the order that the arrays are in.
    """

    counts: NDArray[np.int64]
    confirmed: NDArray[np.int64]
    suggested: NDArray[np.int64]
    nets: tuple[str, ...]
    predictions: NDArray[np.int64]
    classes: tuple[str, ...]
    labels_sha256: str

    @property
    def entropy(self) -> NDArray[np.float64]:
        """Entropy of the people's choices in bits, float64 (N,): 0 where all agree, 1 where two classes share them."""
        share = self.counts / self.counts.sum(1, keepdims=True)
        return np.asarray((share * np.log2(1 / np.where(share > 0, share, 1))).sum(1))

    @property
    def label_errors(self) -> NDArray[np.bool_]:
        """Where fewer than three of the five checkers confirmed the label, bool (N,)."""
        return (self.confirmed >= 0) & (self.confirmed < 3)

    def same_predictions(self, predicted: Labels) -> NDArray[np.bool_]:
        """Which networks predict exactly these classes, int (N,), and so are the evaluated model itself: bool (M,)."""
        return np.asarray((self.predictions == predicted).all(1))

    def check_labels(self, labels: Labels) -> None:
        """Refuse labels of other images, or in another order."""
        if labels_sha256(labels) != self.labels_sha256:
            raise DataError(
                f"The {len(labels):,} labels are not those that the reference data belong to: pass those of CIFAR-10's "
                f"official test set of {len(self.counts):,} images in its official order, unchanged."
            )


def labels_sha256(labels: Labels) -> str:
    """SHA-256 of the labels as int64, little-endian."""
    return hashlib.sha256(np.ascontiguousarray(labels, dtype="<i8").data).hexdigest()


def has_reference(split: Split) -> bool:
    """Whether there are reference data for these images: they are CIFAR-10's test set in its official order."""
    return split.fingerprint == OFFICIAL_TEST


def load_reference(
    folder: str | Path | None = None, *, fetch: bool = True, progress: Progress | None = None
) -> Reference:
    """CIFAR-10H, the checked label errors and the published predictions for CIFAR-10's 10,000 test images.

    They are in the data folder, with or without CIFAR-10; by default SEEFAR_DATA, else the user's cache. `fetch`
    downloads missing files (3 MB) and shows their licences. A `DataError` if a file is missing and cannot be
    downloaded, or is not the published one.

    Examples:
        >>> import seefar, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     seefar.load_reference(folder).counts.shape  # doctest: +SKIP
        (10000, 10)
    """
    return read_reference(find_files(expanded(folder) if folder else None, fetch=fetch, progress=progress))


def read_reference(paths: Mapping[str, Path]) -> Reference:
    """The arrays in the checked files of `find_files`."""
    counts = load_array(paths[PEOPLE]).astype(np.int64)
    confirmed, suggested = (np.full(len(counts), -1, dtype=np.int64) for _ in range(2))
    for check in read_json(paths[CHECKS]):
        confirmed[check["id"]] = check["mturk"]["given"]
        suggested[check["id"]] = check["our_guessed_label"]
    nets = sorted(name for name in paths if name.startswith(NETS))
    predictions = [read_json(paths[name]) for name in nets]
    return Reference(
        counts,
        confirmed,
        suggested,
        tuple(Path(name).name.removesuffix("_predictions.json") for name in nets),
        np.asarray(predictions, dtype=np.int64),
        CLASSES,
        OFFICIAL_LABELS,
    )


def find_files(folder: Path | None = None, *, fetch: bool = True, progress: Progress | None = None) -> dict[str, Path]:
    """The path of each reference file, checked: in `folder`, else in the default folder, else downloaded into `folder`.

    `folder` is a data folder, or CIFAR-10's own folder inside it; addresses are `<HOST>/<repository>/<commit>/<path>`.
    """
    home = default_folder() if folder is None else folder
    home = home.parent if home.name == "cifar-10-batches-py" else home
    paths: dict[str, Path] = {}
    for source in reference_sources():
        address = f"{HOST}/{source.repository}/{source.commit}"
        files = {name: Remote((f"{address}/{at}",), sha, LARGEST_BYTES) for name, (at, sha) in source.files.items()}
        for name in files:
            places = [home / name, default_folder() / name]
            paths[name] = next((path for path in places if path.exists()), places[0])
        missing = {name: file for name, file in files.items() if not paths[name].exists()}
        if missing:
            lacks = (
                f"{home} lacks {counted(len(missing), 'file')} of the reference data, such as {next(iter(missing))}: "
                "`seefar data reference` downloads them; without a network, copy the folder from another machine."
            )
            if not fetch:
                raise DataError(lacks)
            try:
                with showing(progress) as shown:
                    shown.line(f"downloading {source.credit}")
                    download_all(missing, home, shown)
            except (DataError, RunError) as error:
                raise DataError(f"{error} {lacks}") from error
        for name, file in files.items():
            read_checked(paths[name], file.checksum, "reference")
    return paths
