"""Locks of the lake, in PostgreSQL: who waits for one says for whom, and not for ever.

A lock belongs to a session, so it goes with a process that is killed. Sessions bear the name of the command or DAG that
they work for (:func:`this_process`).
"""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import Literal

import psycopg

_log = logging.getLogger(__name__)

_TELL_SECONDS = 5
_LONGEST_SECONDS = 60 * 60
_KEY = "hashtextextended(%(name)s, 0)"
_HOLDERS = f"""
select string_agg(distinct coalesce(nullif(session.application_name, ''), session.usename::text), ', ')
from pg_locks as held
join pg_stat_activity as session using (pid)
where held.locktype = 'advisory'
    and held.granted
    and held.database = (select oid from pg_database where datname = current_database())
    and held.classid = (({_KEY} >> 32) & 4294967295)::oid
    and held.objid = ({_KEY} & 4294967295)::oid
"""


class LockedError(TimeoutError):
    """Another process did not let go of a lock; the message says which process and which lock."""


def take(connection: psycopg.Connection, name: str, *, until: Literal["released", "transaction ends"]) -> None:
    """Take the lake-wide lock called ``name``; while another has it, say every few seconds who.

    Raises:
        LockedError: another has had it for an hour.
    """
    function = "pg_advisory_lock" if until == "released" else "pg_advisory_xact_lock"
    key = {"name": f"calanque {name}"}
    began = time.monotonic()
    while True:
        try:
            with connection.transaction():
                connection.execute(f"set local lock_timeout = '{_TELL_SECONDS}s'")
                connection.execute(f"select {function}({_KEY})", key)
                connection.execute("set local lock_timeout to default")
        except psycopg.errors.LockNotAvailable:
            waited = time.monotonic() - began
            connection.execute("select pg_stat_clear_snapshot()")  # else who was there at the first look
            found = connection.execute(_HOLDERS, key).fetchone()
            holder = (found and found[0]) or "another process"
            if waited > _LONGEST_SECONDS:
                raise LockedError(
                    f"{holder} has held the lock {name!r} for over {waited / 60:.0f} minutes: wait until it is done, "
                    "or end it, and try again"
                ) from None
            _log.warning("waiting for %s, which holds the lock %r (%.0f s)", holder, name, waited)
        else:
            return


def release(connection: psycopg.Connection, name: str) -> None:
    """Give a lock back that was taken until it is released."""
    connection.execute(f"select pg_advisory_unlock({_KEY})", {"name": f"calanque {name}"})


def this_process() -> str:
    """What a person knows this process by: its command or DAG, and its process id. At most 63 characters."""
    dag = os.environ.get("AIRFLOW_CTX_DAG_ID")
    program = Path(sys.argv[0]).stem.replace("__main__", "calanque")
    what = f"DAG {dag}" if dag else " ".join((program, *sys.argv[1:2]))
    return f"{what[:40]} (process {os.getpid()})"
