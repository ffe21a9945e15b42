"""The tiny data set and the tiny nets that the tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from tiny_job import TINY
from torch import Tensor

import seefar
from seefar.data import Data
from seefar.data.shapes import load_shapes
from seefar.model.resnet import ResNet18
from seefar.progress import SILENT
from seefar.training.run import Run, load_run

ASSETS = Path(__file__).parent / "assets"


@pytest.fixture(scope="session", autouse=True)
def _environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoded pictures are kept in a folder of the tests; files need not outlast a power cut; the commit is known."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEEFAR_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp().parent))  # one key for all processes
        patch.setattr(os, "fsync", lambda _file: None)
        patch.setattr("seefar.runs.provenance._commit", lambda: "a commit")
        yield


@pytest.fixture(scope="session")
def shapes() -> Data:
    """600 training and 150 test images, 32x32, 10 classes, with masks."""
    return load_shapes(train=600, test=150)


@pytest.fixture(scope="session")
def few() -> Data:
    """40 training and 20 test images of `shapes`: three steps of 16 an epoch."""
    return load_shapes(40, 20)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A network of width 8 that was trained on 2,000 shapes, see its recipe.json: 78% on the 150 test images."""
    folder = tmp_path_factory.mktemp("trained") / "trained"
    shutil.copytree(ASSETS / "trained", folder)
    return load_run(folder, "cpu")


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    """The trained network in a run folder of its own, which a test may change."""
    shutil.copytree(trained.folder.path, tmp_path / "run")
    return load_run(tmp_path / "run", "cpu")


@pytest.fixture(scope="session")
def finished(few: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole job on `few`, made once for all processes of xdist; its figures are coarse.

    No test may change it.
    """
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder = shared / "finished" / "tiny"
    with FileLock(shared / "finished.lock"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("seefar.report.style.DPI", 30)
        if not (folder / "report.html").exists():
            seefar.run(TINY, few, folder, top=2, device="cpu", precision="float32", progress=SILENT)
    return folder


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of few pixels, which take a third of the time."""
    monkeypatch.setattr("seefar.report.style.DPI", 30)


@pytest.fixture
def tiny(finished: Path, tmp_path: Path, coarse: None) -> Run:
    """The finished job in a folder that a test may change; what is drawn is coarse too."""
    shutil.copytree(finished, tmp_path / "tiny")
    return load_run(tmp_path / "tiny", "cpu")


@pytest.fixture
def make_net() -> Callable[..., ResNet18]:
    """Makes small nets with reproducible weights and with norms that are not the identity."""

    def make(num_classes: int = 4, width: int = 4, seed: int = 0, stem_stride: int = 1) -> ResNet18:
        generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = ResNet18(num_classes, width, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), stem_stride)
        with torch.no_grad():
            for name, tensor in net.state_dict().items():
                if tensor.is_floating_point() and not name.startswith("normalize"):
                    noise = torch.randn(tensor.shape, generator=generator) * (0.05 if tensor.ndim > 1 else 0.3)
                    tensor.copy_(noise.abs() + 0.5 if "var" in name else tensor + noise)
        return net.eval()

    return make


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Brightness(ResNet18):
    """A network whose answers can be worked out by hand.

    Three classes; the logits are 40 times the mean of the red, green and blue channel, on the scale 0 to 1.
    """

    def __init__(self) -> None:
        super().__init__(3, 1, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        self.fc = torch.nn.Linear(3, 3)
        with torch.no_grad():
            self.fc.weight.copy_(40 * torch.eye(3))
            self.fc.bias.zero_()

    def features(self, inputs: Tensor) -> Tensor:
        return inputs


@pytest.fixture
def brightness() -> ResNet18:
    return Brightness().eval()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Not of the session: Playwright keeps an event loop running, which other tests would find."""
    from browsing import CHROMIUM, playwright

    with playwright.sync_playwright() as started:
        arguments = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()
