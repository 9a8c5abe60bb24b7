"""Readers that keep the database busy for too long: their sessions are ended."""

from __future__ import annotations

import logging
from datetime import timedelta

import psycopg

LONGEST_READ = timedelta(hours=1)
"""A statement, or a transaction, of a reader that lasts longer is ended by the next round."""

_log = logging.getLogger(__name__)


def end_long_reads(connection: psycopg.Connection, longest: timedelta = LONGEST_READ) -> list[str]:
    """End what readers have left running; a sentence for each.

    The limits with which their sessions begin (:mod:`infra.machines.provisioning.readers`) they may change; not this
    one.
    """
    ended = connection.execute("select role, seconds from registry.end_long_reads(%s)", [longest]).fetchall()
    connection.commit()
    said = [f"a session of role {role} was ended: its statement or transaction lasted {age:,} s" for role, age in ended]
    for sentence in said:
        _log.warning("%s", sentence)
    return said
