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
    from seefar.data import load_data as load_data
    from seefar.data.images import Data as Data
    from seefar.data.images import Split as Split
    from seefar.data.reference import load_reference as load_reference
    from seefar.errors import ChoiceError as ChoiceError
    from seefar.errors import DataError as DataError
    from seefar.errors import RecipeError as RecipeError
    from seefar.errors import RunError as RunError
    from seefar.errors import SeefarError as SeefarError
    from seefar.evaluation.evaluate import Evaluation as Evaluation
    from seefar.evaluation.evaluate import analyse_mistakes as analyse_mistakes
    from seefar.evaluation.evaluate import evaluate as evaluate
    from seefar.evaluation.mistakes import Mistake as Mistake
    from seefar.evaluation.mistakes import find_mistakes as find_mistakes
    from seefar.evaluation.predictions import Predictions as Predictions
    from seefar.evaluation.predictions import predict as predict
    from seefar.evaluation.triage import find_label_issues as find_label_issues
    from seefar.evaluation.triage import triage as triage
    from seefar.explanation.explain import explain as explain
    from seefar.explanation.explanation import Explanation as Explanation
    from seefar.explanation.pictures import predict_pictures as predict_pictures
    from seefar.maps.formulas import class_maps as class_maps
    from seefar.maps.formulas import contrast_map as contrast_map
    from seefar.maps.formulas import gradcam as gradcam
    from seefar.maps.formulas import gradcam_plus_plus as gradcam_plus_plus
    from seefar.maps.formulas import hirescam as hirescam
    from seefar.maps.formulas import layercam as layercam
    from seefar.model.adapt import adapt as adapt
    from seefar.model.resnet import ResNet18 as ResNet18
    from seefar.pipeline import audit as audit
    from seefar.pipeline import compare_runs as compare_runs
    from seefar.pipeline import evaluate_run as evaluate_run
    from seefar.pipeline import explain_run as explain_run
    from seefar.pipeline import report_run as report_run
    from seefar.pipeline import run as run
    from seefar.progress import SILENT as SILENT
    from seefar.report.charts import plot_comparison as plot_comparison
    from seefar.report.charts import plot_history as plot_history
    from seefar.report.figures import plot_map as plot_map
    from seefar.report.figures import plot_maps as plot_maps
    from seefar.report.figures import plot_mistakes as plot_mistakes
    from seefar.report.figures import plot_picture as plot_picture
    from seefar.report.page import show_report as show_report
    from seefar.report.page import write_report as write_report
    from seefar.runs.folder import verify as verify
    from seefar.training.loop import train as train
    from seefar.training.recipe import Recipe as Recipe
    from seefar.training.recipe import recipe as recipe
    from seefar.training.run import Run as Run
    from seefar.training.run import load_run as load_run

__version__ = "0.1.0"

_NAMES = {
    "data": "load_data",
    "data.images": "Data Split",
    "data.reference": "load_reference",
    "errors": "ChoiceError DataError RecipeError RunError SeefarError",
    "evaluation.evaluate": "Evaluation analyse_mistakes evaluate",
    "evaluation.mistakes": "Mistake find_mistakes",
    "evaluation.predictions": "Predictions predict",
    "evaluation.triage": "find_label_issues triage",
    "explanation.explain": "explain",
    "explanation.explanation": "Explanation",
    "explanation.pictures": "predict_pictures",
    "maps.formulas": "class_maps contrast_map gradcam gradcam_plus_plus hirescam layercam",
    "model.adapt": "adapt",
    "model.resnet": "ResNet18",
    "pipeline": "audit compare_runs evaluate_run explain_run report_run run",
    "progress": "SILENT",
    "report.charts": "plot_comparison plot_history",
    "report.figures": "plot_map plot_maps plot_mistakes plot_picture",
    "report.page": "show_report write_report",
    "runs.folder": "verify",
    "training.loop": "train",
    "training.recipe": "Recipe recipe",
    "training.run": "Run load_run",
}
"""The public names of each module."""

_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}
"""Every public name, and the module it is imported from when it is first used."""

__all__ = ["__version__", *_HOMES]  # computed from the table


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'seefar' has no attribute {name!r}")
    return getattr(import_module(f"seefar.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
