"""The notebook runs from its first cell to its last on the built-in images, and is committed with real outputs."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "seefar_colab.ipynb"
PICTURES = 5  # augmentation, history, mistakes, Grad-CAM in colour, maps
SMALL = """
import seefar
from seefar.data.shapes import load_shapes
RECIPE, DATA = "demo", "shapes"
tiny, few = seefar.recipe("demo", width=4, epochs=20, batch_size=16), load_shapes(200, 50)
seefar.recipe, seefar.load_data = lambda name: tiny, lambda name: few
"""
EXECUTE = """
import nbclient, nbformat
notebook = nbformat.read("small.ipynb", 4)
nbclient.NotebookClient(notebook, timeout=300).execute()
nbformat.write(notebook, "small.ipynb")
"""


def outputs(cells: list[dict[str, Any]], kind: str) -> list[str]:
    found = [out.get("data", {}) for cell in cells if cell["cell_type"] == "code" for out in cell["outputs"]]
    return [data[kind] if isinstance(data[kind], str) else "".join(data[kind]) for data in found if kind in data]


def text(cells: list[dict[str, Any]]) -> str:
    streams = [out["text"] for cell in cells if cell["cell_type"] == "code" for out in cell["outputs"] if "text" in out]
    return "".join(part if isinstance(part, str) else "".join(part) for part in streams)


def run_small(folder: Path, python: str = sys.executable) -> list[Any]:
    """The cells of the notebook after a run in an empty folder, on shapes."""
    pytest.importorskip("nbclient")
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    (settings,) = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    settings["source"] = SMALL
    (folder / "small.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    run = subprocess.run([python, "-c", EXECUTE], cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    cells: list[Any] = json.loads((folder / "small.ipynb").read_text(encoding="utf-8"))["cells"]
    return cells


@pytest.mark.slow
def test_the_notebook_runs_on_shapes(tmp_path: Path) -> None:
    cells = run_small(tmp_path)
    pictures = outputs(cells, "image/png")
    assert len(pictures) == PICTURES
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    assert "mistakes" in text(cells)
    assert not [out for cell in cells for out in cell.get("outputs", []) if out.get("name") == "stderr"]


@pytest.mark.slow
@pytest.mark.skipif("SEEFAR_WHEEL" not in os.environ, reason="SEEFAR_WHEEL names no built wheel; .ci/package does")
def test_the_notebook_installs_the_wheel_in_an_empty_folder(tmp_path: Path) -> None:
    """In an environment with all that seefar needs, but without seefar."""
    beside, folder = tmp_path / "beside", tmp_path / "empty"
    for made in (beside, folder):
        made.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "seefar" not in path.name:
            (beside / path.name).symlink_to(path)
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    command = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    place = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    (Path(place) / "beside.pth").write_text(f"{beside}\n")
    shutil.copy(os.environ["SEEFAR_WHEEL"], folder)
    cells = run_small(folder, str(python))
    assert f"installing from {Path(os.environ['SEEFAR_WHEEL']).name}" in text(cells)
    assert (Path(place) / "seefar").is_dir()


def test_the_committed_outputs_are_those_of_the_run_in_results() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    results = NOTEBOOK.parents[1] / "results" / "fast" / "metrics.json"
    test = json.loads(results.read_text(encoding="utf-8"))["test"]
    shown = text(cells)
    assert f"{test['accuracy']:.2%} of {test['n']:,} test images" in shown
    assert f"{test['mistakes']} mistakes" in shown
    assert "Accuracy is: " in shown  # the training log
    assert "maps of 8x8 cells" in shown
    assert len(outputs(cells, "image/png")) == PICTURES
