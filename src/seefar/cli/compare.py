"""The command `seefar compare`: two or more runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from seefar.cli.options import JsonOutput

if TYPE_CHECKING:
    from rich.table import Table

    from seefar.evaluation.comparison import Comparison


@dataclass(frozen=True)
class Compare:
    """Compare two or more runs: accuracy, repaired and broken images, shared mistakes, and which were bad luck."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN RUN [RUN ...]")]
    """Run folders: paths, or bare names under runs/. The others are compared with the first."""
    data: str | None = None
    """Name or folder of the data set. Default: as the first run was trained."""
    data_dir: Path | None = None
    """Folder of CIFAR-10. Default: the environment variable SEEFAR_DATA, else the user's cache folder."""
    figure: Path | None = None
    """Also draw a figure into this file: .png, .pdf or .svg."""
    output: JsonOutput = field(default_factory=JsonOutput)

    def __call__(self, words: Sequence[str]) -> None:
        """Compare, and print a table or JSON."""
        from seefar.compared_runs import compare_runs
        from seefar.progress import SILENT

        if self.figure is not None:
            from seefar.report.style import check_figure

            check_figure(self.figure)
        progress = SILENT if self.output.quiet else None
        comparison = compare_runs(self.runs, data=self.data, data_dir=self.data_dir, progress=progress)
        if self.figure is not None:
            from seefar.report.charts import plot_comparison
            from seefar.report.style import save_figure

            save_figure(self.figure, plot_comparison(comparison))
        if self.output.json:
            print(comparison.to_json(), end="")
        else:
            print_comparison(comparison)


def print_comparison(comparison: Comparison) -> None:
    """Tables of the runs, the pairs of runs and the classes, and how many mistakes of the first were luck."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    for table in (_runs(comparison), _pairs(comparison), _classes(comparison)):
        console.print(table)
    first, count = comparison.runs[0], len(comparison.runs)
    console.print(
        f"{first.mistakes} mistakes of {first.name}: {len(comparison.luck)} luck (right in another run), "
        f"{len(comparison.settled)} settled ({'both' if count == 2 else 'all'} wrong; "
        f"{comparison.shared_by_chance:.0f} by chance)",
        soft_wrap=True,
    )


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


def _runs(comparison: Comparison) -> Table:
    table = _table("run", "accuracy", "95 % interval", "mistakes")
    for run in comparison.runs:
        low, high = run.interval
        table.add_row(run.name, f"{run.accuracy:.2%}", f"{low:.2%} to {high:.2%}", str(run.mistakes))
    return table


def _pairs(comparison: Comparison) -> Table:
    table = _table("first, second", "repaired", "broken", "p", "shared", "by chance", "kappa", "kappa of errors")
    for pair in comparison.pairs:
        table.add_row(
            f"{Path(pair.first).name}, {Path(pair.second).name}",
            str(len(pair.repaired)),
            str(len(pair.broken)),
            f"{pair.p:.2g}" if pair.p >= 0.001 else "< 0.001",
            str(pair.shared),
            f"{pair.shared_by_chance:.1f}",
            f"{pair.kappa:.3f}",
            f"{pair.error_kappa:.3f}",
        )
    return table


def _classes(comparison: Comparison) -> Table:
    """Recall of each class in each run; for two runs also how many images the second repairs and breaks."""
    two = comparison.pairs[0] if len(comparison.runs) == 2 else None
    table = _table("class", *(run.name for run in comparison.runs), *(("repaired", "broken") if two else ()))
    for k, name in enumerate(comparison.classes):
        recalls = (run.recall[k] for run in comparison.runs)
        changes = (str(two.repaired_by_class[k]), str(two.broken_by_class[k])) if two else ()
        table.add_row(name, *("-" if recall is None else f"{recall:.1%}" for recall in recalls), *changes)
    return table
