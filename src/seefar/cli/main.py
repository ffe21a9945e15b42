"""The entry point: reads the command line, calls a command, reports errors in one paragraph, returns the exit code."""

from __future__ import annotations

import gc
import io
import os
import re
import shutil
import sys
import warnings
from collections.abc import Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout, suppress
from itertools import pairwise
from textwrap import fill
from typing import Annotated, Any, Union

import tyro

from seefar.cli.commands import Evaluate, Explain, FetchData, Report, Run, Train, Verify
from seefar.cli.tools import App, Audit, Compare, Export, Predict, Triage
from seefar.errors import ChoiceError, RecipeError, RunError, SeefarError, printable
from seefar.progress import LastingOutput
from seefar.training.recipe import RECIPES, read_recipe, recipe

GROUPS = {
    "recipe": "hyperparameters",
    "location": "run folder and data",
    "machine": "device and checkpoints",
    "launch": "several processes",
    "choices": "which mistakes, and how they are explained",
    "elsewhere": "other pictures",
    "finished": "device and data",
}
"""Groups of flags in words, by the field that holds them, where its name is not enough."""
NARROWEST = 40
"""Columns of a terminal: below about 20 the layout of the help never ends."""
DESCRIPTION = (
    "Find every mistake of an image classifier, and see which pixels caused it. `seefar run` trains a ResNet-18 on "
    "CIFAR-10 first; `seefar audit` takes your own classifier. `seefar COMMAND --help` lists the flags of a command; "
    "`seefar --version` prints the version."
)


COMMANDS: dict[str, type[Any]] = {
    "run": Run,
    "train": Train,
    "evaluate": Evaluate,
    "explain": Explain,
    "report": Report,
    "audit": Audit,
    "predict": Predict,
    "app": App,
    "verify": Verify,
    "compare": Compare,
    "triage": Triage,
    "export": Export,
    "data": FetchData,
}
"""Every command by its name; those with a recipe take it as their first word."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; `arguments` are what follows the program's name, by default the process's own.

    Exit codes: 0 done, 1 the condition of `compare --fail-if` holds, 2 wrong input or data, 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    _make_printing_safe()
    os.environ["MPLBACKEND"] = "agg"  # figures go into files only, so no other backend is loaded
    if os.path.lexists("matplotlibrc"):  # of the current folder: untrusted, it may turn LaTeX on or be a FIFO
        with chdir(os.sep):
            import matplotlib  # noqa: F401  # it reads the file on import
    if shutil.get_terminal_size().columns < NARROWEST:
        os.environ["COLUMNS"] = str(NARROWEST)
    gc.set_threshold(10_000)  # not 700: imports create many objects, and garbage collection among them takes 0.2 s
    out: Any = LastingOutput(sys.stdout)
    errors: Any = LastingOutput(sys.stderr, drops_all=True)
    with redirect_stdout(out), redirect_stderr(errors):
        try:
            return _call(words)
        finally:
            with suppress(OSError, RunError):
                out.flush()  # else Python flushes at exit, and reports an error if the pipe is closed


def _call(words: list[str]) -> int:
    """Call the command; its exit code."""
    try:
        if words == ["--version"]:
            from seefar import __version__

            print(f"seefar {__version__}", flush=True)
            return 0
        with warnings.catch_warnings():
            if "--debug" not in words:
                warnings.showwarning = _print_warning
            code: int = parse(words)(words) or 0
        sys.stdout.flush()
        return code
    except Exception as error:
        if "--debug" in words:
            raise
        code, text = getattr(error, "exit_code", 2), str(error)
        if not isinstance(error, SeefarError | OSError):  # no loader checks every value of an untrusted run folder
            text = (
                f"This command failed ({type(error).__name__}: {text[:300]}): --debug shows where. The cause can be a "
                "model of your own, or a file that seefar did not write; if it is neither, please report it."
            )
        # Of several processes only the first reports the errors that all of them have, and that another one was lost.
        if os.environ.get("RANK", "0") == "0" or not (isinstance(error, RunError) or code in (1, 130)):
            lines = map(printable, f"seefar: {text}".split("\n"))  # file names may hold escape sequences
            print("\n".join(lines), file=sys.stderr)
        return code
    except KeyboardInterrupt:
        print("seefar: interrupted; the same command resumes from the saved state", file=sys.stderr)
        return 130


def parse(words: Sequence[str]) -> Any:
    """The command with its flags."""
    words = list(words)
    if any(not word or (word.startswith("--") and word.endswith("=")) for word in words):
        raise ChoiceError("A value is empty (''): give it, or leave its flag out.")
    # The recipe is taken out first, because it decides the defaults of all the other flags.
    chosen = RECIPES["fast"]
    if words[:1] in (["run"], ["train"]) and len(words) > 1 and not words[1].startswith("-"):
        word = words.pop(1)
        chosen = read_recipe(word) if word.lower().endswith((".toml", ".json")) else recipe(word)
    elif words[:1] in (["run"], ["train"]):
        for before, word in pairwise(words):
            if word in RECIPES and not before.startswith("-"):
                raise RecipeError(f"The recipe comes before the flags: seefar {words[0]} {word} ...")
    commands = tuple(
        Annotated[
            command,
            tyro.conf.subcommand(name, **({"default": command(chosen)} if name in ("run", "train") else {})),
        ]
        for name, command in COMMANDS.items()
    )
    union: Any = Union[commands]  # noqa: UP007  # built from a table
    printed = io.StringIO()  # no terminal, so without colours
    try:
        with redirect_stdout(printed):
            return tyro.cli(
                union,
                prog="seefar",
                description=DESCRIPTION,
                args=words or ["--help"],
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.DisallowNone),
            )
    finally:
        print(_plain_help(printed.getvalue()), end="", flush=True)


def _plain_help(text: str) -> str:
    """The help: prose wrapped to the terminal, no uninformative defaults, groups with readable names."""
    text = re.sub(r"usage: seefar \[-h\] \{[^}]*\}", "usage: seefar COMMAND [flags]", text)  # wrapped within words
    text = re.sub(r"usage: seefar (run|train) ", rf"usage: seefar \1 [{'|'.join(RECIPES)}] ", text)
    text = re.sub(r"\(default:\s*(None|False)?\)", lambda match: "\n" * match[0].count("\n"), text)
    text = re.sub(r"^ +\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^ (\w+) options *$", lambda match: f" {GROUPS.get(match[1], match[1])}", text, flags=re.MULTILINE)
    text = re.sub(r"\n( [a-z].*\n -----)", r"\n\n\1", text)
    width = shutil.get_terminal_size().columns
    # Lines of a group are laid out already, and indented.
    lines = (line.rstrip() if line.startswith(" ") else fill(line, width) for line in text.splitlines())
    return "".join(f"{line}\n" for line in lines)


def _make_printing_safe() -> None:
    """Avoid a traceback where standard output is closed, or cannot encode a class name."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # for the rest of the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _print_warning(message: Warning | str, *_: object, **__: object) -> None:
    """One line, without the source location that Python adds; file names in it may hold escape sequences."""
    print(printable(f"seefar: {message}"), file=sys.stderr)
