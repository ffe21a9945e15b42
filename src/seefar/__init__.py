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
    from seefar.choices import Choices as Choices
    from seefar.compared_runs import compare_runs as compare_runs
    from seefar.data import load_data as load_data
    from seefar.data.images import Data as Data
    from seefar.data.images import Split as Split
    from seefar.data.reference import Reference as Reference
    from seefar.data.reference import load_reference as load_reference
    from seefar.errors import ChoiceError as ChoiceError
    from seefar.errors import DataError as DataError
    from seefar.errors import DeviceError as DeviceError
    from seefar.errors import DivergedError as DivergedError
    from seefar.errors import Interrupted as Interrupted
    from seefar.errors import MapError as MapError
    from seefar.errors import RecipeError as RecipeError
    from seefar.errors import RunError as RunError
    from seefar.errors import SeefarError as SeefarError
    from seefar.evaluation.calibration import Calibration as Calibration
    from seefar.evaluation.calibration import fit_temperature as fit_temperature
    from seefar.evaluation.calibration import measure_calibration as measure_calibration
    from seefar.evaluation.comparison import Comparison as Comparison
    from seefar.evaluation.comparison import compare as compare
    from seefar.evaluation.evaluate import Evaluation as Evaluation
    from seefar.evaluation.evaluate import MistakeAnalysis as MistakeAnalysis
    from seefar.evaluation.evaluate import analyse_mistakes as analyse_mistakes
    from seefar.evaluation.evaluate import evaluate as evaluate
    from seefar.evaluation.label_issues import LabelIssue as LabelIssue
    from seefar.evaluation.label_issues import LabelIssues as LabelIssues
    from seefar.evaluation.label_issues import find_label_issues as find_label_issues
    from seefar.evaluation.metrics import ClassMetrics as ClassMetrics
    from seefar.evaluation.metrics import Metrics as Metrics
    from seefar.evaluation.metrics import measure as measure
    from seefar.evaluation.mistakes import ClassMistakes as ClassMistakes
    from seefar.evaluation.mistakes import ConfusedPair as ConfusedPair
    from seefar.evaluation.mistakes import ErrorSlice as ErrorSlice
    from seefar.evaluation.mistakes import Mistake as Mistake
    from seefar.evaluation.mistakes import confused_pairs as confused_pairs
    from seefar.evaluation.mistakes import error_slices as error_slices
    from seefar.evaluation.mistakes import find_mistakes as find_mistakes
    from seefar.evaluation.mistakes import mistakes_by_class as mistakes_by_class
    from seefar.evaluation.predictions import Predictions as Predictions
    from seefar.evaluation.predictions import predict as predict
    from seefar.evaluation.predictions import read_predicted as read_predicted
    from seefar.evaluation.triage import AccuracyView as AccuracyView
    from seefar.evaluation.triage import Verdict as Verdict
    from seefar.evaluation.triage import accuracy_views as accuracy_views
    from seefar.evaluation.triage import triage as triage
    from seefar.explanation.explain import Explanation as Explanation
    from seefar.explanation.explain import explain as explain
    from seefar.explanation.health import Health as Health
    from seefar.explanation.neighbours import Neighbours as Neighbours
    from seefar.explanation.neighbours import find_neighbours as find_neighbours
    from seefar.explanation.neighbours import training_features as training_features
    from seefar.explanation.occlusion import Repair as Repair
    from seefar.explanation.occlusion import RepairRates as RepairRates
    from seefar.explanation.pictures import PicturePrediction as PicturePrediction
    from seefar.explanation.pictures import predict_pictures as predict_pictures
    from seefar.maps.class_maps import ClassMaps as ClassMaps
    from seefar.maps.class_maps import class_maps as class_maps
    from seefar.maps.class_maps import contrast_map as contrast_map
    from seefar.maps.class_maps import map_status as map_status
    from seefar.maps.formulas import gradcam as gradcam
    from seefar.maps.formulas import gradcam_plus_plus as gradcam_plus_plus
    from seefar.maps.formulas import hirescam as hirescam
    from seefar.maps.formulas import layercam as layercam
    from seefar.maps.grid import Grid as Grid
    from seefar.maps.grid import rank_pixels as rank_pixels
    from seefar.maps.grid import to_pixels as to_pixels
    from seefar.maps.sanity import evidence_inside as evidence_inside
    from seefar.maps.sanity import find_origin as find_origin
    from seefar.maps.sanity import flip_agreement as flip_agreement
    from seefar.maps.sanity import pointing_hits as pointing_hits
    from seefar.maps.sanity import randomized as randomized
    from seefar.maps.sanity import rank_correlation as rank_correlation
    from seefar.model.resnet import ResNet18 as ResNet18
    from seefar.model.resnet import dense_twin as dense_twin
    from seefar.pipeline import Result as Result
    from seefar.pipeline import evaluate_run as evaluate_run
    from seefar.pipeline import explain_run as explain_run
    from seefar.pipeline import report_run as report_run
    from seefar.pipeline import run as run
    from seefar.progress import SILENT as SILENT
    from seefar.progress import Progress as Progress
    from seefar.report.charts import plot_comparison as plot_comparison
    from seefar.report.charts import plot_confusion as plot_confusion
    from seefar.report.charts import plot_faults as plot_faults
    from seefar.report.charts import plot_reliability as plot_reliability
    from seefar.report.figures import plot_history as plot_history
    from seefar.report.figures import plot_maps as plot_maps
    from seefar.report.figures import plot_mistakes as plot_mistakes
    from seefar.report.figures import plot_picture as plot_picture
    from seefar.report.page import show_report as show_report
    from seefar.report.page import write_report as write_report
    from seefar.runs.folder import RunFolder as RunFolder
    from seefar.runs.folder import verify as verify
    from seefar.training.history import HistoryRow as HistoryRow
    from seefar.training.loop import train as train
    from seefar.training.recipe import Recipe as Recipe
    from seefar.training.recipe import recipe as recipe
    from seefar.training.run import Run as Run
    from seefar.training.run import load_run as load_run

__version__ = "0.1.0"

_NAMES = {
    "choices": "Choices",
    "compared_runs": "compare_runs",
    "data": "load_data",
    "data.images": "Data Split",
    "data.reference": "Reference load_reference",
    "errors": "ChoiceError DataError DeviceError DivergedError Interrupted MapError RecipeError RunError SeefarError",
    "evaluation.calibration": "Calibration fit_temperature measure_calibration",
    "evaluation.comparison": "Comparison compare",
    "evaluation.evaluate": "Evaluation MistakeAnalysis analyse_mistakes evaluate",
    "evaluation.label_issues": "LabelIssue LabelIssues find_label_issues",
    "evaluation.metrics": "ClassMetrics Metrics measure",
    "evaluation.mistakes": "ClassMistakes ConfusedPair ErrorSlice Mistake confused_pairs error_slices find_mistakes mistakes_by_class",
    "evaluation.predictions": "Predictions predict read_predicted",
    "evaluation.triage": "AccuracyView Verdict accuracy_views triage",
    "explanation.explain": "Explanation explain",
    "explanation.health": "Health",
    "explanation.neighbours": "Neighbours find_neighbours training_features",
    "explanation.occlusion": "Repair RepairRates",
    "explanation.pictures": "PicturePrediction predict_pictures",
    "maps.class_maps": "ClassMaps class_maps contrast_map map_status",
    "maps.formulas": "gradcam gradcam_plus_plus hirescam layercam",
    "maps.grid": "Grid rank_pixels to_pixels",
    "maps.sanity": "evidence_inside find_origin flip_agreement pointing_hits randomized rank_correlation",
    "model.resnet": "ResNet18 dense_twin",
    "pipeline": "Result evaluate_run explain_run report_run run",
    "progress": "Progress SILENT",
    "report.charts": "plot_comparison plot_confusion plot_faults plot_reliability",
    "report.figures": "plot_history plot_maps plot_mistakes plot_picture",
    "report.page": "show_report write_report",
    "runs.folder": "RunFolder verify",
    "training.history": "HistoryRow",
    "training.loop": "train",
    "training.recipe": "Recipe recipe",
    "training.run": "Run load_run",
}
"""The public names of each module."""

_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}
"""Every public name, and the module it is imported from when it is first used."""

__all__ = ["__version__", *_HOMES]  # made of the table


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'seefar' has no attribute {name!r}")
    return getattr(import_module(f"seefar.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
