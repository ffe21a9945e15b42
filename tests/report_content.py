"""Made-up content of a report, for the tests of the page: as many mistakes of a set of classes as wanted."""

from __future__ import annotations

from typing import Any

import numpy as np

from seefar.data.images import Split
from seefar.evaluation.evaluate import Evaluation, MistakeAnalysis
from seefar.evaluation.metrics import measure_calibration
from seefar.evaluation.mistakes import confused_pairs, measure_slices, tenths
from seefar.evaluation.predictions import Predictions
from seefar.evaluation.verdict import Verdict, accuracy_views, find_label_issues
from seefar.explanation.explain import Explanation
from seefar.explanation.leaks import Duplicate
from seefar.explanation.neighbours import Neighbours
from seefar.explanation.occlusion import Repair
from seefar.maps.grid import Grid
from seefar.maps.sanity import Health
from seefar.report.content import ReportContent
from seefar.training.recipe import Recipe
from seefar.training.state import HistoryRow

CLASSES = ("airplane", "cat", "dog", "ship")
OUTCOMES = ("repaired", "other", "stays")
BADGES = ("good", "fair", "poor")
FAULTS = ("label", "ambiguous", "hard", "model")


def make_content(
    count: int = 40, classes: tuple[str, ...] = CLASSES, *, cells: int = 8, seed: int = 0, **more: Any
) -> ReportContent:
    """Content with `count` mistakes among three times as many test images; every optional part is there."""
    random = np.random.default_rng(seed)
    k, n = len(classes), 3 * count
    labels = random.integers(0, k, n)
    answers = labels.copy()
    answers[:count] = (labels[:count] + 1 + random.integers(0, k - 1, count)) % k
    logits = random.normal(0, 1, (n, k)).astype(np.float32)
    logits[np.arange(n), answers] = logits.max(1) + 1
    predictions = Predictions(logits, np.zeros((n, 1), np.float32), labels, classes, "model", "images")
    evaluation = Evaluation.of(predictions)
    mistakes = evaluation.mistakes
    pair = random.normal(0, 2, (2, count, cells, cells)).astype(np.float32)
    hidden = np.zeros((count, 32, 32), bool)
    hidden[:, 8:20, 4:16] = True
    repairs = [
        Repair(
            outcome=OUTCOMES[number % 3],
            share=0.14,
            box=(8, 4, 20, 16),
            evidence=0.5,
            answer=mistake.true if number % 3 == 0 else mistake.predicted,
            answer_probability=0.75,
            predicted_before=mistake.confidence,
            predicted_after=0.125,
            true_before=mistake.true_probability,
            true_after=0.625,
            control_share=None,
        )
        for number, mistake in enumerate(mistakes)
    ]
    explanation = Explanation(
        mistakes=mistakes,
        classes=classes,
        contrast=pair[0] - pair[1],
        predicted=pair[0],
        true=pair[1],
        hidden=hidden,
        repairs=repairs,
        health=[Health(BADGES[n % 3], ("a reason",) * (n % 3)) for n in range(count)],
        grid=Grid((cells, cells), 32 / cells, (32 / cells - 1) / 2),
        method="gradcam",
        layer=None,
        cells=None,
        hide="blur",
        damaged=np.zeros(0, bool),
        model="model",
        images="images",
    )
    verdicts = [
        Verdict(
            index=m.index,
            true=m.true,
            predicted=m.predicted,
            fault=FAULTS[m.index % 4],
            sentence=f"sentence of {m.index}",
            entropy=m.index * 37 % 101 / 100,
        )
        for m in mistakes
    ]
    index = np.flatnonzero(labels != answers)
    near = [np.stack([random.permutation(9)[:3] for _ in index]) + 9 * group for group in (0, 1)]
    copies = tuple(Duplicate(mistake.index, 4321, 0.875, True) for mistake in mistakes[:1])
    neighbours = Neighbours(index, *near, *(one / 20 for one in near), copies, "model", "training", "images")
    images = random.integers(0, 256, (n, 32, 32, 3), np.uint8)
    kinds = tenths(images)
    analysis = MistakeAnalysis(
        classes,
        verdicts,
        accuracy_views(labels, answers),
        find_label_issues(labels, np.exp(predictions.log_probabilities), classes),
        confused_pairs(labels, answers, k),
        measure_slices(kinds, answers != labels),
        {name: frozenset(np.flatnonzero(inside).tolist()) for name, (inside, _) in kinds.items()},
        cautions=[],
        trusts_model=True,
    )
    values: dict[str, Any] = {
        "name": "made-up",
        "data": "cifar10",
        "test": Split(images, labels, classes),
        "evaluation": evaluation,
        "history": [
            HistoryRow(step, 1 + step // 11, 1.0 * step, 32, 0.1, 2 / step, 1 - 1 / step) for step in range(2, 21)
        ],
        "recipe": Recipe(),
        "command": ["seefar", "run", "demo", "--data", "my photos"],
        "provenance": {"commit": None, "packages": {"torch": "2"}},
        "explanation": explanation,
        "analysis": analysis,
        "votes": random.integers(0, 9, (n, k)),
        "neighbours": neighbours,
        "train": Split(random.integers(0, 256, (18, 32, 32, 3), np.uint8), np.arange(18) % k, classes),
        "calibration": measure_calibration(logits, labels),
    }
    return ReportContent(**{**values, **more})
