"""Progress of long work: functions that compute take a `Progress` and never print; `None` means `Display`."""

from __future__ import annotations

import errno
import html
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from seefar.errors import RunError

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

GONE = {errno.EPIPE, errno.EIO}
"""Error numbers of a pipe without a reader, and of a closed terminal."""
SECONDS_BEFORE_BAR = 1.0
"""Work that is done sooner needs no bar."""
SECONDS_BETWEEN_LINES = 30.0
"""Where there is no bar: time between two plain lines of one stage."""
SECONDS_BETWEEN_DRAWINGS = 0.2


class Progress:
    """Receives reports of work in progress; this one shows nothing."""

    def line(self, text: str) -> None:
        """A permanent line, such as a line of the training log."""

    def update(self, stage: str, done: int, total: int, note: str = "") -> None:
        """`done` of `total` units of a stage, such as `evaluation`, are finished; a stage is over at its total."""


SILENT = Progress()
"""Pass `progress=seefar.SILENT` for no output."""


class LastingOutput:
    """A text stream that drops what cannot be written because nobody is there to read it.

    A training must not stop because its reader, such as `| head`, has stopped; its lines are also in `log.txt`.
    Progress, not a result, is dropped for any reason (`drops_all`), such as a full disk.
    """

    def __init__(self, stream: Any, *, drops_all: bool = False) -> None:
        self.stream, self.drops_all = stream, drops_all

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write the text, wrapped to a terminal, or drop it."""
        try:
            self.stream.write(_wrapped(text) if self.stream.isatty() else text)
        except OSError as error:
            self._drop(error)
        return len(text)

    def flush(self) -> None:
        """Flush the stream, or drop its content."""
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


def _wrapped(text: str) -> str:
    """Text with no line wider than the terminal; JSON, tables and bars stay as they are laid out."""
    width = shutil.get_terminal_size().columns
    if len(text) <= width or text.startswith(("{", "[")) or "\x1b" in text:
        return text
    wrapper = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    lines = []
    for line in text.split("\n"):
        wrapper.subsequent_indent = "    " if line.startswith(" ") else ""
        lines.append(wrapper.fill(line))
    return "\n".join(lines)


class Display(Progress):
    """Shows progress where it runs: in a notebook, in a terminal (on standard error), or as lines."""

    def __init__(self) -> None:
        self.stage, self.started, self.shown = "", 0.0, 0.0
        self.notebook = _in_notebook()
        self.terminal = not self.notebook and sys.stderr is not None and sys.stderr.isatty()
        self.bar: Bar | None = None
        self.handle: Any = None

    def line(self, text: str) -> None:
        """Print a line: above the bar in a terminal, to standard output in a notebook."""
        self.shown = time.perf_counter()  # the line itself shows that work continues
        if self.bar:
            self.bar.console.print(text, soft_wrap=True)
        else:
            out: Any = LastingOutput(sys.stdout if self.notebook else sys.stderr, drops_all=True)
            print(text, file=out, flush=True)

    def update(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Move the bar, or print a line if enough time has passed since the last one."""
        now = time.perf_counter()
        if stage != self.stage:
            self.end_stage()
            self.stage, self.started, self.shown = stage, now, now
        over = done >= total
        if self.notebook:
            if over or (now - self.started > SECONDS_BEFORE_BAR and now - self.shown > SECONDS_BETWEEN_DRAWINGS):
                self._draw_in_notebook(done, total, note, now)
        elif self.terminal:
            self._draw_in_terminal(done, total, note, now)
        elif now - self.shown > SECONDS_BETWEEN_LINES:
            self.shown = now
            self.line(", ".join(filter(None, (f"{stage}: {done} of {total}", note))))
        if over:
            self.end_stage()

    def _draw_in_terminal(self, done: int, total: int, note: str, now: float) -> None:
        if self.bar is None and now - self.started > SECONDS_BEFORE_BAR:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            left = TextColumn("{task.fields[note]}") if note else TimeRemainingColumn()
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), left)
            out: Any = LastingOutput(sys.stderr, drops_all=True)
            console = Console(file=out, highlight=False, markup=False)
            self.bar = Progress(*columns, console=console, transient=True)
            self.task = self.bar.add_task(self.stage, total=total, note=note)
            self.bar.start()
        if self.bar:
            self.bar.update(self.task, completed=done, total=total, note=note)

    def _draw_in_notebook(self, done: int, total: int, note: str, now: float) -> None:
        from IPython.display import HTML, display

        self.shown = now
        left = note or (f"{(now - self.started) * (total - done) / done:.0f} s left" if 0 < done < total else "")
        text = html.escape(f"{self.stage} {done} of {total} {left}")
        picture = HTML(f'<progress value="{done}" max="{max(total, 1)}"></progress> {text}')
        if self.handle is None:
            self.handle = display(picture, display_id=True)
        else:
            self.handle.update(picture)

    def end_stage(self) -> None:
        """Remove the bar."""
        if self.bar:
            self.bar.stop()
        self.stage, self.bar, self.handle = "", None, None


@contextmanager
def showing(progress: Progress | None) -> Iterator[Progress]:
    """The progress that was passed, or a `Display` that lives within `with` if it is None."""
    display = Display()
    try:
        yield progress or display
    finally:
        display.end_stage()


def _in_notebook() -> bool:
    """Whether a Jupyter or Colab kernel runs this."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return type(shell).__name__ in ("ZMQInteractiveShell", "Shell")  # Jupyter's, and Colab's subclass of it
