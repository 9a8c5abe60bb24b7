"""Run the retention job in a process of its own, and die by SIGKILL at the n-th step.

Usage: ``killed_job.py STEP``, the lake and its clock in the environment. A step is the moment before or after a call
that leaves the process: an HTTP request, a database statement or commit, an Iceberg file, a catalog commit, a file
removed. With step 0 it lives, and prints how many steps there were.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFile
from urllib3.connectionpool import HTTPConnectionPool

from infra.settings import Settings
from stewardship.retention import job

SEAMS = (
    (HTTPConnectionPool, "urlopen"),
    (psycopg.Connection, "execute"),
    (psycopg.Connection, "commit"),
    (PyArrowFile, "create"),
    (SqlCatalog, "commit_table"),
    (Path, "unlink"),
)


def main() -> None:
    last, taken = int(sys.argv[1]), 0

    def step() -> None:
        nonlocal taken
        taken += 1
        if taken == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **named: Any) -> Any:
            step()
            result = function(*args, **named)
            step()
            return result

        return wrapped

    for owner, method in SEAMS:
        setattr(owner, method, around(getattr(owner, method)))
    job.run(Settings(), run_id="killed")
    print(taken)


if __name__ == "__main__":
    main()
