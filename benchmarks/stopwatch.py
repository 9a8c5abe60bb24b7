"""Elapsed time, on the wall and on the processors."""

from __future__ import annotations

import os
import time
from typing import NamedTuple


class Elapsed(NamedTuple):
    """``cpu_seconds`` are those of this process and of its children that have ended, all cores together."""

    seconds: float
    cpu_seconds: float


class Stopwatch:
    """Starts when it is made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), _cpu()

    def read(self) -> Elapsed:
        """What has elapsed since the start."""
        return Elapsed(time.perf_counter() - self._wall, _cpu() - self._cpu)


def _cpu() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
