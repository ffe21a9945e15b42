"""The model card: front matter that YAML reads, figures of the metrics, no claim without them."""

from __future__ import annotations

import numpy as np
import yaml

from seefar.evaluation.metrics import Metrics, measure
from seefar.report.tables import model_card
from seefar.training.recipe import recipe

CLASSES = ("cat", "<img src=x>|dog")


def metrics_of_three() -> Metrics:
    labels, predicted = np.array([0, 1, 1]), np.array([0, 0, 1])
    return measure(labels, predicted, np.zeros(3), CLASSES)


def test_front_matter_holds_the_accuracy() -> None:
    text = model_card(recipe("fast"), CLASSES, metrics_of_three(), ["weights.safetensors", "model.onnx"])
    front = yaml.safe_load(text.split("---")[1])
    assert front["license"] == "mit"
    assert front["datasets"] == ["uoft-cs/cifar10"]
    assert front["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.6667
    assert "66.67% of 3 test images" in text
    assert "| cat | 1 | 100.0% |" in text
    assert "<img" not in text


def test_without_metrics_no_accuracy_is_claimed() -> None:
    text = model_card(recipe("demo"), CLASSES, None, [])
    assert "model-index" not in yaml.safe_load(text.split("---")[1])
    assert "not evaluated" in text
    assert "%" not in text
