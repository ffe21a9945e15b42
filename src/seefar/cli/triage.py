"""The command `seefar triage`: why each mistake of any model on CIFAR-10's test set happened."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from seefar.cli.options import JsonOutput

if TYPE_CHECKING:
    from seefar.evaluation.triage import AccuracyView, Verdict

EXAMPLES = 3
TEST_IMAGES = 10_000  # in CIFAR-10


@dataclass(frozen=True)
class Triage:
    """Why each mistake happened: a label error, an ambiguous or a hard image, or the model. No run is needed."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """Predictions for the 10,000 test images in their official order, as .json, .npy or .csv: one class from 0 to 9
    for each, or ten logits."""
    data_dir: Path | None = None
    """Folder of CIFAR-10 and the reference data. Default: the environment variable SEEFAR_DATA, else the user's cache
    folder."""
    output: JsonOutput = field(default_factory=JsonOutput)

    def __call__(self, words: Sequence[str]) -> None:
        """Find the fault of each mistake, and print how many have which."""
        from seefar.data import load_data
        from seefar.data.reference import CLASSES, load_reference
        from seefar.evaluation.predictions import read_predicted
        from seefar.evaluation.triage import accuracy_views, triage
        from seefar.progress import SILENT

        progress = SILENT if self.output.quiet else None
        predicted = read_predicted(self.file, TEST_IMAGES, len(CLASSES))  # before 170 MB are downloaded
        test = load_data("cifar10", self.data_dir, progress=progress).test
        reference = load_reference(self.data_dir, progress=progress)
        verdicts = triage(test.labels, predicted, reference)
        views = accuracy_views(test.labels, predicted, reference)
        same = [net for net, is_same in zip(reference.nets, reference.same_answers(predicted), strict=True) if is_same]
        if self.output.json:
            print_json(verdicts, views, same)
        else:
            print_faults(self.file, verdicts, views, same)


def print_json(verdicts: Sequence[Verdict], views: Sequence[AccuracyView], same: Sequence[str]) -> None:
    """The counts, the accuracies, the published nets with the same predictions, and every verdict."""
    from seefar.evaluation.triage import count_faults

    result = {
        **count_faults(verdicts),
        "same_as": list(same),
        "accuracy": [asdict(view) for view in views],
        "verdicts": [asdict(verdict) for verdict in verdicts],
    }
    print(json.dumps(result, indent=2))


def print_faults(file: Path, verdicts: Sequence[Verdict], views: Sequence[AccuracyView], same: Sequence[str]) -> None:
    """One line for each fault and each accuracy, and the clearest model errors."""
    from seefar.evaluation.triage import FAULTS, MEANING, count_faults

    counts = count_faults(verdicts)
    print(f"{file}: {counts['errors']} mistakes")
    if same:
        print(f"These are the predictions of {', '.join(same)}, which is not counted among the other nets.")
    for fault in FAULTS:
        share = counts[fault] / max(1, counts["errors"])
        print(f"  {fault:10s} {counts[fault]:5d}  {share:6.1%}  {MEANING[fault]}")
    print("Accuracy, with its 95 % interval:")
    for view in views:
        print(f"  {view}")
    clearest = sorted((one for one in verdicts if one.fault == "model"), key=lambda one: one.nets_wrong)[:EXAMPLES]
    if clearest:
        print("Worth a look first:")
    for verdict in clearest:
        print(f"  image {verdict.index}: {verdict.sentence}")
    print("next: --json prints every verdict")


def print_reference(data_dir: Path | None, quiet: bool) -> None:
    """Fetch the reference data if they are not there; print what they are, their licences, and where they lie."""
    from seefar.data.reference import SOURCES, find_files, read_reference
    from seefar.progress import SILENT

    paths = find_files(data_dir, progress=SILENT if quiet else None)
    reference = read_reference(paths)
    for source in SOURCES:
        print(f"{source.credit}\n  {paths[next(iter(source.files))].parent}")
    print(
        f"{len(reference.counts):,} test images, {reference.counts.sum():,} choices of people, "
        f"{(reference.confirmed >= 0).sum()} checked labels of which {reference.label_errors.sum()} are errors, "
        f"{len(reference.nets)} published nets"
    )
