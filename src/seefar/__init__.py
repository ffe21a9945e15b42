"""seefar: train a ResNet-18 on CIFAR-10, find every test image it gets wrong, and see why.

    data = seefar.load_data("cifar10")
    run = seefar.train(seefar.recipe("quick"), data)
    mistakes = seefar.find_mistakes(seefar.predict(run.model, data.test))

Names are imported when they are first used, so that `import seefar` loads neither torch nor matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seefar.data import load_data
    from seefar.data.reference import Reference, load_reference
    from seefar.errors import SeefarError
    from seefar.evaluation.calibration import measure_calibration
    from seefar.evaluation.comparison import compare
    from seefar.evaluation.evaluate import evaluate
    from seefar.evaluation.label_issues import LabelIssues, find_label_issues
    from seefar.evaluation.metrics import measure
    from seefar.evaluation.mistakes import find_mistakes
    from seefar.evaluation.predictions import predict
    from seefar.evaluation.temperature import fit_temperature
    from seefar.evaluation.triage import Verdict, triage
    from seefar.explanation.explain import explain
    from seefar.maps.class_maps import class_maps
    from seefar.maps.formulas import (
        gradcam,
        gradcam_plus_plus,
        hirescam,
        layercam,
    )
    from seefar.maps.gradient_free import eigencam, scorecam
    from seefar.maps.methods import contrast_map, map_status
    from seefar.model.resnet import ResNet18
    from seefar.model.twin import dense_twin
    from seefar.report.charts import plot_confusion, plot_faults, plot_reliability
    from seefar.report.comparison import plot_comparison
    from seefar.report.figures import plot_history, plot_maps, plot_mistakes
    from seefar.training.loop import train
    from seefar.training.recipe import Recipe, recipe
    from seefar.training.run import load_run

__version__ = "0.1.0"

_HOMES = {
    "load_data": "data",
    "SeefarError": "errors",
    "measure_calibration": "evaluation.calibration",
    "compare": "evaluation.comparison",
    "evaluate": "evaluation.evaluate",
    "measure": "evaluation.metrics",
    "find_mistakes": "evaluation.mistakes",
    "predict": "evaluation.predictions",
    "fit_temperature": "evaluation.temperature",
    "explain": "explanation.explain",
    "class_maps": "maps.class_maps",
    "contrast_map": "maps.methods",
    "eigencam": "maps.gradient_free",
    "gradcam": "maps.formulas",
    "gradcam_plus_plus": "maps.formulas",
    "hirescam": "maps.formulas",
    "layercam": "maps.formulas",
    "map_status": "maps.methods",
    "scorecam": "maps.gradient_free",
    "ResNet18": "model.resnet",
    "dense_twin": "model.twin",
    "plot_confusion": "report.charts",
    "plot_faults": "report.charts",
    "plot_reliability": "report.charts",
    "plot_comparison": "report.comparison",
    "plot_history": "report.figures",
    "plot_maps": "report.figures",
    "plot_mistakes": "report.figures",
    "train": "training.loop",
    "Recipe": "training.recipe",
    "recipe": "training.recipe",
    "load_run": "training.run",
    "Reference": "data.reference",
    "load_reference": "data.reference",
    "LabelIssues": "evaluation.label_issues",
    "find_label_issues": "evaluation.label_issues",
    "Verdict": "evaluation.triage",
    "triage": "evaluation.triage",
}

__all__ = [
    "LabelIssues",
    "Recipe",
    "Reference",
    "ResNet18",
    "SeefarError",
    "Verdict",
    "__version__",
    "class_maps",
    "compare",
    "contrast_map",
    "dense_twin",
    "eigencam",
    "evaluate",
    "explain",
    "find_label_issues",
    "find_mistakes",
    "fit_temperature",
    "gradcam",
    "gradcam_plus_plus",
    "hirescam",
    "layercam",
    "load_data",
    "load_reference",
    "load_run",
    "map_status",
    "measure",
    "measure_calibration",
    "plot_comparison",
    "plot_confusion",
    "plot_faults",
    "plot_history",
    "plot_maps",
    "plot_mistakes",
    "plot_reliability",
    "predict",
    "recipe",
    "scorecam",
    "train",
    "triage",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'seefar' has no attribute {name!r}")
    return getattr(import_module(f"seefar.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
