"""The verdict on a mistake, the rule behind it, and the counts of each cause."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Fault = Literal["label", "ambiguous", "hard", "model", "unknown"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
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
    """Why one mistake, with label `true`, happened.

    Attributes:
        fault: `label`, `ambiguous`, `hard`, `model`, or `unknown`, which human labels never give.
        sentence: the numbers in words.
        rule: the rule of the verdict; the following are only of `HUMAN`.
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
        "fault": lambda one: one.fault,
        "fault_rule": lambda one: one.rule.name,
        "people": lambda one: one.people,
        "people_true": lambda one: one.people_true,
        "people_predicted": lambda one: one.people_predicted,
        "people_entropy": lambda one: None if one.entropy is None else round(one.entropy, 4),
        "checkers_confirmed": lambda one: one.confirmed,
        "nets": lambda one: one.nets,
        "nets_wrong": lambda one: one.nets_wrong,
        "fault_reason": lambda one: one.sentence,
    }
    columns = {
        name: {one.index: value for one in verdicts if (value := value_of(one)) is not None}
        for name, value_of in values.items()
    }
    return {name: column for name, column in columns.items() if column}
