"""Verdicts: why a mistake happened, the rules behind them, and the rule from evidence that any data set has.

`ONE_RUN` and `RUNS` define it, `docs/mistakes.md` reports how reliable it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seefar.data.images import Labels
from seefar.evaluation.calibration import fit_temperature
from seefar.evaluation.metrics import wilson_interval
from seefar.evaluation.predictions import Predictions
from seefar.model.inference import log_softmax
from seefar.runs.arrays import load_arrays, save_arrays

Fault = Literal["label", "ambiguous", "hard", "model", "unknown"]
HARD_NETS = 12
"""An image that at least this many of them get wrong is hard."""

FAULT_NAMES: dict[Fault, str] = {
    "label": "label error",
    "ambiguous": "ambiguous image",
    "hard": "hard image",
    "model": "model error",
    "unknown": "unknown cause",
}
"""The causes in words, for page and figures; files have the keys."""


@dataclass(frozen=True)
class Rule:
    """How verdicts are found: name, meaning of each verdict that it can give, definition, and reliability, in words."""

    name: str
    meaning: Mapping[Fault, str]
    definition: str
    reliability: str


HUMAN = Rule(
    "human labels",
    {
        "label": "the label is doubtful",
        "ambiguous": "people disagree",
        "hard": "other networks miss it too",
        "model": "people and most networks get it right",
    },
    "Label: people who checked the label reject it. Ambiguous: people disagree about the image. Hard: at least "
    f"{HARD_NETS} other good networks make a mistake too. Model: none of these, so a better model can repair it.",
    "People and other networks define the causes; the thresholds are conventions.",
)
"""The rule of `triage`."""


@dataclass(frozen=True)
class Verdict:
    """Why one mistake, with label `true`, happened: `fault`, and the numbers in words.

    The other fields are only of the rule `HUMAN`.

    Attributes:
        people, people_true, people_predicted: how many people classified the image, and chose either class.
        entropy: of their choices, in bits.
        confirmed: how many of five checkers confirmed the label; None if nobody checked it.
        nets, nets_wrong: how many other published networks there are to compare with, and get the image wrong.
    """

    index: int
    true: int
    predicted: int
    fault: Fault
    sentence: str
    rule: Rule = HUMAN
    people: int | None = None
    people_true: int | None = None
    people_predicted: int | None = None
    entropy: float | None = None
    confirmed: int | None = None
    nets: int | None = None
    nets_wrong: int | None = None


def rule_of(verdicts: Sequence[Verdict]) -> Rule:
    """The rule of the verdicts; human labels where there is none."""
    return verdicts[0].rule if verdicts else HUMAN


def count_faults(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """`errors`, then the count of each fault: `{"errors": 407, "label": 51, "ambiguous": 170, "hard": 92, ...}`."""
    faults = [verdict.fault for verdict in verdicts]
    return {"errors": len(faults), **{fault: faults.count(fault) for fault in rule_of(verdicts).meaning}}


def fault_columns(verdicts: Sequence[Verdict]) -> dict[str, dict[int, object]]:
    """Columns for `mistakes.csv`: column -> {index: value}; a column without any value is left out."""
    values: dict[str, Callable[[Verdict], object]] = {
        "fault": lambda verdict: verdict.fault,
        "fault_rule": lambda verdict: verdict.rule.name,
        "people": lambda verdict: verdict.people,
        "people_true": lambda verdict: verdict.people_true,
        "people_predicted": lambda verdict: verdict.people_predicted,
        "people_entropy": lambda verdict: None if verdict.entropy is None else round(verdict.entropy, 4),
        "checkers_confirmed": lambda verdict: verdict.confirmed,
        "nets": lambda verdict: verdict.nets,
        "nets_wrong": lambda verdict: verdict.nets_wrong,
        "fault_reason": lambda verdict: verdict.sentence,
    }
    columns = {
        name: {verdict.index: value for verdict in verdicts if (value := value_of(verdict)) is not None}
        for name, value_of in values.items()
    }
    return {name: column for name, column in columns.items() if column}


# ---- From evidence ----


@dataclass(frozen=True, eq=False)
class OtherRuns:
    """Predicted classes, int64 (R, N), of R runs of one recipe with other seeds, and the names of their folders."""

    names: tuple[str, ...]
    predicted: NDArray[np.int64]

    def save(self, path: Path) -> None:
        """Write an `.npz` of plain arrays, from which `load` restores the same."""
        save_arrays(path, {"names": np.array(self.names), "predicted": self.predicted})

    @classmethod
    def load(cls, path: Path) -> OtherRuns:
        """Read what `save` wrote."""
        arrays = load_arrays(path, ("names", "predicted"))
        return cls(tuple(arrays["names"].tolist()), arrays["predicted"])


DOUBTFUL, CLOSE = 0.01, 0.15
"""Probabilities of the label, after temperature scaling; chosen by `benchmarks/verdicts.py` on even indices."""
MAJORITY = 0.5
"""A model whose accuracy may be lower is no evidence against a label."""

_LABEL: dict[Fault, str] = {"label": "the label is doubtful"}
_DOUBTFUL = "Label: it has less than 1% probability, or a near-duplicate has another label."
_UNKNOWN: dict[Fault, str] = {"unknown": "the evidence does not decide"}
ONE_RUN = Rule(
    "evidence of one run",
    {**_LABEL, "model": "the label is nearly as probable", **_UNKNOWN},
    f"{_DOUBTFUL} Model: the label has at least 15% probability. Unknown: none of these.",
    "On CIFAR-10 people agree with 25% (16-36%) of the verdicts label, where chance gives 11%, and with 56% (46-65%) "
    "of model, where chance gives 39%.",
)
"""The rule of `judge` without other runs."""
RUNS = Rule(
    "evidence of several runs",
    {**_LABEL, "hard": "other seeds miss it too", "model": "other seeds get it right", **_UNKNOWN},
    f"{_DOUBTFUL} Model: all other seeds get the image right. Hard: at least two other seeds miss it too, and none "
    "gets it right. Unknown: none of these.",
    "On CIFAR-10, with two published networks as other runs, people agree with 25% (16-36%) of the verdicts label, "
    "where chance gives 11%, with 24% (16-34%) of hard, where chance gives 13%, and with 70% (59-79%) of model, where "
    "chance gives 43%.",
)
"""The rule of `judge` with the predictions of other runs."""


def judge(
    predictions: Predictions, *, copies: Mapping[int, int] | None = None, others: Sequence[Labels] = ()
) -> list[Verdict]:
    """One verdict for each mistake, in order of index, without human labels, by the rule `ONE_RUN` or `RUNS`.

    Probabilities are those after temperature scaling. `copies` is the label of the training image that a test image
    nearly equals, by index of the test image; `others` are the predicted classes of runs of the same recipe with other
    seeds, each int (N,).
    """
    labels = predictions.labels
    index = np.flatnonzero(predictions.predicted != labels)
    if not len(index):
        return []
    missed = np.array([other[index] != labels[index] for other in others]).reshape(-1, len(index)).sum(0)
    shares = np.full(len(index), np.nan)
    accurate = wilson_interval(len(labels) - len(index), len(labels))[0] > MAJORITY
    if informative := predictions.has_probabilities and accurate:
        temperature = fit_temperature(predictions.logits, labels)
        shares = np.exp(log_softmax(predictions.logits[index] / temperature))[np.arange(len(index)), labels[index]]
    verdicts = []
    for at, share, wrong in zip(index.tolist(), shares.tolist(), missed.tolist(), strict=True):
        true, copy = int(labels[at]), (copies or {}).get(at)
        reasons = [f"{predictions.classes[true]} (the label) has {share:.1%} probability"] if informative else []
        if others:
            reasons.append(f"{wrong} of {len(others)} other {'run misses' if len(others) == 1 else 'runs miss'} it")
        fault = decide(share, wrong, len(others))
        if copy is not None and copy != true:
            fault = "label"
            reasons.insert(0, f"a near-duplicate among the training images is labelled {predictions.classes[copy]}")
        rule = RUNS if others else ONE_RUN
        sentence = f"{rule.meaning[fault]}: {'; '.join(reasons or ['no evidence is available'])}"
        verdicts.append(Verdict(at, true, int(predictions.predicted[at]), fault, sentence, rule))
    return verdicts


def decide(share: float, missed: int, runs: int) -> Fault:
    """The verdict without near-duplicates, from the label's probability (nan: unknown) and the runs that miss it."""
    if share < DOUBTFUL:
        return "label"
    if missed == 0 if runs else share >= CLOSE:
        return "model"
    return "hard" if runs >= 2 and missed == runs else "unknown"
