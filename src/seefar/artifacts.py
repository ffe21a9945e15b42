"""The table of artifacts: every file that a run produces after training, how it is computed, and from what.

Dependencies are declared only here. `seefar.runs.store` decides whether a file is still valid.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from seefar.choices import Choices
from seefar.data.images import Data, Split
from seefar.data.reference import Reference, has_reference, load_reference
from seefar.errors import DataError, RunError
from seefar.evaluation.audit import Audit
from seefar.evaluation.evaluate import Evaluation, MistakeAnalysis, analyse_mistakes, evaluate
from seefar.evaluation.metrics import Calibration, fit_temperature, measure_calibration
from seefar.evaluation.mistakes import Mistake, find_mistakes
from seefar.evaluation.predictions import predict
from seefar.evaluation.verdict import OtherRuns, count_faults, fault_columns, issue_columns, rule_of
from seefar.explanation.explain import Explanation, MapSettings, explain_in_parts, normalise_map_settings
from seefar.explanation.leaks import Leaks, find_leaks
from seefar.explanation.neighbours import Neighbours, find_neighbours
from seefar.progress import Progress
from seefar.report.charts import plot_confusion, plot_faults, plot_history, plot_reliability
from seefar.report.content import Beside, ReportContent
from seefar.report.figures import plot_gradcam_grid, plot_maps, plot_mistakes
from seefar.report.page import render_report
from seefar.report.style import save_figure
from seefar.report.tables import files_table, mistakes_csv, neighbours_table, occlusion_table
from seefar.runs.files import read_json, write_text
from seefar.runs.provenance import source_fingerprint
from seefar.runs.store import Artifact, Store
from seefar.training.run import Run

_INCOMPLETE: set[str | Path | None] = set()
"""Folders whose reference data could not be downloaded: a process tries it once, since it takes 3 seconds offline."""


@dataclass(eq=False)
class Job:
    """What one command works on; the artifacts compute their values from it."""

    run: Run | Audit
    data: Data  # that of the run, or another one of the same classes and image size
    choices: Choices  # which mistakes are shown, and how they are explained
    data_dir: str | Path | None  # where the reference data are kept
    progress: Progress
    others: OtherRuns | None = None  # with other seeds; None: those in the folder, if any
    beside: Beside | None = None  # another run that the page compares with
    to_explain: list[Mistake] = field(default_factory=list, init=False)  # besides those that are shown
    store: Store = field(init=False)  # set when the folder is opened
    _analyses: dict[tuple[Neighbours | None, OtherRuns | None], tuple[MistakeAnalysis, Leaks | None]] = field(
        default_factory=dict, init=False
    )

    def fact(self, name: str) -> str | None:
        """The inputs of artifacts that are not artifacts themselves; None if an input is currently unknown."""
        if name == "weights":
            return self.run.fingerprint
        if name == "test":
            return split_fact(self.data.test)
        if name == "train":
            return self.data.train.fingerprint
        if name == "held out":
            return self.data.train.fingerprint if self.run.recipe and self.run.recipe.held_out else "none"
        if name == "history":
            return _hash([asdict(row) for row in self.run.history]) if self.run.history else None
        if name == "origin":
            return _hash(self.store.manifest.get("training"))
        if name == "other seeds":
            return None if self.others is None else _hash([self.others.names, self.others.predicted.tolist()])
        assert name == "reference"
        if self.reference is None:
            return "unread" if has_reference(self.data.test) else None
        return self.reference.labels_sha256  # the files are checked by their checksums

    @property
    def model(self) -> Any:
        """The network; `RunError` if it is not available."""
        if self.run.model is None:
            raise RunError(
                f"{self.run.folder} has no model to compute with, since code is not loaded from a folder: pass it to "
                "`seefar audit` again, with the predictions and the same pictures."
            )
        return self.run.model

    @property
    def precision(self) -> str | None:
        """Of the convolutions, if it is not float32; see `seefar.load_run`."""
        network = getattr(self.run.model, "network", self.run.model)  # an audit may have a `Classifier`
        return "bfloat16" if getattr(network, "in_bfloat16", False) else None

    @cached_property
    def map_settings(self) -> MapSettings:
        """How mistakes are explained, normalised."""
        return normalise_map_settings(self.model, self.run.image_size, self.choices)

    @cached_property
    def reference(self) -> Reference | None:
        """Votes of people and predictions of other networks for the test images; None if there are none to load."""
        if not has_reference(self.data.test):
            return None
        try:
            return load_reference(self.data_dir, fetch=self.data_dir not in _INCOMPLETE, progress=self.progress)
        except DataError as error:
            _INCOMPLETE.add(self.data_dir)
            self.progress.line(f"the causes are from evidence, not from human labels: {error}")
            return None

    @property
    def evaluation(self) -> Evaluation:
        """Predictions, metrics and mistakes."""
        return self.store.get(PREDICTIONS)

    @property
    def analysis(self) -> MistakeAnalysis:
        """Faults, accuracy views, label issues, confused pairs, slices; faults from evidence without human labels."""
        return self._analyse()[0]

    @property
    def leaks(self) -> Leaks | None:
        """The images that test and training set share; None until the neighbours are computed."""
        return self._analyse()[1]

    def _analyse(self) -> tuple[MistakeAnalysis, Leaks | None]:
        neighbours, seeds = known = self.store.peek(NEIGHBOURS), self.store.peek(SEEDS)
        if known not in self._analyses:
            predictions, test, train = self.evaluation.predictions, self.data.test, self.data.train
            leaks = None
            if neighbours is not None:
                leaks = find_leaks(test, train, predictions.predicted, duplicates=neighbours.duplicates)
            copies = {copy.index: int(train.labels[copy.training]) for copy in leaks.other_label} if leaks else {}
            others = () if seeds is None else tuple(seeds.predicted)
            analysis = analyse_mistakes(predictions, test, self.reference, copies=copies, others=others)
            self._analyses[known] = analysis, leaks
        return self._analyses[known]

    @property
    def calibrations(self) -> Calibrations:
        """How well the probabilities agree with the accuracy."""
        return self.store.get(CALIBRATION)

    @cached_property
    def shown(self) -> list[Mistake]:
        """The mistakes in the figures, in their order."""
        c = self.choices
        return find_mistakes(self.evaluation.predictions, c.order, true=c.true, predicted=c.predicted)[: c.top]

    def result(self) -> Result:
        """What is known now."""
        maps, near = self.store.peek(MAPS), self.store.peek(NEIGHBOURS)
        return Result(self.run, self.evaluation, self.analysis, self.calibrations, maps, self.shown, near, self.leaks)


@dataclass(frozen=True, repr=False)
class Result:
    """What `seefar.run`, `explain_run` and `audit` return.

    `explanation` is None for an audit without a model; `shown` are the mistakes in the figures, in their order;
    `neighbours` and `leaks` are None if they were not computed.
    """

    run: Run | Audit
    evaluation: Evaluation
    analysis: MistakeAnalysis
    calibrations: Calibrations
    explanation: Explanation | None
    shown: list[Mistake]
    neighbours: Neighbours | None
    leaks: Leaks | None

    def __repr__(self) -> str:
        return f"Result({self.run!r}, {self.evaluation!r})"


@dataclass(frozen=True)
class Calibrations:
    """Calibration of a run without, and with a temperature fitted on the held-out images; None where unknown."""

    plain: Calibration | None
    after_temperature: Calibration | None

    @property
    def sections(self) -> dict[str, Any]:
        """Sections of `metrics.json`."""
        sections = {"calibration": self.plain, "calibration_after_temperature": self.after_temperature}
        return {name: asdict(values) for name, values in sections.items() if values is not None}

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        _save_json(asdict(self), path)

    @classmethod
    def load(cls, path: Path) -> Calibrations:
        """Read what `save` wrote."""
        values = read_json(path)
        both = (values[name] for name in ("plain", "after_temperature"))
        return cls(*(None if saved is None else Calibration.from_dict(saved) for saved in both))


def _calibrate(job: Job) -> Calibrations:
    predictions, run = job.evaluation.predictions, job.run
    if not predictions.has_probabilities:
        return Calibrations(None, None)
    plain = measure_calibration(predictions.logits, predictions.labels)
    if not (run.recipe and run.recipe.held_out):
        return Calibrations(plain, None)
    if run.trained_on != job.data.train.fingerprint:
        job.progress.line("no temperature is fitted, since the training images are not those of the training")
        return Calibrations(plain, None)
    _, held_out_images = job.data.hold_out(run.recipe.held_out, run.recipe.seed)
    held_out = predict(job.model, held_out_images, progress=job.progress)
    temperature = fit_temperature(held_out.logits, held_out.labels)
    return Calibrations(plain, measure_calibration(predictions.logits, predictions.labels, temperature))


def _metrics(job: Job) -> dict[str, Any]:
    leaks = {"leaks": None if job.leaks is None else job.leaks.summary}
    return {"test": asdict(job.evaluation.metrics), **job.analysis.sections, **leaks, **job.calibrations.sections}


def _explain(job: Job) -> Iterator[Explanation] | None:
    """The mistakes that are shown first, then the others; those that are explained already are kept."""
    if not job.run.has_model:
        return None
    return explain_in_parts(
        job.model,
        job.data.test,
        job.evaluation.predictions,
        [*job.shown, *job.to_explain],
        settings=job.map_settings,
        known=job.store.peek(MAPS) if job.store.fresh(MAPS) else None,
        progress=job.progress,
    )


def _all_explained(job: Job, explanation: Explanation) -> bool:
    explained = {mistake.index for mistake in explanation.mistakes}
    complete = len(explained) == len(job.evaluation.mistakes)
    tried = len(explanation.damaged) > 0 or not complete or not explained
    return tried and explained >= {mistake.index for mistake in (*job.shown, *job.to_explain)}


def _table(job: Job) -> str:
    maps, neighbours = job.store.peek(MAPS), job.store.peek(NEIGHBOURS)
    columns = [
        files_table(job.data.test),
        {} if maps is None else occlusion_table(maps, job.data.classes),
        fault_columns(job.analysis.verdicts),
        {} if job.analysis.issues is None else issue_columns(job.analysis.issues),
        {} if neighbours is None else neighbours_table(neighbours),
    ]
    return mistakes_csv(job.evaluation.mistakes, job.data.classes, *columns)


def page_content(job: Job) -> ReportContent:
    """Everything that the report shows."""
    origin = dict(job.store.manifest.get("training", {}))
    sessions = origin.pop("sessions", [])
    origin["trained on"] = "; ".join(f"{session['device']} in {session['precision']}" for session in sessions) or None
    return ReportContent(
        name=job.run.folder.path.name,
        data=job.data.name,
        test=job.data.test,
        evaluation=job.evaluation,
        calibration=job.calibrations.plain,
        calibration_after=job.calibrations.after_temperature,
        explanation=job.store.peek(MAPS),
        neighbours=job.store.peek(NEIGHBOURS),
        leaks=job.leaks,
        train=job.data.train,
        analysis=job.analysis,
        votes=None if job.reference is None else job.reference.counts,
        beside=job.beside,
        history=job.run.history,
        recipe=job.run.recipe,
        command=origin.pop("command", ()),
        provenance=origin,
    )


def _reliability(job: Job) -> Figure | None:
    plain, after = job.calibrations.plain, job.calibrations.after_temperature
    return None if plain is None else plot_reliability(plain, job.evaluation.predictions.confidence, after)


def _figure(
    name: str, compute: Callable[[Job], Figure | None], of: tuple[Artifact[Any] | str, ...], **more: Any
) -> Artifact[Figure]:
    return Artifact(f"figures/{name}.png", compute, save_figure, of=of, **more)


def _figure_of_maps(name: str, plot: Callable[[Explanation, Split], Figure]) -> Artifact[Figure]:
    """A figure of the maps of the shown mistakes."""

    def compute(job: Job) -> Figure | None:
        maps = job.store.peek(MAPS)
        return plot(maps.of(job.shown), job.data.test) if maps is not None and job.shown else None

    return _figure(name, compute, (MAPS, PREDICTIONS, "test"), settings=_shown_settings, version=2)


def _neighbours(job: Job) -> Neighbours | None:
    predictions = job.evaluation.predictions
    if not len(job.data.train):
        return None
    if not job.run.has_model:
        return find_neighbours(predictions, None, job.data)
    if predictions.features.shape[1] == 0:  # shipped without, since they are 98% of the file
        predictions = predict(job.model, job.data.test, progress=job.progress)
    stage = "features of the training images"
    training = predict(job.model, job.data.train, progress=job.progress, stage=stage)
    return find_neighbours(predictions, training, job.data)


def _map_settings(job: Job) -> list[Any]:
    return [job.map_settings.method, job.map_settings.layer, job.map_settings.cells, job.map_settings.hide]


def _shown_settings(job: Job) -> list[Any]:
    return [job.choices.top, job.choices.order, job.choices.true, job.choices.predicted]


def _page_settings(job: Job) -> list[Any]:
    """Also the source of seefar, so that the page is written again after each change of it."""
    other = None if job.beside is None else job.beside.fingerprint
    return [job.run.folder.path.name, job.data.name, other, source_fingerprint()]


def _save_text(text: str, path: Path) -> None:
    write_text(path, text.encode("utf-8", "replace").decode())  # the name of a data folder need not be UTF-8


def _save_json(value: Any, path: Path) -> None:
    _save_text(json.dumps(value, indent=2) + "\n", path)


PREDICTIONS = Artifact(
    "predictions.npz",
    compute=lambda job: (
        Evaluation.of(job.run.given)
        if job.run.given is not None and not job.run.has_model
        else evaluate(job.model, job.data.test, progress=job.progress)
    ),
    save=Evaluation.save,
    load=Evaluation.load,
    of=("weights", "test"),
    settings=lambda job: job.precision,
)
CALIBRATION = Artifact(
    "calibration.json", compute=_calibrate, save=Calibrations.save, load=Calibrations.load, of=(PREDICTIONS, "held out")
)
MAPS = Artifact(
    "maps.npz",
    compute=_explain,
    save=Explanation.save,
    load=Explanation.load,
    of=(PREDICTIONS, "weights", "test"),
    settings=_map_settings,
    enough=_all_explained,
)
NEIGHBOURS = Artifact(
    "neighbours.npz",
    compute=_neighbours,
    save=Neighbours.save,
    load=Neighbours.load,
    of=(PREDICTIONS, "weights", "train"),
    version=3,
)
SEEDS = Artifact(
    "seeds.npz",
    compute=lambda job: job.others,
    save=OtherRuns.save,
    load=OtherRuns.load,
    of=("test", "other seeds"),
)
METRICS = Artifact(
    "metrics.json",
    compute=_metrics,
    save=_save_json,
    of=(PREDICTIONS, CALIBRATION, "reference"),
    shows=(NEIGHBOURS, SEEDS),
    version=3,
)
SUMMARY = Artifact(
    "explanation.json",
    compute=lambda job: None if (maps := job.store.peek(MAPS)) is None else maps.summary(),
    save=_save_json,
    of=(MAPS, PREDICTIONS),
)
TABLE = Artifact(
    "mistakes.csv",
    compute=_table,
    save=_save_text,
    of=(PREDICTIONS, "reference"),
    shows=(MAPS, NEIGHBOURS, SEEDS),
    settings=lambda job: source_fingerprint(),
    sealed=True,
)
HISTORY_FIGURE = _figure(
    "history",
    lambda job: plot_history(job.run.history, job.evaluation.metrics.accuracy) if job.run.history else None,
    (PREDICTIONS, "history"),
)
MISTAKES_FIGURE = _figure(
    "mistakes",
    lambda job: plot_mistakes(job.shown, job.data.test) if job.shown else None,
    (PREDICTIONS, "test"),
    settings=_shown_settings,
    version=2,
)
MAPS_FIGURE = _figure_of_maps("maps", plot_maps)
ASSIGNMENT_FIGURE = _figure_of_maps("assignment", plot_gradcam_grid)
CONFUSION_FIGURE = _figure(
    "confusion",
    lambda job: plot_confusion(job.evaluation.metrics.confusion, job.data.classes),
    (PREDICTIONS,),
    version=2,
)
RELIABILITY_FIGURE = _figure("reliability", _reliability, (PREDICTIONS, CALIBRATION))
FAULTS_FIGURE = _figure(
    "faults",
    lambda job: plot_faults(count_faults(job.analysis.verdicts), rule_of(job.analysis.verdicts)),
    (PREDICTIONS, "reference"),
    shows=(NEIGHBOURS, SEEDS),
    version=2,
)
PAGE = Artifact(
    "report.html",
    compute=lambda job: render_report(page_content(job)),
    save=_save_text,
    of=(PREDICTIONS, CALIBRATION, "history", "reference", "origin"),
    shows=(MAPS, NEIGHBOURS, SEEDS),
    settings=_page_settings,
    sealed=True,
)

EVALUATED = (
    *(PREDICTIONS, CALIBRATION, METRICS, TABLE),
    *(HISTORY_FIGURE, CONFUSION_FIGURE, RELIABILITY_FIGURE, FAULTS_FIGURE),
)
EXPLAINED = (MAPS, MAPS_FIGURE, ASSIGNMENT_FIGURE, SUMMARY, TABLE, PAGE)
"""What a command computes in turn, the most useful files first; each page shows what is computed so far."""
ARTIFACTS: Sequence[Artifact[Any]] = (*EVALUATED, MISTAKES_FIGURE, *EXPLAINED, NEIGHBOURS, SEEDS)


def read_store(run: Run | Audit, test: Split | None = None) -> Store:
    """The files of a run, for reading only: those present are of these weights and, if they are given, images."""
    facts = {"weights": run.fingerprint, "test": None if test is None else split_fact(test)}
    return Store(run.folder.path, facts.get)


def split_fact(split: Split) -> str:
    """The inputs that a file computed from a split depends on: images, labels and file names."""
    return split.fingerprint if split.files is None else _hash([split.fingerprint, split.files])


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
