"""The errors a user can cause or meet. Each message names the thing, what was wanted, what was found, the next step."""

from __future__ import annotations

import errno


class SeefarError(Exception):
    """Anything the command line reports in one paragraph, without a traceback."""

    exit_code = 2


class DataError(SeefarError):
    """A data set is missing, damaged, or not of the form that was asked for."""


class RecipeError(SeefarError):
    """A recipe holds a value that no training can use, or no recipe has the name that was given."""


class RunError(SeefarError):
    """A run folder is missing, unfinished, damaged, or belongs to another recipe."""


class ChoiceError(SeefarError):
    """A choice of what to show that cannot be met, such as a thousand mistakes in one figure."""


class DeviceError(SeefarError):
    """The device or precision that was asked for does not exist on this machine."""


class DivergedError(SeefarError):
    """Training met a number that is not finite."""


class ProcessError(SeefarError):
    """Another process of a distributed training failed or ended; that one says why."""

    exit_code = 1


class MapError(SeefarError):
    """A class activation map was asked for that cannot be made, or is too coarse to be of use."""


class Interrupted(SeefarError):  # noqa: N818  # no error: it was asked for
    """Ctrl-C or SIGTERM: the state is saved, the same command goes on from there."""

    exit_code = 130


class MissingExtraError(SeefarError):
    """A feature needs packages that are installed with an extra only.

    Args:
        extra: the extra, such as `onnx`.
        feature: what needs it.
        error: the failed import.
    """

    def __init__(self, extra: str, feature: str, error: ImportError) -> None:
        super().__init__(f"{feature} needs more packages ({error}): pip install 'seefar[{extra}]'.")


def not_read(path: object, error: OSError) -> RunError:
    """The error that says that the system does not give a file of a run, and what to do."""
    step = (
        "move that folder away and put the file back from a copy"
        if error.errno == errno.EISDIR
        else "let this process read it (owner, permissions, ulimit -n)"
    )
    return RunError(
        f"{path} cannot be read ({error.strerror or error}), which says nothing of its content: {step} and do the same "
        "again."
    )


def next_step(error: OSError) -> str:
    """What to do when the system refuses to write, as the beginning of a sentence."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "Let it open more files (ulimit -n)"
    if error.errno == errno.EISDIR:
        return "Move that folder away, since a file belongs there,"
    if error.errno == errno.ENOENT:
        return "Put back what was taken away"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "Make the folder writable"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Make room"
    return "Make room, or make the folder writable,"
