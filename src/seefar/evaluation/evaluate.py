"""The one read of the test set, and what follows from it, written into the run folder."""

from __future__ import annotations

from dataclasses import dataclass

from seefar.data.images import Split
from seefar.errors import RunError
from seefar.evaluation.metrics import Metrics, measure
from seefar.evaluation.mistakes import Mistake, find_mistakes, write_mistakes
from seefar.evaluation.predictions import Predictions, predict
from seefar.runs.files import write_text
from seefar.training.device import keep_freed_memory
from seefar.training.run import Run


@dataclass(frozen=True)
class Evaluation:
    """Predictions for the whole test set, the metrics, and all mistakes, the costliest first."""

    predictions: Predictions
    metrics: Metrics
    mistakes: list[Mistake]


def evaluate(run: Run, test: Split) -> Evaluation:
    """Ask the network about every test image, once; a run folder that holds the answers is not asked again.

    Writes `predictions.npz`, `metrics.json` and `mistakes.csv`.

    Raises:
        RunError: the labels of the test images are not those that the folder's predictions are of, or the classes
            differ.
    """
    if run.classes != test.classes:
        raise RunError(
            f"{run.folder.path} knows {len(run.classes)} classes ({', '.join(run.classes[:3])}, ...), the data has "
            f"{len(test.classes)} ({', '.join(test.classes[:3])}, ...): pass --run of a net trained on this data."
        )
    path = run.folder.path / "predictions.npz"
    new = not path.exists()
    if not new:
        predictions = Predictions.load(path)
        if predictions.labels.tolist() != test.labels.tolist():
            raise RunError(f"{path} is of other test images than these: delete it to evaluate the run on these.")
    else:
        keep_freed_memory()
        predictions = predict(run.model, test)
        predictions.save(path)
    evaluation = Evaluation(predictions, measure(predictions, test.classes), find_mistakes(predictions))
    write_text(run.folder.path / "metrics.json", evaluation.metrics.to_json())
    table = run.folder.path / "mistakes.csv"
    if new or not table.exists():  # one that is there may have the columns of an explanation
        write_mistakes(table, evaluation.mistakes, test.classes)
    return evaluation
