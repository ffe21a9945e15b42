from __future__ import annotations

import io
import json
import subprocess
import sys
import warnings
from dataclasses import fields
from pathlib import Path

import pytest

from seefar.choices import Choices
from seefar.cli import main as cli
from seefar.cli.commands import JsonOutput, Location, Machine
from seefar.data.shapes import load_shapes
from seefar.errors import RecipeError
from seefar.runs.folder import verify
from seefar.training.recipe import Recipe
from seefar.training.run import Run

pytestmark = pytest.mark.usefixtures("coarse")
RESULTS = Path(__file__).parents[1] / "results"
TINY = ["--width", "2", "--epochs", "1", "--batch-size", "16", "--precision", "float32"]


@pytest.fixture(autouse=True)
def few_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line with 40 training images in place of 4,000."""
    monkeypatch.setattr("seefar.data.cached_shapes", lambda: load_shapes(40, 20))


def call(*words: object) -> int:
    return cli.main([str(word) for word in words])


@pytest.mark.parametrize("words", [["run", "--help"], ["verify", str(RESULTS / "fast")]], ids=lambda words: words[0])
def test_help_and_verify_load_neither_torch_nor_matplotlib(words: list[str]) -> None:
    program = (
        "import sys, seefar, seefar.cli.main\n"
        f"try: assert seefar.cli.main.main({words}) == 0\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'numpy', 'matplotlib', 'albumentations', 'cv2') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1] == "[]"


@pytest.mark.parametrize("columns", ["60", "1", "abc"])
def test_help_fits_any_terminal_and_has_the_defaults_of_the_recipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit) as stop:
        call("run", "quick", "--help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert columns != "60" or max(map(len, text.splitlines())) <= 60
    assert columns == "1" or "(default: 5)" in " ".join(text.replace("│", "").split())
    assert "\x1b" not in text


@pytest.mark.slow
def test_the_main_job_end_to_end(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = ("run", "demo", *TINY, "--top", 2, "--explain", "shown")
    assert call(*job) == 0
    printed = capsys.readouterr().out
    assert "20 test images" in printed
    listed = [line.strip() for line in printed.splitlines() if line.startswith("  runs/")]
    assert len(listed) >= 9
    assert all((in_folder / name).exists() for name in listed)
    assert verify(in_folder / "runs" / "demo") == []
    assert call(*job) == 0  # nothing is computed again, and the same is printed
    assert capsys.readouterr().out == printed
    choices = ("--top", 2, "--explain", "shown", "--method", "hirescam", "--hide", "grey", "--cells", 16)
    assert call("explain", "demo", *choices, "--json", "--quiet") == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["test"]["n"], printed["occlusion"]["repaired"]["n"]) == (20, 2)
    about = json.loads(Path("runs/demo/explanation.json").read_text(encoding="utf-8"))
    assert [about[name] for name in ("method", "hide", "cells")] == ["hirescam", "grey", [16, 16]]


def test_verify_names_what_is_wrong_and_exits_with_2(tiny: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("verify", tiny.folder) == 0
    assert str(tiny.folder) in capsys.readouterr().out
    tiny.folder.log.unlink()
    assert call("verify", tiny.folder) == 2
    assert "log.txt" in capsys.readouterr().err


def test_no_flag_is_an_abbreviation_of_one_of_torchrun() -> None:
    from torch.distributed.run import get_args_parser

    theirs = {name for action in get_args_parser()._actions for name in action.option_strings}
    ours = {
        f"--{one.name.replace('_', '-')}"
        for part in (Recipe, Choices, Location, Machine, JsonOutput)
        for one in fields(part)
    }
    assert not [(our, their) for our in ours for their in theirs if their.startswith(our)]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["run", "quik"], "quik"),
        (["run", "demo", "--data", "nowhere"], "nowhere"),
        (["train", "demo", "--epochs", "0"], "0"),
        (["train", "--epochs", "1", "demo"], "seefar train demo"),
        (["train", "demo", "--name", ".."], "'..'"),
        (["train", "demo", "--name", "\x1b[31mred"], r"\x1b[31mred"),
        (["train", "demo", "--name", "/dev/null/x", *TINY], "/dev/null/x"),
        (["run", "demo", "--image-size", "64"], "64"),
        (["run", "demo", "--processes", "0"], "--processes"),
        (["run", "demo", "--processes", "2", "--max-restarts", "-1"], "--max-restarts"),
        (["run", "quick", "--data-dir", "/nowhere"], "/nowhere"),
        (["evaluate", "nothing"], "runs/nothing"),
        (["evaluate", __file__], "is a file"),
        (["run", "demo", "--name", __file__], "is a file"),
        (["run", "demo", "--data", ""], "empty"),
        (["app", "demo", "--host="], "empty"),
    ],
)
def test_wrong_input_is_one_message_and_exit_code_2(
    in_folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], named: str
) -> None:
    assert call(*words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("seefar: ")
    assert printed.err.count("\n") == 1
    assert named in printed.err
    assert list(in_folder.iterdir()) == []


def test_debug_shows_the_traceback_and_unknown_flags_end_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RecipeError):
        call("run", "quik", "--debug")
    with pytest.raises(SystemExit) as stop:
        call("run", "demo", "--epoch", "3")
    assert stop.value.code == 2


def test_an_unexpected_exception_is_one_line_without_debug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "parse", lambda _words: lambda _words: [][1])
    assert call("report") == 2
    printed = capsys.readouterr().err
    assert (printed.count("\n"), "IndexError" in printed) == (1, True)
    with pytest.raises(IndexError):
        call("report", "--debug")


def test_unprintable_characters_and_a_closed_output_are_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(cli, "parse", lambda _words: lambda _words: print("mus\N{LATIN SMALL LETTER U WITH DIAERESIS}"))
    assert call("data") == 0
    stream.flush()
    assert stream.buffer.getvalue() == b"mus\\xfc\n"  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "stdout", None)  # as Python has it after `>&-`
    assert call("data") == 0
    sys.stdout.close()


def test_a_warning_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli, "parse", lambda words: lambda words: warnings.warn("no \x1b[31m letter", stacklevel=2))
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        shown = warnings.showwarning
        assert cli.main(["predict"]) == 0
        assert warnings.showwarning is shown
    assert capsys.readouterr().err == "seefar: no \\x1b[31m letter\n"
