"""Predictions: logits and features of every image of a split, computed, saved, or read from a file of another program.

A file of another program is matched to the images by the names of their files.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from seefar.data.images import Labels, Split, check_classes, check_labels
from seefar.data.pictures import picture_suffixes
from seefar.errors import DataError, printable, require
from seefar.model.adapt import Classifier, adapt
from seefar.model.inference import log_softmax
from seefar.progress import Progress, showing
from seefar.runs.arrays import load_array, load_arrays, read_member, save_arrays
from seefar.runs.files import TEXT_LIMIT, expanded, open_regular, parse_json, read_bytes, read_table

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False, repr=False)
class Predictions:
    """Logits of N images over K classes.

    Attributes:
        logits: float32 (N, K).
        features: float32 (N, C), the input of the linear layer that makes the logits; (N, 0) without such a layer.
        labels: int64 (N,), the true classes.
        model: fingerprint of the weights, `seefar.model.inference.weights_fingerprint`.
        images: fingerprint of the images and labels, `Split.fingerprint`.
    """

    logits: Floats
    features: Floats
    labels: Labels
    classes: tuple[str, ...]
    model: str
    images: str

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        right = int((self.predicted == self.labels).sum())
        return f"Predictions({len(self)} images, {len(self.classes)} classes, {right} correct)"

    @property
    def predicted(self) -> Labels:
        """The class with the largest logit, int64 (N,)."""
        return np.asarray(self.logits.argmax(1), dtype=np.int64)

    @property
    def log_probabilities(self) -> NDArray[np.float64]:
        """Natural logarithm of the softmax of the logits, float64 (N, K)."""
        return log_softmax(self.logits)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """Probability of the predicted class, float64 (N,)."""
        return np.asarray(np.exp(self.log_probabilities.max(1)))

    @property
    def losses(self) -> NDArray[np.float64]:
        """Cross-entropy of each image in nats, without label smoothing, float64 (N,)."""
        return -self.log_probabilities[np.arange(len(self.labels)), self.labels]

    @property
    def has_probabilities(self) -> bool:
        """Whether more than the predicted classes is known; False where all logits are 0 but for a single 1."""
        return not is_one_hot(self.logits)

    def are_for(self, split: Split) -> bool:
        """Whether they are of these images, labels and classes, for any weights."""
        same_labels = self.classes == split.classes and np.array_equal(self.labels, split.labels)
        return same_labels and self.images == split.fingerprint

    @classmethod
    def of(cls, logits: NDArray[np.floating], split: Split) -> Predictions:
        """Predictions of a network that is not available, from logits (N, K) in the order of images and classes.

        The fingerprint of the weights is that of the logits. A `DataError` if not every logit is there and finite.
        """
        logits = np.asarray(logits)
        expected = len(split), len(split.classes)
        if logits.shape != expected or not np.issubdtype(logits.dtype, np.number) or not np.isfinite(logits).all():
            raise DataError(
                f"logits must be {expected} finite numbers, one for each image and class (got {logits.dtype} "
                f"{logits.shape}): pass them for all images of the split, in its order."
            )
        nothing = np.zeros((len(split), 0), np.float32)
        logits = np.ascontiguousarray(logits, np.float32)
        fingerprint = hashlib.sha256(logits.data).hexdigest()
        return cls(logits, nothing, split.labels, split.classes, fingerprint, split.fingerprint)

    def save(self, path: str | Path) -> None:
        """Write an `.npz` of plain arrays. `load` gives back exactly the same."""
        save_arrays(path, vars(self))

    @classmethod
    def load(cls, path: str | Path) -> Predictions:
        """Read what `save` wrote; a `RunError` if the file is missing or damaged."""
        arrays = load_arrays(path, cls.__dataclass_fields__)
        classes = check_classes(arrays["classes"])
        labels = check_labels(arrays["labels"], len(arrays["logits"]), len(classes))
        return cls(arrays["logits"], arrays["features"], labels, classes, str(arrays["model"]), str(arrays["images"]))


def is_one_hot(scores: NDArray[np.floating]) -> bool:
    """Whether all rows (N, K) are 0 but for a single 1: classes without probabilities."""
    return bool(((scores == 0) | (scores == 1)).all() and (scores.sum(1) == 1).all())


def predict(
    model: nn.Module | Classifier,
    split: Split,
    *,
    progress: Progress | None = None,
    stage: str = "evaluation",
) -> Predictions:
    """Logits and last-layer features of every image, always in float32.

    The model is a `ResNet18`, or anything that `seefar.adapt` takes or returns, and is used in eval mode. A `DataError`
    if it does not give one finite logit for each class of the split.

    Examples:
        >>> import seefar
        >>> from seefar.data.shapes import load_shapes
        >>> test = load_shapes(train=20, test=30).test
        >>> seefar.predict(seefar.ResNet18(width=2).eval(), test, progress=seefar.SILENT).logits.shape
        (30, 10)
    """
    require(split, Split, "split", "one of images and labels, such as data.test")
    if not len(split):
        raise DataError("There is no image in this split: at least one is needed for predictions.")
    classifier = adapt(model)
    classifier.check_repeats(split.images[0])
    with showing(progress) as shown:
        logits, features = classifier.outputs(split.images, lambda done: shown.update(stage, done, len(split)))
    if logits.shape[1] != len(split.classes):
        raise DataError(
            f"The model gives {logits.shape[1]} logits for an image, but the data has {len(split.classes)} classes "
            f"({', '.join(split.classes[:3])}, ...): choose a model that was trained on this data."
        )
    return Predictions(logits, features, split.labels, split.classes, classifier.fingerprint, split.fingerprint)


# ---- From a file ----

SUFFIXES = (".csv", ".json", ".npy", ".npz")
"""Files of predictions."""
PREDICTED = ("predicted", "prediction", "predictions", "pred", "class", "label")
"""Titles of a column of predicted classes; the first one present counts."""
SCORES = ("logits", "probabilities", "scores", *PREDICTED)
"""Names of arrays in `.npz`; the first one present counts."""
LEAST_PROBABILITY = 1e-12


class _Table(NamedTuple):
    """M rows of a file: cells (M, C), text or numbers; titles of the columns and names of the images, if there are."""

    cells: NDArray[Any]
    titles: Sequence[str] | None = None
    names: Sequence[str] | None = None
    has_titles: bool = False  # perhaps, in the first row


def find_predictions(path: str | Path) -> Path:
    """The path of a file of predictions that exists; a `DataError` if it is missing or of another kind."""
    path = expanded(path)
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        raise DataError(f"{path} must be a file that exists, of one of these kinds: {', '.join(SUFFIXES)}.")
    return path


def read_predictions(
    path: str | Path, classes: Sequence[str], count: int, files: Sequence[str] | None = None
) -> tuple[Floats, str]:
    """Logits, float32 (N, K), from a file of predicted classes, probabilities or logits, and how they were read.

    A `.csv` has a line for each image: a predicted class, by name or from 0 to K-1, or a column for each class, titled
    with its name or in the order of the classes; and, in any column, the name of its file. A `.json` is a list of
    these, or an object from file names to them. A `.npy` is an array; a `.npz` has one called `logits`,
    `probabilities` or `predicted`, and may have `files` and `classes`. If all rows are not negative and sum to 1, their
    logarithms are taken. Predicted classes become rows of 0 and a single 1, without `has_probabilities`.

    `files` are the names of the files of the N images (`count`). Where the file of predictions has names, these are
    matched, never positions: full paths, else last parts, else these without their endings; by default the numbers from
    0, or from 1. A `DataError` if the file is missing or cannot be read, or holds something else.
    """
    path = find_predictions(path)
    try:
        cells, how = _match(_read(path), count, files, len(classes))
        scores = _scores(*cells, classes)
        if cells[1] is not None and len(cells[1]) > 1 and not _named(cells[1], classes):
            how += "; no column is named after a class, so they are in the order of the classes"
    except Exception as error:  # the file may hold anything anywhere
        raise DataError(f"{path} cannot be used: {printable(str(error) or type(error).__name__)[:1000]}") from error
    if (scores >= 0).all() and np.abs(scores.sum(1) - 1).max() < 0.01 and not is_one_hot(scores):
        scores = np.log(np.maximum(scores / scores.sum(1, keepdims=True), LEAST_PROBABILITY))
        how += "; its rows sum to 1, so they are probabilities"
    return scores.astype(np.float32), how


def _read(path: Path) -> _Table:
    match path.suffix.lower():
        case ".csv":
            rows = read_table(path)
            if not rows:
                raise ValueError("it is empty.")
            return _Table(_columns(np.array(rows, dtype=object)), has_titles=True)
        case ".json":
            value = parse_json(read_bytes(path).decode("utf-8-sig"))
            if isinstance(value, dict):
                return _Table(_columns(np.array(list(value.values()), dtype=object)), names=list(value))
            return _Table(_columns(np.array(value, dtype=object)))
        case ".npy":
            return _Table(_columns(load_array(path)))
    return _from_archive(path)


def _from_archive(path: Path) -> _Table:
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > max(TEXT_LIMIT, 10 * path.stat().st_size):  # scores hardly compress, unlike a zip bomb
            raise ValueError(f"its unpacked size would be {unpacked:,} bytes")
        arrays = {name.removesuffix(".npy"): read_member(archive, name) for name in archive.namelist()}
    scores = next((arrays[name] for name in SCORES if name in arrays), None)
    if scores is None:
        raise ValueError(f"it has no array called {', '.join(SCORES)} (got {', '.join(arrays)}).")
    titles, names = (arrays[key].astype(str).tolist() if key in arrays else None for key in ("classes", "files"))
    return _Table(_columns(scores), titles, names)


def _columns(array: NDArray[Any]) -> NDArray[Any]:
    """One row for each image; text is in objects, since an array of str gives every cell the longest one's length."""
    return array.reshape(len(array), -1)


def _match(
    table: _Table, count: int, files: Sequence[str] | None, num_classes: int
) -> tuple[tuple[NDArray[Any], Sequence[str] | None], str]:
    """The cells (N, C) in the order of the images without their names, the titles of the columns, and how."""
    cells, titles = table.cells, table.titles
    columns = {} if table.names is None else {-1: table.names}
    if table.has_titles and (files is not None or cells.shape[1] in (2, num_classes + 1)):
        columns = {at: cells[:, at].tolist() for at in range(cells.shape[1])}
    wanted = [files] if files is not None else [[str(i + first) for i in range(count)] for first in (0, 1)]
    matches = [(at, *_rows(names, own)) for at, names in columns.items() for own in wanted]
    at, rows, how = max(matches, key=lambda match: -match[1].count(-1), default=(-1, [-1] * count, ""))
    missing = rows.count(-1)
    if files is not None and missing and (missing < count or table.names is not None or _are_pictures(cells)):
        first = files[rows.index(-1)]
        more = f" and {missing - 1} other pictures" if missing > 1 else ""
        named = [PurePosixPath(file).name for file in files].count(PurePosixPath(first).name)
        hint = " Other pictures have its file name too: write their folders." if named > 1 else ""
        raise ValueError(f"it has no prediction for {printable(first)}{more}.{hint}")
    if missing:
        if table.has_titles and (len(cells) == count + 1 or {*map(str.casefold, cells[0])} & {*PREDICTED}):
            cells, titles = cells[1:], cells[0].tolist()
        if len(cells) != count:
            raise ValueError(f"it has predictions for {len(cells):,} images, but there are {count:,}.")
        return (cells, titles), "it has no file names, so its order must be that of the images"
    how = how if files is not None else "matched by number"
    if at < 0:
        return (cells[rows], titles), how
    return (np.delete(cells[rows], at, 1), None if 0 in rows else np.delete(cells[0], at).tolist()), how


PARTS: dict[str, Callable[[PurePosixPath], str]] = {
    "paths": lambda path: path.as_posix(),
    "folders and file names": lambda path: "/".join(path.parts[-2:]),
    "file names": lambda path: path.name,
    "file names without endings": lambda path: path.stem,
}
"""The parts of two paths that are compared: the longest that agree."""


def _rows(names: Sequence[str], files: Sequence[str]) -> tuple[list[int], str]:
    """For each file the row of its name, -1 if it has none, and which parts were compared."""
    best = [-1] * len(files), ""
    own, listed = ([PurePosixPath(name.strip().replace("\\", "/")) for name in part] for part in (files, names))
    for how, part in PARTS.items():
        keys, row_of = list(map(part, own)), {part(path): row for row, path in enumerate(listed)}
        rows = [row_of.get(key, -1) for key in keys]
        if len(set(keys)) == len(keys) and rows.count(-1) < best[0].count(-1):
            twice = Counter(map(part, listed)) & Counter(dict.fromkeys(keys, 2))
            key, times = max(twice.items(), key=lambda item: item[1])
            if times > 1 and -1 not in rows:
                raise ValueError(f"{printable(key)} occurs more than once.")
            best = rows, f"matched by {how}"
    return best


def _are_pictures(cells: NDArray[Any]) -> bool:
    """Whether a row has the name of a picture file."""
    return bool(len(cells)) and any(PurePosixPath(str(cell)).suffix.lower() in picture_suffixes() for cell in cells[-1])


def _scores(cells: NDArray[Any], titles: Sequence[str] | None, classes: Sequence[str]) -> NDArray[np.float64]:
    """Scores (N, K) from columns of scores, or from one column of classes."""
    at = {title.strip().casefold(): number for number, title in enumerate(titles or ())}
    names = [name.casefold() for name in classes]
    if all(name in at for name in names):
        return _numbers(cells[:, [at[name] for name in names]])
    column = next((at[title] for title in PREDICTED if title in at), 0 if cells.shape[1] == 1 else None)
    if column is not None:
        return np.eye(len(classes))[_indices(cells[:, column], names)]
    if cells.shape[1] == len(classes) and not _named(titles or (), classes):
        return _numbers(cells)
    shown = ", ".join(map(str, titles if titles is not None else cells[0])) if len(cells) else "nothing"
    raise ValueError(
        f"it must have a column of predicted classes, or one for each of the {len(classes)} classes "
        f"({', '.join(classes[:5])}{', ...' if len(classes) > 5 else ''}; got {printable(shown)})."
    )


def _named(titles: Sequence[str], classes: Sequence[str]) -> set[str]:
    """The titles that are names of classes or of predictions, in small letters."""
    return {title.strip().casefold() for title in titles} & {*map(str.casefold, classes), *PREDICTED}


def _numbers(cells: NDArray[Any]) -> NDArray[np.float64]:
    scores = cells.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(scores).all(1))
    if len(bad):
        raise ValueError(f"its numbers must be finite (got {cells[bad[0]]} for image {bad[0]}).")
    return scores


def _indices(cells: NDArray[Any], names: Sequence[str]) -> NDArray[np.int64]:
    """The class of each cell: its name; or, where no name is a number, an integer from 0 to K-1."""
    number_of: dict[Any, int] = {name: number for number, name in enumerate(names)}
    if not any(map(_is_number, names)):
        number_of |= {float(number): number for number in range(len(names))}
    texts = [str(cell).strip().casefold() for cell in cells]
    numbers = [number_of.get(text, number_of.get(float(text), -1) if _is_number(text) else -1) for text in texts]
    if -1 in numbers:
        image = numbers.index(-1)
        raise ValueError(
            f"its classes must be names ({', '.join(names[:5])}) or integers from 0 to {len(names) - 1} "
            f"(got {printable(str(cells[image]))} for image {image})."
        )
    return np.array(numbers, dtype=np.int64)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
