"""Sweep and ingest one test silo in a process of its own, and die at the n-th step if asked to.

Usage: ``crash_worker.py HOME SILO STEP``. A step is the moment before or after a call that leaves the process: an HTTP
request, a database statement or commit, an Iceberg metadata file, a catalog commit, a file moved or removed. At step n
the process kills itself with SIGKILL, so nothing is cleaned up. With step 0 it lives, and prints how many steps there
were.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import essai
import psycopg
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFile
from urllib3.connectionpool import HTTPConnectionPool

from infra.settings import Settings
from ingestion import pipeline
from ingestion.delivery import landing

SEAMS = (
    (HTTPConnectionPool, "urlopen"),
    (psycopg.Connection, "execute"),
    (psycopg.Connection, "commit"),
    (PyArrowFile, "create"),
    (SqlCatalog, "commit_table"),
    (Path, "unlink"),
    (Path, "rename"),
)


class Steps:
    def __init__(self, last: int) -> None:
        self.taken = 0
        self._last = last

    def take(self) -> None:
        self.taken += 1
        if self.taken == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **named: Any) -> Any:
            self.take()
            result = function(*args, **named)
            self.take()
            return result

        return wrapped


def main() -> None:
    home, name, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
    steps = Steps(last)
    for owner, method in SEAMS:
        setattr(owner, method, steps.around(getattr(owner, method)))
    settings = Settings(home=Path(home), quiet=True)
    with essai.registered(essai.make(name)):
        landing.sweep(settings, name)
        pipeline.ingest(settings, name)
    print(steps.taken)


if __name__ == "__main__":
    main()
