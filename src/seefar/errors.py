"""The six errors that a user can cause; a message names the thing, the requirement, what was found, the next step."""

from __future__ import annotations

from importlib import import_module


class SeefarError(Exception):
    """Anything that the command line reports in one paragraph, without a traceback."""

    exit_code = 2


class DataError(SeefarError):
    """A data set, picture or file of predictions is missing, damaged, or of another form than required."""


class RecipeError(SeefarError):
    """A recipe has a value that no training can use, or there is no recipe of that name."""


class RunError(SeefarError):
    """A run folder is missing, unfinished, damaged, or belongs to another recipe; or its training diverged."""


class ChoiceError(SeefarError):
    """A choice that cannot be met: a device, a layer, a number of cells, a class, a number of mistakes."""


class Interrupted(SeefarError):  # noqa: N818  # not an error: a user interrupted it
    """Ctrl-C or SIGTERM: the state is saved, and the same command resumes from there."""

    exit_code = 130


def require(value: object, kind: type, name: str, step: str) -> None:
    """A `ChoiceError` for an argument `name` that is not of this kind; `step` names what to pass instead."""
    if not isinstance(value, kind):
        raise ChoiceError(f"{name} must be a {kind.__name__} (got a {type(value).__name__}): pass {step}.")


def load_extra(extra: str, *packages: str) -> None:
    """Import packages that are installed with an extra, such as `onnx`, only; a `SeefarError` if one is missing."""
    try:
        for package in packages:
            import_module(package)
    except ImportError as error:
        raise SeefarError(f"This needs more packages ({error}): in a checkout, pip install '.[{extra}]'.") from error


def not_read(path: object, error: OSError) -> RunError:
    """The error of a file of a run that the system does not let this process read."""
    return RunError(
        f"{path} cannot be opened ({error.strerror or error}); the file itself may be fine: let this process read it "
        "(owner, permissions, ulimit -n)."
    )


def not_written(path: object, error: OSError) -> RunError:
    """The error of a file or folder of a run that the system does not let this process write."""
    return RunError(
        f"{path} cannot be written ({error.strerror or error}); what was written before is kept. Make room, or let "
        "this process write it (permissions, ulimit -n), and run the same command again."
    )


def printable(text: str) -> str:
    """Text that is safe in a terminal: control characters, such as those of escape sequences, are spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def counted(count: int, noun: str) -> str:
    """Such as `1 picture` and `1,000 pictures`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
