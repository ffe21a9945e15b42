"""Random streams: one for each purpose, so that no two purposes share a seed."""

from __future__ import annotations

from enum import IntEnum


class Stream(IntEnum):
    """The purpose of random numbers: the first part of each seed.

    Without it, numpy would draw the same numbers for the seeds 0, (0, 0) and (0, 0, 0), so each stream is used in one
    place only. The images of `shapes`, which came first, are drawn without a stream.
    """

    ORDER = 1
    FLIP = 2
    BATCH = 3
    HELD_OUT = 4
    MAP = 5
    TIES = 6
    SHIFT = 7
    IMPUTE = 8
    RIGHT_ANSWERS = 9
    PATCH = 10
    BOOTSTRAP = 11
    CALIBRATION = 12
