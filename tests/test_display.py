"""Progress elsewhere than in a terminal or notebook: plain lines, none for quick work."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from seefar import progress
from seefar.progress import LastingOutput, showing


def test_progress_lines_have_a_minimum_interval(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 29.0, 31.0, 31.0, 32.0, 62.0, 62.0])  # a line reads it too
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: next(clock)))  # not everybody's clock
    with showing(None) as display:
        for done in range(1, 6):
            display.update("maps", done, 10, "note")
    assert capsys.readouterr().err.splitlines() == ["maps: 3 of 10, note", "maps: 5 of 10, note"]


def test_messages_fit_a_terminal_and_json_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    text = "one two three four five\n\n  /a/path is one word"
    wrapped = "one two three four\nfive\n\n  /a/path is one\n    word"
    json = '{"one": "two three four five"}'
    for is_terminal, shown in ((True, wrapped + json), (False, text + json)):
        stream = io.StringIO()
        monkeypatch.setattr(stream, "isatty", lambda is_terminal=is_terminal: is_terminal)
        for part in (text, json):
            LastingOutput(stream).write(part)
        assert stream.getvalue() == shown
