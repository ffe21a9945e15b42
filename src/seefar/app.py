"""The app: the live report of a run. Its images, and the visitor's pictures, can be painted over and predicted again.

The server has one page and one network. A visitor sends pixels or the bytes of a picture, never the name of a file, and
nothing is written. `seefar/report/assets/live.js` is the other side of it.
"""

from __future__ import annotations

import asyncio
import math
import re
import socket
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from seefar.choices import Fit, MapChoices
from seefar.data.pictures import read_picture
from seefar.errors import ChoiceError, SeefarError
from seefar.explanation.explain import Explainer, normalise_map_settings
from seefar.explanation.pictures import explain_pictures
from seefar.maps.formulas import IN_LOGITS
from seefar.model.adapt import Classifier, adapt
from seefar.model.inference import log_softmax
from seefar.progress import SILENT
from seefar.report.content import ReportContent, effect_values, pack
from seefar.report.page import render_report

LARGEST_UPLOAD = 32 << 20
"""Bytes: about the size of a JPEG of 50 megapixels, the most that is decoded."""
MOST_REQUESTS = 16
"""Pictures that are received at the same time, since they are in memory; others wait."""
MOST_CONNECTIONS = 100
SECONDS_TO_SEND = 10
"""Seconds in which the body of a request must arrive: a picture of 4 MB at 3 Mbit/s."""
SECONDS_IDLE = 15
"""A connection is closed after one to two times as long without progress: no complete request, or nothing received."""
SECONDS_TO_END = 2
"""Seconds for open requests to finish when the process is interrupted."""


@dataclass(frozen=True, eq=False)
class Live:
    """A live page and the network behind it."""

    page: str  # the report with its live part, as HTML
    explainer: Explainer  # of one image at a time
    classes: tuple[str, ...]
    image_size: tuple[int, int]  # height and width of the network's images, in pixels
    fit: Fit = "crop"  # how pictures of another shape are brought to it

    def predict(self, pixels: bytes, other: str | None) -> dict[str, Any]:
        """The prediction for an image that was painted over, uint8 RGB row by row, and its maps.

        `other` is the number of the class to contrast the prediction with, such as the label; the runner-up if it is
        None or the prediction itself.
        """
        size = math.prod(self.image_size) * 3
        if len(pixels) != size:
            raise ChoiceError(f"An image of this network has {size:,} bytes (got {len(pixels):,}).")
        if other is not None and other not in map(str, range(len(self.classes))):
            raise ChoiceError(f"Classes are numbered from 0 to {len(self.classes) - 1}.")
        image = np.frombuffer(pixels, np.uint8).reshape(1, *self.image_size, 3)
        logits = self.explainer.logits(image)
        first, second = (int(index) for index in np.argsort(-logits[0], kind="stable")[:2])
        if other is not None and int(other) != first:
            second = int(other)
        pair = self.explainer.two_maps(image, (np.array([first]), np.array([second])))
        return self._values(first, second, np.exp(log_softmax(logits))[0], np.concatenate(pair))

    def explain(self, upload: bytes) -> dict[str, Any]:
        """The prediction for a picture of any size and mode, its maps, the occlusion test and the checks of the map."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged metadata
            picture = read_picture(upload, self.image_size, self.fit)
        (explained,) = explain_pictures(self.explainer, [""], [picture], self.classes, SILENT)
        maps = np.stack([explained.predicted_map, explained.runner_up_map])
        return {
            **self._values(explained.predicted, explained.runner_up, explained.probabilities, maps),
            **effect_values(explained.repair, explained.health, explained.sentence()),
            "outcome": "stays" if explained.repair.outcome == "stays" else "other",  # the runner-up need not be right
            "confidence": float(explained.probabilities[explained.predicted]),
            "about": picture.describe(),
            "pixels": pack(picture.image),
            "hidden": pack(np.packbits(explained.hidden)),
        }

    def _values(
        self, predicted: int, other: int, probabilities: NDArray[np.float64], maps: NDArray[np.float32]
    ) -> dict[str, Any]:
        settings, grid = self.explainer.settings, self.explainer.settings.grid
        return {
            "predicted": predicted,
            "other": other,
            "probabilities": pack(probabilities.astype("<f4")),
            "maps": pack(maps.astype("<f4")),  # (2, h, w)
            "grid": {
                "cells": maps.shape[1:],
                "spacing": grid.spacing,
                "origin": grid.origin,
                "unit": "logits" if settings.method in IN_LOGITS else "no unit",
                "hide": settings.hide,
            },
        }


def make_live(model: nn.Module | Classifier, content: ReportContent) -> Live:
    """The live report of the model that the content is about; its maps are computed as those in the content."""
    maps, size, classifier = content.explanation, content.test.images.shape[1:3], adapt(model)
    choices = MapChoices() if maps is None else MapChoices(maps.method, maps.layer, maps.cells, maps.hide)
    settings = normalise_map_settings(classifier, size, choices, force=True)
    grid = settings.grid if maps is None else maps.grid
    explainer = Explainer(classifier, replace(settings, grid=grid, batch=1))
    fit = content.recipe.fit if content.recipe else "crop"
    return Live(render_report(content, live=True), explainer, content.test.classes, size, fit)


def make_server(live: Live, host: str = "127.0.0.1") -> Any:
    """The server, whose `run(sockets=[listen(...)])` serves the page and its predictions until it is interrupted.

    Requests with a host name different from `host` are refused; otherwise a web page whose name resolves to this
    machine could use the app (DNS rebinding). Requests from other web pages are refused too. Where `host` means all
    interfaces, any name is accepted.
    """
    import uvicorn
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    names = {"localhost", "127.0.0.1", "[::1]", host.lower(), f"[{host.lower()}]"}
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
    if host in ("0.0.0.0", "::", ""):
        names = set()
    else:  # the page itself has the rest of its policy
        headers["Content-Security-Policy"] = "frame-ancestors 'none'"
    slots = asyncio.Semaphore(MOST_REQUESTS)
    worker = ThreadPoolExecutor(1)  # one network, one thread: as fast as several, and the memory of one

    async def compute(request: Any, most: int, handler: Callable[..., dict[str, Any]], *more: Any) -> Response:
        _check_origin(request, names)
        body = await _read_body(request, most)
        values = await asyncio.get_running_loop().run_in_executor(worker, handler, body, *more)
        return JSONResponse(values, headers=headers)

    async def page(request: Any) -> Response:
        _check_origin(request, names)
        return Response(live.page, media_type="text/html", headers=headers)

    async def predict(request: Any) -> Response:
        most = math.prod(live.image_size) * 3
        return await compute(request, most, live.predict, request.query_params.get("other") or None)

    async def picture(request: Any) -> Response:
        async with slots:
            return await compute(request, LARGEST_UPLOAD, live.explain)

    def refused(_: Any, error: Exception) -> Response:
        status, text = 500, "The server has failed: see its output in the terminal."
        if isinstance(error, HTTPException):
            status, text = error.status_code, error.detail
        elif isinstance(error, SeefarError):
            status, text = 400, str(error)
        return JSONResponse({"error": text}, status, headers)

    post = {"methods": ["POST"]}
    site = Starlette(
        routes=[Route("/", page), Route("/predict", predict, **post), Route("/picture", picture, **post)],
        exception_handlers={HTTPException: refused, SeefarError: refused, Exception: refused},
    )
    quiet: dict[str, Any] = {"log_level": "error", "lifespan": "off", "ws": "none", "server_header": False}
    idle: dict[Any, Any] = {}

    async def close_idle() -> None:
        nonlocal idle
        idle = _close_idle(server.server_state.connections, idle)

    limits = {"limit_concurrency": MOST_CONNECTIONS, "timeout_graceful_shutdown": SECONDS_TO_END}
    config = uvicorn.Config(site, callback_notify=close_idle, timeout_notify=SECONDS_IDLE, **limits, **quiet)
    server = uvicorn.Server(config)
    return server


def _close_idle(connections: set[Any], before: dict[Any, Any]) -> dict[Any, Any]:
    """Close connections without progress since the last call, which returned `before`; uvicorn would keep them."""
    idle = {
        connection: (connection.cycle, connection.transport.get_write_buffer_size())
        for connection in connections
        if connection.cycle is None or connection.cycle.response_complete  # between two requests
    }
    for connection, state in idle.items():
        if before.get(connection) == state:
            connection.transport.abort()
    return idle


def _check_origin(request: Any, names: set[str]) -> None:
    """Refuse a request for another host than one of these names, if there are any, or from another web page."""
    from starlette.exceptions import HTTPException

    name, origin = request.headers.get("host", "").lower(), request.headers.get("origin")
    if names and re.sub(r":\d+$", "", name) not in names:
        raise HTTPException(400, "This app has another host name: open the address that it printed.")
    if origin is not None and origin.lower() not in (f"http://{name}", f"https://{name}"):
        raise HTTPException(403, "Requests from other pages are refused.")


async def _read_body(request: Any, most: int) -> bytes:
    """The body of a request, read up to the limit."""
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect

    body = bytearray()
    try:
        async with asyncio.timeout(SECONDS_TO_SEND):
            async for part in request.stream():
                body += part
                if len(body) > most:
                    raise HTTPException(413, f"At most {most:,} bytes are read: make the picture smaller.")
    except (TimeoutError, ClientDisconnect):
        raise HTTPException(408, f"A request must be sent within {SECONDS_TO_SEND} s.") from None
    return bytes(body)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one. A `ChoiceError` if the port or the address cannot be used."""
    if not 0 <= port <= 65535:
        raise ChoiceError(f"--port must be between 0 and 65535 (got {port}).")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=MOST_CONNECTIONS)
    except OSError as error:
        raise ChoiceError(
            f"seefar cannot listen on {host}, port {port} ({error.strerror or error}): choose another --port or --host."
        ) from error
