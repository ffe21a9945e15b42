"""A job of six steps that takes a second, something that happens in one of them, and the lines that it prints."""

from __future__ import annotations

from collections.abc import Callable

import seefar
from seefar.progress import Silent

TINY = seefar.recipe("demo", width=2, epochs=2, batch_size=16, log_every=1, held_out=4)


class At(Silent):
    """Does something in a step of the training."""

    def __init__(self, step: int, what: Callable[[], object]) -> None:
        self.left, self.what = step, what

    def update(self, *_shown: object) -> None:
        self.left -= 1
        if self.left == 0:
            self.what()


class Lines(Silent):
    """Keeps the lines."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def line(self, text: str) -> None:
        self.found.append(text)
