"""The app from outside: a server on loopback, and whatever a visitor can send; a browser is in tests/browser/."""

from __future__ import annotations

import base64
import html
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image
from report_content import make_content

import seefar
from seefar.app import LARGEST_UPLOAD, Live, listen, make_live, make_server
from seefar.cli.main import main
from seefar.data import Data
from seefar.errors import ChoiceError
from seefar.maps.formulas import class_maps
from seefar.model.inference import log_softmax
from seefar.model.resnet import ResNet18
from seefar.pipeline import report_content
from seefar.report.page import render_report
from seefar.training.run import Run

pytest.importorskip("uvicorn")
CLASSES = tuple("abcdefghij")
IMAGE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def live() -> Live:
    return make_live(ResNet18(10, 4).eval(), make_content(4, CLASSES, explanation=None))


class Visitor(requests.Session):
    """Whoever reaches the port of the app."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.trust_env = False
        self.port, self.address = port, f"http://127.0.0.1:{port}"

    def say(self, path: str, body: Any = b"", **more: Any) -> requests.Response:
        return self.post(self.address + path, data=body, timeout=60, **more)


@pytest.fixture(scope="module")
def visitor(live: Live) -> Iterator[Visitor]:
    with serving(live) as session:
        yield session
        assert session.say("/predict", IMAGE.tobytes()).ok  # whatever the tests sent


@contextmanager
def serving(live: Live, host: str = "127.0.0.1") -> Iterator[Visitor]:
    listening = listen("127.0.0.1", 0)
    server = make_server(live, host)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    with Visitor(listening.getsockname()[1]) as session:
        yield session
    server.should_exit = True
    thread.join()
    listening.close()


def numbers(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def png(image: np.ndarray | Image.Image = IMAGE) -> bytes:
    stored = BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(stored, "PNG")
    return stored.getvalue()


# What it answers


def test_the_page_is_the_report_with_its_live_part(visitor: Visitor, live: Live) -> None:
    reply = visitor.get(visitor.address + "/")
    assert reply.text == live.page
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["content-security-policy"] == "frame-ancestors 'none'"
    assert "connect-src 'self'" in html.unescape(live.page)
    assert "connect-src" not in render_report(make_content(4))


def test_a_prediction_is_the_networks_and_its_map_is_against_the_label(visitor: Visitor, live: Live) -> None:
    found = class_maps(live.explainer.classifier, IMAGE[None])
    second, first = found.logits[0].argsort()[-2:]
    label = next(one for one in range(10) if one not in (first, second))
    for query, other in ((f"?other={label}", label), (f"?other={first}", second), ("?other=", second), ("", second)):
        answer = visitor.say(f"/predict{query}", IMAGE.tobytes()).json()
        assert (answer["predicted"], answer["other"]) == (first, other)
        np.testing.assert_allclose(numbers(answer["probabilities"], "<f4"), np.exp(log_softmax(found.logits))[0], 1e-4)
        pair = numbers(answer["maps"], "<f4").reshape(2, 8, 8)
        np.testing.assert_allclose(pair, found.maps[0, [first, other]], atol=1e-4)
        assert answer["grid"]["cells"] == [8, 8]


def test_maps_are_those_of_the_page(live: Live) -> None:
    """Not of the default method, where the page was made with another one."""
    content = make_content(4, CLASSES)
    explanation = replace(content.explanation, method="gradcam++", layer="layer3")
    other = make_live(live.explainer.classifier, replace(content, explanation=explanation))
    answer = other.predict(IMAGE.tobytes(), None)
    wanted = seefar.gradcam_plus_plus(live.explainer.classifier, IMAGE[None], answer["predicted"], "layer3")
    np.testing.assert_allclose(numbers(answer["maps"], "<f4").reshape(2, 8, 8)[:1], wanted, atol=1e-4)
    assert answer["grid"]["unit"] == "no unit"


def test_a_picture_is_explained_as_on_the_command_line(visitor: Visitor, live: Live, tmp_path: Path) -> None:
    image = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    (wanted,) = seefar.predict_pictures(live.explainer.classifier, tmp_path / "a.png", CLASSES, progress=seefar.SILENT)
    answer = visitor.say("/picture", png(image)).json()
    assert answer["sentence"] == wanted.sentence()
    assert answer["about"] == wanted.picture.describe()
    classes = (wanted.predicted, wanted.runner_up, wanted.repair.answer)
    assert (answer["predicted"], answer["other"], answer["answer"]) == classes
    np.testing.assert_array_equal(numbers(answer["pixels"], "u1").reshape(32, 32, 3), wanted.picture.image)
    np.testing.assert_array_equal(np.unpackbits(numbers(answer["hidden"], "u1")).reshape(32, 32), wanted.hidden)


# What it refuses


@pytest.mark.parametrize(
    ("path", "body", "headers", "code"),
    [
        ("/predict", b"x" * 3071, {}, 400),
        ("/predict?other=10", IMAGE.tobytes(), {}, 400),
        ("/predict?other=%C2%B2", IMAGE.tobytes(), {}, 400),
        ("/predict", IMAGE.tobytes() + b"x", {}, 413),
        ("/picture", b"no picture", {}, 400),
        ("/picture", png(Image.new("1", (10_000, 9_000))), {}, 400),  # refused before it is decoded
        ("/predict", IMAGE.tobytes(), {"Host": "evil.com"}, 400),
        ("/predict", IMAGE.tobytes(), {"Host": "127.0.0.1.evil.com"}, 400),
        ("/predict", IMAGE.tobytes(), {"Origin": "http://evil.com"}, 403),
        ("/predict", IMAGE.tobytes(), {"Origin": "null"}, 403),
        ("/", b"", {}, 405),
        ("/etc/passwd", b"", {}, 404),
    ],
)
def test_wrong_input_is_refused_in_one_line(
    visitor: Visitor, path: str, body: bytes, headers: dict[str, str], code: int
) -> None:
    reply = visitor.say(path, body, headers=headers)
    assert reply.status_code == code
    assert set(reply.json()) == {"error"}
    assert "\n" not in reply.json()["error"]


def test_local_host_names_are_accepted(visitor: Visitor) -> None:
    for address in (f"localhost:{visitor.port}", f"[::1]:{visitor.port}", f"LOCALHOST:{visitor.port}"):
        headers = {"Host": address, "Origin": f"http://{address.lower()}"}
        assert visitor.say("/predict", IMAGE.tobytes(), headers=headers).ok
    assert visitor.get(visitor.address, headers={"Host": "evil.com"}).status_code == 400


def test_on_all_interfaces_any_host_but_no_other_origin_is_accepted(live: Live) -> None:
    with serving(live, "0.0.0.0") as visitor:
        for origin, code in (("https://me.hf.space", 200), ("http://me.hf.space", 200), ("https://evil.com", 403)):
            headers = {"Host": "me.hf.space", "Origin": origin}
            assert visitor.say("/predict", IMAGE.tobytes(), headers=headers).status_code == code
        assert "content-security-policy" not in visitor.get(visitor.address).headers  # a Space shows it in a frame


def test_no_file_is_opened_for_a_request(visitor: Visitor, tmp_path: Path) -> None:
    secret = tmp_path / "id_rsa.png"
    secret.write_bytes(png())
    assert visitor.say("/picture", png()).ok  # loads what is loaded once
    assert not visitor.say("/picture", b"x").ok
    opened: list[str] = []
    watching = True
    sys.addaudithook(lambda event, values: opened.append(str(values[0])) if watching and event == "open" else None)
    for text in (str(secret), f"file://{secret}", f"..{secret}"):
        for path in ("/predict", f"/picture?path={text}", f"/{text}", f"/predict?other={text}"):
            assert visitor.say(path, json.dumps({"path": text})).status_code in (400, 404)
        assert visitor.get(f"{visitor.address}/file={text}").status_code == 404
    watching = False
    assert opened == []


def test_parallel_and_oversized_requests_are_survived(visitor: Visitor) -> None:
    def ask(_: int) -> int:
        with Visitor(visitor.port) as one:
            return one.say("/predict", IMAGE.tobytes()).status_code

    with ThreadPoolExecutor(50) as together:  # one at a time is computed, the others wait
        assert list(together.map(ask, range(50))) == [200] * 50
    assert visitor.say("/picture", (bytes(1 << 20) for _ in range(200))).status_code == 413
    assert visitor.say("/picture", bytes(LARGEST_UPLOAD + 1)).status_code == 413


def test_an_endless_request_times_out(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seefar.app.SECONDS_TO_SEND", 0.2)
    with socket.create_connection(("127.0.0.1", visitor.port), timeout=30) as half:
        half.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3072\r\n\r\nabc")
        assert half.recv(100).startswith(b"HTTP/1.1 408 ")


def test_connections_without_a_complete_request_are_closed(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seefar.app.SECONDS_IDLE", 0)
    answered = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with serving(live) as one, ExitStack() as open_ones:
        silent = [socket.create_connection(("127.0.0.1", one.port), timeout=30) for _ in range(3)]
        for connection, sent in zip(silent, (b"", answered[:20], answered + b"GET"), strict=True):
            open_ones.enter_context(connection)
            connection.sendall(sent)
        for connection in silent:
            with suppress(ConnectionResetError):
                while connection.recv(1 << 20):
                    pass


def test_a_visitor_who_goes_away_leaves_no_trace(visitor: Visitor, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", visitor.port)) as half:
            half.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3072\r\n\r\nabc")
    assert visitor.say("/predict", IMAGE.tobytes()).ok
    assert capfd.readouterr().err == ""


# The command


def test_an_invalid_or_taken_port_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["app", "no such run", "--port", "80000"]) == 2
    assert "80000" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["app", "no such run", "--port", str(port)]) == 2
    assert str(port) in capsys.readouterr().err
    with pytest.raises(ChoiceError, match="no-such-name"):
        listen("no-such-name.invalid", 0)


def test_the_page_of_a_run_is_made_from_what_it_has(tiny: Run, few: Data) -> None:
    (tiny.folder.report).write_text("<script>alert(1)</script>", encoding="utf-8")  # what a stranger left there
    tiny.folder.predictions.unlink()
    content = report_content(tiny, few, progress=seefar.SILENT)
    live = make_live(tiny.model, content)
    assert "alert(1)" not in live.page
    payload = json.loads(live.page.split('id="values">')[1].split("</script>")[0])
    assert len(payload["mistakes"]) == content.evaluation.metrics.mistakes > 0
    assert payload["maps"]["cells"] == list(live.explainer.settings.grid.cells)
    assert tiny.folder.predictions.exists()


def memory(process: subprocess.Popen[str], kind: str = "VmRSS") -> float:
    """Megabytes in memory now, or `VmHWM`: the most so far."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(kind))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_does_not_grow_with_requests_and_ctrl_c_leaves_nothing(run: Run, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "seefar", "app", str(run.folder.path), "--port", "0", "--quiet"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env={**os.environ, "TMPDIR": str(temporary)}, **pipes) as process:
        line = process.stdout.readline()
        with Visitor(int(line.split(":")[2].split()[0])) as visitor:
            for number in range(100):
                if number == 2:
                    before = memory(process)
                assert all(visitor.say("/predict", IMAGE.tobytes()).ok for _ in range(7))
                assert visitor.say("/picture", png()).ok
                assert visitor.say("/picture", b"no picture").status_code == 400
                assert visitor.get(visitor.address + "/").ok
            assert memory(process) < before + 20
            most = memory(process, "VmHWM")
            assert visitor.say("/picture", (bytes(1 << 20) for _ in range(200))).status_code == 413
            assert memory(process, "VmHWM") < most + 100
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err.count("\n")) == (130, "", 1)
    assert list(temporary.iterdir()) == []
