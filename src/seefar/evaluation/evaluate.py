"""Evaluation: predictions, metrics and mistakes of one model on one split, computed together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from seefar.data.images import Split
from seefar.evaluation.metrics import Metrics, measure
from seefar.evaluation.mistakes import Mistake, find_mistakes
from seefar.evaluation.predictions import Predictions, predict
from seefar.progress import Progress


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """Predictions for every image of a split, and what follows from them.

    Attributes:
        predictions: logits, features, and the fingerprints of what they were computed from.
        metrics: accuracy and the rest.
        mistakes: all of them, the costliest first.
    """

    predictions: Predictions
    metrics: Metrics
    mistakes: list[Mistake]

    def __repr__(self) -> str:
        return f"Evaluation({self.metrics.accuracy:.2%} of {self.metrics.n} right, {len(self.mistakes)} mistakes)"

    @classmethod
    def of(cls, predictions: Predictions) -> Evaluation:
        """The evaluation of predictions that are there already, this package's or another's."""
        return cls(predictions, measure(predictions), find_mistakes(predictions))

    def save(self, path: str | Path) -> None:
        """Write an `.npz` of plain arrays: the predictions, from which `load` computes the rest again."""
        self.predictions.save(path)

    @classmethod
    def load(cls, path: str | Path) -> Evaluation:
        """Read what `save`, or `Predictions.save`, wrote.

        Raises:
            RunError: the file is missing, damaged, or holds something else.
        """
        return cls.of(Predictions.load(path))


def evaluate(
    model: nn.Module,
    split: Split,
    *,
    normalize: Callable[[Tensor], Tensor] | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Predictions, metrics and mistakes of a model on a split. Writes nothing; `Evaluation.save` does.

    Args:
        model: see `seefar.predict`.
        split: the images.
        normalize: see `seefar.predict`.
        progress: see `seefar.progress`.

    Raises:
        DataError: the model does not give one logit for each class of the split.

    Example:
        >>> import seefar
        >>> from seefar.data.shapes import load_shapes
        >>> test = load_shapes(train=20, test=30).test
        >>> evaluation = seefar.evaluate(seefar.ResNet18(width=2).eval(), test, progress=seefar.progress.SILENT)
        >>> evaluation.metrics.n, evaluation.metrics.mistakes == len(evaluation.mistakes)
        (30, True)
    """
    return Evaluation.of(predict(model, split, normalize=normalize, progress=progress))
