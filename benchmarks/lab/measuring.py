"""What all benchmarks share: arguments, turns of the contenders, and the JSON object that is printed."""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from seefar.evaluation.metrics import wilson_interval
from seefar.runs.provenance import provenance

Found = TypeVar("Found")


def arguments(text: str | None, *positional: str, **options: Any) -> argparse.Namespace:
    """The command line, with `text` as its help.

    Args:
        text: the docstring of the benchmark.
        positional: names of the arguments that are needed, all strings.
        options: for each option its default, which has its type; or a type, and then its default is None.
    """
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in positional:
        parser.add_argument(name)
    for name, default in options.items():
        flag = f"--{name}"
        if default is False:
            parser.add_argument(flag, action="store_true")
        elif isinstance(default, type):
            parser.add_argument(flag, type=default)
        else:
            parser.add_argument(flag, type=type(default), default=default)
    return parser.parse_args()


def print_result(found: Mapping[str, Any]) -> None:
    """One JSON object: the command, the machine, the commit, and what was found."""
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    print(json.dumps({"command": command, **provenance(), **found}, indent=2))


def take_turns(contenders: Mapping[str, Callable[[], Found]], rounds: int) -> dict[str, list[Found]]:
    """What each contender returns in each round: in turn, so that a change of the machine meets all of them alike."""
    found: dict[str, list[Found]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            found[name].append(contender())
    return found


def timed(work: Callable[[], Found], clock: Callable[[], float] = time.perf_counter) -> tuple[Found, float]:
    """What some work returns, and how long it takes by a clock."""
    started = clock()
    found = work()
    return found, clock() - started


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """How long some work takes by a clock."""
    return timed(work, clock)[1]


def spread(values: Sequence[float], best: Callable[[Sequence[float]], float] = min) -> dict[str, float]:
    """The best and the median of some values, and how many they are."""
    return {"best": best(values), "median": statistics.median(values), "n": len(values)}


def share(part: int, whole: int) -> dict[str, Any] | None:
    """A share with its 95% Wilson interval; None of nothing."""
    return {"share": part / whole, "interval": wilson_interval(part, whole)} if whole else None


def count_of(part: int, whole: int) -> dict[str, Any]:
    """A count, of how many, and its share with the 95% interval."""
    return {"count": part, "n": whole, **(share(part, whole) or {})}


def rate_of(hits: NDArray[np.bool_]) -> dict[str, Any]:
    """How often, of how many, with the 95% interval."""
    return {"n": len(hits), **(share(int(hits.sum()), len(hits)) or {})}


def peak_memory() -> float:
    """The most memory that this process had so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
