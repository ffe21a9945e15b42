"""How often people agree with verdicts that are given without them, on CIFAR-10.

    python benchmarks/verdicts.py [--run runs/fast] > results/verdicts.json

`evidence`: for each kind of evidence and each human verdict, the probability that a mistake with this verdict has more
of it than another mistake (AUC, 95 % bootstrap interval over the mistakes): 0.5 is worthless.

`chosen`: the two thresholds of `seefar.evaluation.verdict`, those of a grid with the best F0.5 on the mistakes with
even index. `networks`: the rule against the human verdicts of the mistakes with odd index, with the share of each
verdict among all of them as what chance gives. Beside it two baselines: every mistake `model`; and by loss alone, as
many verdicts of each kind, `label` to the highest losses, `hard` to the next, `model` to the lowest.

Other runs of one recipe are not at hand for these data, so published networks stand for them: for `fast` two of about
its accuracy, for the others two of the same family. They are left out of the networks that define `hard`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

import seefar
from lab.evidence import doubt, neighbour_shares, training_predictions
from lab.measuring import arguments, print_result, share
from seefar.data import load_data
from seefar.data.images import Labels
from seefar.data.reference import Reference
from seefar.evaluation.metrics import fit_temperature
from seefar.evaluation.predictions import Predictions
from seefar.evaluation.verdict import judge

FAULTS = ("label", "ambiguous", "hard", "model")
STAND_INS = ("resnet_basic_110", "vgg_15_BN_64")
FAMILIES = (
    ("resnet_basic_56", "resnet_basic_44", "resnet_basic_110"),
    ("shake_shake_26_2x32d_SSI", "shake_shake_26_2x64d_SSI", "shake_shake_26_2x96d_SSI"),
)
DOUBTFUL, CLOSE = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05), (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
RESAMPLES = 1000

Faults = NDArray[np.str_]


def human_verdicts(labels: Labels, predicted: Labels, reference: Reference, without: Sequence[str] = ()) -> Faults:
    """The verdict of people on each mistake, in order of index; some networks do not count for `hard`."""
    kept = [row for row, net in enumerate(reference.nets) if net not in without]
    nets = tuple(reference.nets[row] for row in kept)
    verdicts = seefar.triage(labels, predicted, replace(reference, nets=nets, predictions=reference.predictions[kept]))
    return np.array([verdict.fault for verdict in verdicts])


def all_evidence(
    predictions: Predictions, training: Predictions, last_layer: NDArray[np.float32]
) -> dict[str, NDArray[np.float64]]:
    """Every kind of evidence for each mistake, float (M,) by name."""
    labels, predicted = predictions.labels, predictions.predicted
    index = np.flatnonzero(predicted != labels)
    true, other = labels[index], predicted[index]
    temperature = fit_temperature(predictions.logits, labels)
    scaled = replace(predictions, logits=predictions.logits / np.float32(temperature))
    margin, entropy = doubt(predictions.logits, index, labels, temperature).T
    issues = {issue.index for issue in seefar.find_label_issues(labels, np.exp(predictions.log_probabilities))}
    found = {
        "loss": scaled.losses[index],
        "margin": margin,
        "entropy": entropy,
        "confident learning": np.array([at in issues for at in index], float),
    }
    weights = np.abs(last_layer[other] - last_layer[true])  # (M, C)
    for name, weight in (("neighbours", None), ("neighbours by what decided", weights)):
        asked = predictions.features[index], np.stack([other, true], 1), training.features, training.labels
        shares = neighbour_shares(*asked, weights=weight)
        found[f"{name}, predicted class"], found[f"{name}, true class"] = shares.T
    return found


def auc(values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> float:
    """Probability that a chosen one has the larger value; ties count half."""
    ranks, n = rankdata(values)[chosen].sum(), int(chosen.sum())
    return float((ranks - n * (n + 1) / 2) / (n * (len(values) - n)))


def worth(values: NDArray[np.float64], faults: Faults) -> dict[str, Any]:
    """The AUC for each verdict, with its bootstrap interval."""
    random = np.random.default_rng(0)
    draws = random.integers(0, len(values), (RESAMPLES, len(values)))
    return {
        fault: {
            "auc": auc(values, faults == fault),
            "interval": np.quantile(
                [auc(values[draw], faults[draw] == fault) for draw in draws], (0.025, 0.975)
            ).tolist(),
        }
        for fault in FAULTS
    }


def f_half(given: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """F0.5: precision counts twice as much as recall."""
    right, many = int((given & truth).sum()), int(given.sum())
    return 1.25 * right / max(1e-9, 0.25 * int(truth.sum()) + many)


def choose(loss: NDArray[np.float64], faults: Faults) -> dict[str, float]:
    """The thresholds with the best F0.5."""
    share = np.exp(-loss)
    return {
        "DOUBTFUL": max(DOUBTFUL, key=lambda least: f_half(share < least, faults == "label")),
        "CLOSE": max(CLOSE, key=lambda least: f_half(share >= least, faults == "model")),
    }


def score(given: Faults, faults: Faults) -> dict[str, Any]:
    """Precision and recall of each verdict, with 95 % Wilson intervals, and what chance gives."""
    rows = {}
    for fault in FAULTS:
        many, true = int((given == fault).sum()), int((faults == fault).sum())
        right = int(((given == fault) & (faults == fault)).sum())
        rows[fault] = {
            "given": many,
            "right": right,
            "precision": share(right, many),
            "recall": share(right, true),
            "by_chance": true / len(faults),
        }
    return {"n": len(faults), "unknown": int((given == "unknown").sum()), "verdicts": rows}


def by_loss(loss: NDArray[np.float64], given: Faults) -> Faults:
    """As many verdicts of each kind, from the highest loss on: `label`, `hard`, `unknown`, `ambiguous`, `model`."""
    order = ("label", "hard", "unknown", "ambiguous", "model")
    ranked = np.concatenate([np.full(int((given == fault).sum()), fault) for fault in order])
    found = np.empty_like(given)
    found[np.argsort(-loss, kind="stable")] = ranked
    return found


def score_network(
    predictions: Predictions, others: Sequence[Labels], faults: Faults, loss: NDArray[np.float64] | None
) -> dict[str, Any]:
    """The rule and its baselines on the mistakes with odd index; `loss` is None of classes without probabilities."""
    verdicts = judge(predictions, others=others)
    odd = np.array([verdict.index % 2 == 1 for verdict in verdicts])
    given = np.array([verdict.fault for verdict in verdicts])
    result = {
        "other_runs": len(others),
        "rule": score(given[odd], faults[odd]),
        "all_model": score(np.full(int(odd.sum()), "model"), faults[odd]),
    }
    return result if loss is None else {**result, "by_loss": score(by_loss(loss[odd], given[odd]), faults[odd])}


def published(fast: Predictions, reference: Reference, loss: NDArray[np.float64]) -> dict[str, Any]:
    """`fast` with two published networks as other runs, and two networks of which only the classes are known."""
    answers = dict(zip(reference.nets, reference.predictions, strict=True))
    others = [answers[name] for name in STAND_INS]
    faults = human_verdicts(fast.labels, fast.predicted, reference, STAND_INS)
    found = {"fast with two others": score_network(fast, others, faults, loss)}
    for name, *siblings in FAMILIES:
        one_hot = np.eye(len(reference.classes), dtype=np.float32)[answers[name]]
        predictions = replace(fast, logits=one_hot)
        faults = human_verdicts(fast.labels, predictions.predicted, reference, (name, *siblings))
        for others in ([], [answers[other] for other in siblings]):
            found[f"{name} with two others" if others else name] = score_network(predictions, others, faults, None)
    return found


def main() -> None:
    """Measure and print one JSON object."""
    chosen = arguments(__doc__, run="runs/fast", features=str)
    run = seefar.load_run(chosen.run)
    data, reference = load_data("cifar10"), seefar.load_reference(fetch=False)
    test, labels = data.test, data.test.labels
    predictions = Predictions.load(run.folder.predictions)
    index = np.flatnonzero(predictions.predicted != labels)
    training = training_predictions(run, data.train, chosen.features)
    features = np.zeros((len(test), training.features.shape[1]), np.float32)
    features[index] = seefar.predict(run.model, test.take(index)).features
    predictions = replace(predictions, features=features)
    faults = human_verdicts(labels, predictions.predicted, reference)
    kinds = all_evidence(predictions, training, run.model.fc.weight.detach().cpu().numpy())
    even, loss = index % 2 == 0, kinds["loss"]
    result = {
        "mistakes": len(index),
        "evidence": {name: worth(values, faults) for name, values in kinds.items()},
        "chosen": choose(loss[even], faults[even]),
        "networks": {"fast": score_network(predictions, [], faults, loss), **published(predictions, reference, loss)},
    }
    print_result(result)


if __name__ == "__main__":
    main()
