"""The app: what it computes, without a browser; tests/browser/test_app.py drives the page."""

from __future__ import annotations

import gc
import sys
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import seefar
from seefar.app import Studio, is_upload, make_app, make_site, open_studio
from seefar.cli.main import main
from seefar.data import Data
from seefar.errors import SeefarError
from seefar.maps.formulas import class_maps
from seefar.model.adapt import adapt
from seefar.model.inference import log_softmax
from seefar.model.resnet import ResNet18
from seefar.training.run import Run


@pytest.fixture
def studio(make_net: Callable[..., ResNet18], shapes: Data) -> Studio:
    net, test = make_net(10), shapes.test.take(np.arange(12))
    return Studio(
        net,
        shapes.classes,
        32,
        test=test,
        mistakes=seefar.find_mistakes(seefar.predict(net, test, progress=seefar.SILENT)),
    )


@pytest.mark.parametrize("size", [16, 32, 50, 96])
def test_a_canvas_without_paint_is_the_image_itself(studio: Studio, size: int) -> None:
    other = Studio(studio.model, studio.classes, size)
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    canvas = other.enlarge(image)
    assert 288 < canvas.size[0] <= 384
    np.testing.assert_array_equal(other.reduce(canvas), image)


def test_only_paint_on_the_picture_that_is_shown_is_answered(studio: Studio, shapes: Data) -> None:
    """The browser told of the picture before, and the answer to it came last."""
    shown, before = shapes.test.images[:2]
    picture, painted = studio.enlarge(shown), studio.enlarge(shown)
    painted.paste((0, 0, 0), (0, 0, 192, 192))
    of_before = {"background": studio.enlarge(before), "composite": painted}
    for canvas in (None, {"background": None, "composite": None}, of_before):
        assert studio.painted(canvas, shown) is None
    for composite in (picture, None):  # what was painted is taken away again
        found = studio.painted({"background": picture, "composite": composite}, shown)
        np.testing.assert_array_equal(found, shown)
    found = studio.painted({"background": picture, "composite": painted}, shown)
    assert found is not None
    assert (found[:16, :16] == 0).all()
    np.testing.assert_array_equal(found[16:], shown[16:])


def test_the_answer_is_the_networks(studio: Studio, shapes: Data) -> None:
    image = shapes.test.images[0]
    probabilities, picture, words = studio.answer(image)
    logits = adapt(studio.model).logits(image[None])
    np.testing.assert_allclose(list(probabilities.values()), np.exp(log_softmax(logits))[0], rtol=1e-5)
    second, first = (shapes.classes[c] for c in logits[0].argsort()[-2:])
    assert words.startswith(f"Why {first}, not {second}, ")
    assert picture.size[0] > picture.size[1] > 200
    # The end of the scale is the strongest cell of the contrast map.
    strongest = np.abs(class_maps(studio.model, image[None]).contrast(*logits[0].argsort()[:-3:-1])).max()
    assert strongest > 0


def test_mistakes_go_round(studio: Studio) -> None:
    image, about = studio.mistake(0)
    one, count = studio.mistakes[0], len(studio.mistakes)
    assert studio.test is not None
    np.testing.assert_array_equal(image, studio.test.images[one.index])
    assert about.startswith(f"Mistake 1 of {count}, test image {one.index}: labelled {studio.classes[one.true]}, ")
    assert studio.mistake(count)[1] == about
    assert studio.mistake(-1)[1].startswith(f"Mistake {count} of {count}, ")


@pytest.mark.slow
def test_a_run_without_its_data_has_no_mistakes_to_look_through(run: Run, tmp_path: Path) -> None:
    studio, name = open_studio(run.folder.path, data=str(tmp_path / "gone"), progress=seefar.SILENT)
    assert (studio.mistakes, studio.test, studio.classes, name) == ((), None, run.classes, "run")


def test_without_gradio_the_extra_is_named(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(SeefarError, match=r"The app needs more packages .* pip install 'seefar\[app\]'"):
        make_app(studio, "mine")
    assert main(["app", "no such run"]) == 2  # before the run is looked for
    assert "pip install 'seefar[app]'" in capsys.readouterr().err


class Visitor:
    """Whoever reaches the port of the app."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.functions = client.get("/config").json()["dependencies"]

    def call(self, trigger: str, data: list[Any]) -> str:
        """What a function of the page replies, its name given by the event that calls it."""
        function = next(one["id"] for one in self.functions if any(event == trigger for _, event in one["targets"]))
        session = {"session_hash": uuid.uuid4().hex}
        self.client.post("/gradio_api/queue/join", json={"data": data, "fn_index": function, **session})
        return str(self.client.get("/gradio_api/queue/data", params=session).text)

    def upload(self, path: Path) -> str:
        """The place of an uploaded file."""
        reply = self.client.post("/gradio_api/upload", files={"files": (path.name, path.read_bytes())})
        return str(reply.json()[0])


@pytest.fixture
def visitor(studio: Studio) -> Iterator[Visitor]:
    pytest.importorskip("gradio")
    from starlette.testclient import TestClient

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # gradio makes event loops that it never closes
        with TestClient(make_site(make_app(studio, "mine"), "127.0.0.1"), base_url="http://127.0.0.1:7860") as client:
            yield Visitor(client)
        gc.collect()


FILE = {"meta": {"_type": "gradio.FileData"}}


def test_only_uploads_are_read(visitor: Visitor, tmp_path: Path) -> None:
    secret = tmp_path / "id_rsa"
    secret.write_text("PRIVATE KEY 4711")
    file = {"path": str(secret), **FILE}
    for trigger, data in (("input", [{"background": file, "layers": [], "composite": file}, None]), ("change", [file])):
        reply = visitor.call(trigger, data)
        assert "was not uploaded" in reply
        assert '"success":false' in reply
    copies = list(Path(tempfile.gettempdir(), "gradio").rglob("id_rsa"))
    assert not any(copy.read_text() == "PRIVATE KEY 4711" for copy in copies)
    picture = tmp_path / "picture.png"
    Image.new("RGB", (32, 32)).save(picture)
    assert '"success":true' in visitor.call("change", [{"path": visitor.upload(picture), **FILE}])


def test_only_a_path_in_the_upload_folder_is_an_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    assert is_upload(str(tmp_path / "uploads" / "a" / "picture.png"))
    assert not is_upload(str(tmp_path / "uploads" / ".." / "picture.png"))
    assert not is_upload("/etc/passwd")


def test_other_host_names_are_refused(visitor: Visitor, studio: Studio) -> None:
    for name, code in {"evil.com": 400, "localhost:7860": 200, "[::1]:7860": 200, "127.0.0.1.evil.com": 400}.items():
        assert visitor.client.get("/config", headers={"Host": name}).status_code == code
