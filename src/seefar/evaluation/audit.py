"""Audits: a classifier that was trained elsewhere, or only its predictions, in a run folder without a training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from seefar.choices import BUILT_IN, DeviceName, Fit, InferencePrecision
from seefar.data import load_data
from seefar.data.images import Data, ImageSize, Split, as_image_size, check_classes
from seefar.errors import ChoiceError, DataError, RunError, printable
from seefar.evaluation.evaluate import Evaluation
from seefar.evaluation.predictions import Predictions, find_predictions, read_predictions
from seefar.model.adapt import Classifier, adapt
from seefar.model.inference import weights_fingerprint
from seefar.progress import Progress, showing
from seefar.runs.files import read_bytes, read_json, write_text
from seefar.runs.folder import RunFolder, find_run, next_folder
from seefar.runs.provenance import provenance
from seefar.runs.store import Store
from seefar.training.recipe import Recipe
from seefar.training.run import Run, load_for, load_run
from seefar.training.state import HistoryRow

PREDICTED_SIZE = 128
"""Height and width to which pictures of a folder are resized where only their predictions are known."""


@dataclass(frozen=True)
class Source:
    """What an audit evaluates; the same sources have the same folder. A field without a value is empty.

    `pictures` is the name or path of the data set; `model` the classifier in words, since no code is loaded from here;
    `run` the run folder whose network it is; `predictions` their file or a description.
    """

    pictures: str
    model: str
    run: str
    predictions: str
    classes: tuple[str, ...]
    image_size: ImageSize
    fit: Fit = "crop"


@dataclass(frozen=True, eq=False, repr=False)
class Audit:
    """A classifier that was not trained in this folder. It takes the place of a `Run` in everything after training.

    `fingerprint` is that of the weights, or of the predictions that were given. `model` and `given` are the classifier
    and the predictions, None if there are none or they are not available.
    """

    folder: RunFolder
    source: Source
    fingerprint: str
    model: nn.Module | Classifier | None = None
    given: Predictions | None = None
    history: list[HistoryRow] = field(default_factory=list, init=False)
    recipe: None = field(default=None, init=False)

    def __repr__(self) -> str:
        what = self.source.model or self.source.run or self.source.predictions
        return f"Audit({str(self.folder)!r}: {what} on {self.source.pictures})"

    @property
    def has_model(self) -> bool:
        """Whether there is a classifier, available or not."""
        return bool(self.source.model or self.source.run)

    @property
    def loads_model(self) -> bool:
        """Whether the classifier can be read from the folder: it is the network of a run, not code."""
        return bool(self.source.run)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes."""
        return self.source.classes

    @property
    def image_size(self) -> ImageSize:
        """Height and width of the pictures in pixels, or one number for both."""
        return self.source.image_size

    def cautions(self, evaluation: Evaluation, test: Split) -> list[str]:
        """One sentence each about a model at chance, and about predictions passed that are not those of the model."""
        lines, own = list(evaluation.metrics.cautions), evaluation.predictions.predicted
        if self.given is not None and (differs := np.flatnonzero(self.given.predicted != own)).size:
            files = test.files or tuple(f"image {number}" for number in range(len(own)))
            lines.append(
                f"The model and the predictions differ in {differs.size} of {len(own)} pictures, first in "
                f"{printable(files[differs[0]])}: all results are those of the model. Size, crop and normalisation of "
                "the pictures may differ."
            )
        return lines

    def save(self, store: Store, command: Sequence[str]) -> None:
        """Write `audit.json` into a folder that is locked, if it differs; a new folder gets its manifest."""
        path, text = self.folder.audit, json.dumps(asdict(self.source) | {"fingerprint": self.fingerprint}, indent=2)
        if store.root != store.folder:
            return
        if not path.exists():
            store.begin({"command": list(command), **provenance()})
        with suppress(OSError):
            if read_bytes(path, follow=False) == f"{text}\n".encode():
                return
        write_text(path, text + "\n")
        store.record(path.name)


def audit_folder(source: Source, name: str | Path | None) -> RunFolder:
    """The folder for an audit: by default the first of `audit`, `audit-2`, ... that is free or has the same source."""
    if name is None:
        return next_folder("audit", lambda folder: _conflict(folder, source))
    if conflict := _conflict(find_run(name), source):
        raise RunError(f"{conflict} Choose another name.")
    return find_run(name)


def _conflict(folder: RunFolder, source: Source) -> str | None:
    """Why a folder cannot be used for this audit, as a sentence; None if it is free or has the same source."""
    if not folder.audit.exists():
        return f"{folder} has other files." if folder.path.is_dir() and any(folder.path.glob("[!.]*")) else None
    if not folder.predictions.exists():  # an audit that failed, such as that of a broken model
        return None
    other = load_audit(folder, with_model=False).source
    pairs = ((name, getattr(other, name), value) for name, value in vars(source).items())
    odd = next(((name, old, new) for name, old, new in pairs if old != new), None)
    return odd and f"{folder} is an audit of other {odd[0].replace('_', ' ')} ({odd[1]}, not {odd[2]})."


def load_audit(folder: RunFolder, device: DeviceName = "auto", with_model: bool = True) -> Audit:
    """An audit, read back from its folder; with a network only if it is that of a run, since no code is loaded.

    A `RunError` if `audit.json` is missing or damaged, or the run is missing.
    """
    try:
        record = read_json(folder.audit, follow=False)
        fingerprint = str(record.pop("fingerprint"))
        size, classes = record.pop("image_size"), check_classes(record.pop("classes"))
        texts: Any = {name: str(value) for name, value in record.items()}
        source = Source(**texts, classes=classes, image_size=as_image_size(size))
    except (OSError, KeyError, TypeError, ValueError, IndexError, AttributeError, DataError) as error:
        raise RunError(f"{folder.audit} is damaged ({error}): delete the folder and audit again.") from error
    model = load_run(Path(source.run), device).model if source.run and with_model else None
    if model is not None and weights_fingerprint(model) != fingerprint:
        model = None  # the run was trained again
    return Audit(folder, source, fingerprint, model)


def open_finished(
    name: RunFolder | str | Path,
    data: str | None = None,
    *,
    data_dir: str | Path | None = None,
    device: DeviceName = "auto",
    precision: InferencePrecision | None = None,
    progress: Progress | None = None,
) -> tuple[Run | Audit, Data]:
    """A finished training or an audit, and its data: those that it was made with, or the data set called `data`."""
    folder = find_run(name)
    if not folder.audit.exists():
        run: Run | Audit = load_run(folder, device, precision)
    elif precision == "bfloat16":
        raise ChoiceError(f"precision must be float32 for {folder}, an audit (got bfloat16): leave it out.")
    else:
        run = load_audit(folder, device)
    return run, data_of(run.source if isinstance(run, Audit) else run.recipe, data, data_dir, progress)


def data_of(origin: Recipe | Source, name: str | None, data_dir: str | Path | None, progress: Progress | None) -> Data:
    """The data of a training or an audit, or the data set called `name`."""
    if isinstance(origin, Recipe):
        return load_for(origin, data_dir, name, progress=progress)
    options: dict[str, Any] = {"classes": origin.classes, "to_judge": True, "progress": progress}
    return load_data(name or origin.pictures, data_dir, origin.image_size, origin.fit, **options)


def prepare_audit(
    pictures: Data | Split | str | Path,
    predictions: Predictions | NDArray[Any] | str | Path | None = None,
    model: nn.Module | Classifier | Run | None = None,
    *,
    name: str | Path | None = None,
    classes: Sequence[str] | None = None,
    image_size: ImageSize | None = None,
    fit: Fit = "crop",
    model_name: str = "",
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> tuple[Audit, Data]:
    """The source of `seefar.audit`, and its data; nothing is computed or written. Arguments and errors as there."""
    if predictions is None and model is None:
        raise DataError("An audit needs predictions or a model: pass at least one of them.")
    if isinstance(predictions, str | Path):
        predictions = find_predictions(predictions)
    run = model if isinstance(model, Run) else None
    classifier = None if model is None else adapt(model.model if isinstance(model, Run) else model)
    if classifier:
        classes, image_size = classes or classifier.classes, classifier.image_size if image_size is None else image_size
    if run:
        classes, image_size, fit = run.classes, run.image_size, run.recipe.fit
    if isinstance(pictures, Split):
        pictures = Data("pictures", pictures.take([]), pictures)
    kind = type(classifier.network).__name__ if classifier else ""
    if not isinstance(pictures, Data):
        if classifier and image_size is None and str(pictures) not in BUILT_IN:
            raise ChoiceError(  # a guess misleads: a network of 32 pixels runs at 224 too, near chance
                f"The {kind} has no recorded input size: pass the size that it was trained with, such as "
                "--image-size 224, or image_size= to seefar.adapt."
            )
        size = PREDICTED_SIZE if image_size is None else image_size
        pictures = load_data(pictures, data_dir, size, fit, to_judge=True, classes=classes, progress=progress)
    given, how = _given(predictions, pictures.test)
    with showing(progress) as shown:
        if how:
            shown.line(f"{predictions}: {how}")
    fingerprint = classifier.fingerprint if classifier else given.model if given else ""
    source = Source(
        pictures=pictures.name,
        model=model_name or f"{kind} {fingerprint[:12]}" if classifier and not run else "",
        run=str(run.folder) if run else "",
        predictions="" if given is None else str(predictions) if how else f"array {given.model[:12]}",
        classes=pictures.classes,
        image_size=pictures.image_size,
        fit=fit,
    )
    return Audit(audit_folder(source, name), source, fingerprint, classifier, given), pictures


def _given(predictions: Predictions | NDArray[Any] | Path | None, test: Split) -> tuple[Predictions | None, str]:
    """The predictions that were passed, and how a file of them was read."""
    if isinstance(predictions, Path):
        logits, how = read_predictions(predictions, test.classes, len(test), test.files)
        return Predictions.of(logits, test), how
    if predictions is None or isinstance(predictions, Predictions):
        if predictions is not None and not predictions.are_for(test):
            raise DataError("The predictions are for other images: pass predictions for these pictures.")
        return predictions, ""
    return Predictions.of(predictions, test), ""
