"""Kill a process with SIGKILL at a chosen call that writes to a store, the catalog or a database.

Dying before a write is the same as dying at any point since the write before it: what only reads leaves no trace.
Children are forked from a server that has imported everything and started no thread, so that many points can be tried.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from typing import Any

import psycopg
from minio import Minio
from pyiceberg.catalog.sql import SqlCatalog

CALLS = (
    (Minio, "put_object"),
    (Minio, "remove_object"),
    (SqlCatalog, "create_table"),
    (SqlCatalog, "commit_table"),
    (psycopg.Cursor, "execute"),
    (psycopg.Cursor, "executemany"),
    (psycopg.Cursor, "copy"),
)


def server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["publication.releases.release", "publication.builds.building", "killing"])
    return context


def run(work: Callable[..., Any], *arguments: Any, kill_at: int | None = None) -> tuple[int, int]:
    """Run ``work`` in a child that dies right before its ``kill_at``-th write, counted from 0; None lets it live.

    Returns the child's exit code and the writes it made.
    """
    context = server()
    calls = context.Value("i", 0)
    child = context.Process(target=_child, args=(work, arguments, kill_at, calls))
    child.start()
    child.join()
    assert child.exitcode is not None
    return child.exitcode, calls.value


def _child(work: Callable[..., Any], arguments: tuple[Any, ...], kill_at: int | None, calls: Any) -> None:
    def begins() -> None:
        if kill_at is not None and calls.value == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        calls.value += 1

    for owner, name in CALLS:
        setattr(owner, name, _watched(getattr(owner, name), begins))
    work(*arguments)


def _watched(call: Callable[..., Any], begins: Callable[[], None]) -> Callable[..., Any]:
    @functools.wraps(call)
    def watched(*arguments: Any, **options: Any) -> Any:
        if not _only_reads(*arguments[1:2]):
            begins()
        return call(*arguments, **options)

    return watched


def _only_reads(statement: object = None) -> bool:
    return isinstance(statement, str) and statement.lstrip().lower().startswith(("select", "from"))
