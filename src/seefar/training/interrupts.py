"""Ctrl-C, SIGTERM and a closed terminal end a training after the current step, with its state saved."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType

STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""The signals that stop a training. SIGHUP, which Windows lacks, comes from a closed terminal or a lost connection."""
REPEATED = 3.0
"""Seconds in which a repeated signal counts as the first one: the end of a job reaches a process in more than one way,
such as from the process group and from a launcher."""


class Interrupts:
    """Within `with`, the first Ctrl-C, SIGTERM or SIGHUP sets `asked`; one after `REPEATED` seconds ends the process.

    Under nohup SIGHUP stays ignored. Outside the main thread, where Python allows no handlers, nothing is changed.
    """

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Interrupts:
        self.before = {}
        if threading.current_thread() is threading.main_thread():
            for number in STOPS:
                if not (number.name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):
                    self.before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_error: object) -> None:
        self._restore()

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.asked:
            self.asked, self.first = True, now
        elif now - self.first > REPEATED:
            self._restore()
            os.kill(os.getpid(), number)

    def _restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
