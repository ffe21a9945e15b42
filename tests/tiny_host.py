"""For tests of downloads: a host on loopback that serves a file well or badly, and a folder in place of a host."""

from __future__ import annotations

import gzip
import hashlib
import re
import shutil
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

CONTENT = np.random.default_rng(0).bytes(1_000_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Host:
    """A host on loopback whose addresses behave well or badly; it remembers which bytes were asked for."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.asked: list[tuple[str, int]] = []
        self.sent, self.closed = 0, False
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kind = self.path.strip("/").split("/")[0]
                start = int((re.findall(r"bytes=(\d+)-", self.headers.get("Range", "")) or ["0"])[0])
                host.asked.append((kind, start))
                if kind == "missing":
                    return self.send_error(404)
                if start >= len(content):
                    return self.send_error(416)
                body = bytes(len(content)) if kind == "wrong" else content[0 if kind == "no-range" else start :]
                self.send_response(206 if len(body) < len(content) else 200)
                if kind == "gzip":
                    body = gzip.compress(body)
                    self.send_header("Content-Encoding", "gzip")
                if kind != "endless":
                    self.send_header("Content-Length", "abc" if kind == "no-length" else str(len(body)))
                self.end_headers()
                while kind == "endless" and not host.closed:
                    try:
                        self.wfile.write(bytes(1 << 16))
                        host.sent += 1 << 16
                    except OSError:
                        return
                for place in range(0, len(body), 1 << 16) if kind == "slow" else ():
                    self.wfile.write(body[place : place + (1 << 16)])
                    time.sleep(0.2)
                if kind == "slow":
                    return None
                self.wfile.write(body[: 400_000 if kind == "breaks" and start == 0 else None])

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, kind: str) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{kind}"

    def close(self) -> None:
        self.closed = True
        self.server.shutdown()
        self.server.server_close()


def serve(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An address whose files are those of a folder, without a network."""

    def transfer(url: str, part: Path, *_: object) -> None:
        shutil.copy(folder / url.removeprefix("http://served/"), part)

    monkeypatch.setattr("seefar.data.official.transfer", transfer)
    return "http://served"
