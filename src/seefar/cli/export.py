"""The command `seefar export`: a trained network in files that need neither seefar nor, as ONNX, torch."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seefar.cli.options import Output, RunName, Switch
from seefar.errors import ChoiceError


@dataclass(frozen=True)
class Export:
    """Export a trained network: weights and a model card, ready for a model hub, and ONNX."""

    run: RunName
    """Run folder: a path, or a bare name under runs/."""
    to: Path | None = None
    """Folder to write into. Default: exported/ and the run's name."""
    onnx: Switch = False
    """Also model.onnx: images in (uint8, N x H x W x 3), logits and maps out. Needs the extra onnx."""
    output: Output = field(default_factory=Output)

    def __call__(self, words: Sequence[str]) -> None:
        """Write the files, and print their paths."""
        from seefar.artifacts import PREDICTIONS, read_store
        from seefar.model.export import export_onnx, load_onnx
        from seefar.report.model_card import model_card
        from seefar.runs.files import check_place, write_text, written_beside
        from seefar.training.run import load_run

        logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of packages that are not needed
        if self.onnx:  # a missing package is reported before anything is written
            load_onnx()
        run = load_run(self.run, "cpu")
        folder = self.to or Path("exported") / run.folder.path.resolve().name
        if folder.resolve() == run.folder.path.resolve():
            raise ChoiceError(f"{folder} is the run folder itself: choose another folder to export to.")
        check_place(folder)
        saved = read_store(run).peek(PREDICTIONS)  # only if they are of these weights
        metrics = None if saved is None else saved.metrics
        written = [folder / run.folder.weights.name]
        with written_beside(written[0]) as beside:
            shutil.copyfile(run.folder.weights, beside)
        if self.onnx:
            written.append(export_onnx(run.model, folder / "model.onnx", run.classes, run.image_size))
        if metrics is None:
            print(f"The model card has no accuracy: `seefar evaluate {self.run}` measures it.", file=sys.stderr)
        card = folder / "README.md"
        write_text(card, model_card(run.recipe, run.classes, metrics, [path.name for path in written]))
        for path in (*written, card):
            print(path)
