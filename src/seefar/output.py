"""Output: streams that outlive their reader, and text that no terminal obeys."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Any

from seefar.errors import RunError

GONE = {errno.EPIPE, errno.EIO}
"""What the system says of a pipe that nobody reads any more, and of a terminal that was closed."""


class LastingOutput:
    """A text stream that drops what cannot be written because nobody is there to read it.

    A training is not worth less because `| head` has seen enough; its lines are in `log.txt`.

    Args:
        stream: what is written to while it lasts.
        drops_all: drop what cannot be written for any reason, such as a full disk: right for progress, not for results.
    """

    def __init__(self, stream: Any, *, drops_all: bool = False) -> None:
        self.stream, self.drops_all = stream, drops_all

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write the text, or drop it."""
        try:
            self.stream.write(text)
        except OSError as error:
            self._drop(error)
        return len(text)

    def flush(self) -> None:
        """Bring what was written to its reader, or drop it."""
        try:
            self.stream.flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        """Write to nothing from now on; Python flushes what it still holds back when the process ends."""
        with suppress(OSError, ValueError):  # the stream is not a file of the system
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self.stream.fileno())
            os.close(nothing)
        if not self.drops_all and error.errno not in GONE:
            raise RunError(
                f"Standard output cannot be written to ({error.strerror}): make room for it, and run the same command "
                "again."
            ) from error


def printable(text: str) -> str:
    """Text that is safe in a terminal: control characters, such as those of escape sequences, are spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
