"""The notebook runs from its first cell to its last on the built-in images, and is committed with real outputs."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "seefar_colab.ipynb"
SMALL = """
import seefar
RECIPE, DATA = "demo", "shapes"
tiny = seefar.recipe("demo", width=4, epochs=1, batch_size=16)
seefar.recipe = lambda name: tiny
"""


def outputs(cells: list[dict[str, Any]], kind: str) -> list[str]:
    found = [out.get("data", {}) for cell in cells if cell["cell_type"] == "code" for out in cell["outputs"]]
    return [data[kind] if isinstance(data[kind], str) else "".join(data[kind]) for data in found if kind in data]


def text(cells: list[dict[str, Any]]) -> str:
    streams = [out["text"] for cell in cells if cell["cell_type"] == "code" for out in cell["outputs"] if "text" in out]
    return "".join(part if isinstance(part, str) else "".join(part) for part in streams)


@pytest.mark.slow
def test_the_notebook_runs_on_shapes(tmp_path: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (settings,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    settings.source = SMALL
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    pictures = outputs(notebook.cells, "image/png")
    assert len(pictures) == 4  # augmentation, history, mistakes, maps
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    assert "mistakes" in text(notebook.cells)
    assert not [out for cell in notebook.cells for out in cell.get("outputs", []) if out.get("name") == "stderr"]


def test_the_committed_outputs_are_those_of_the_run_in_results() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    results = NOTEBOOK.parents[1] / "results" / "fast" / "metrics.json"
    test = json.loads(results.read_text(encoding="utf-8"))["test"]
    shown = text(cells)
    assert f"{test['accuracy']:.2%} of {test['n']:,} test images" in shown
    assert f"{test['mistakes']} mistakes" in shown
    assert "Accuracy is: " in shown  # the training log
    assert "maps of 8x8 cells" in shown
    assert len(outputs(cells, "image/png")) == 4
