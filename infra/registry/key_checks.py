"""What is known of keys that were used, by a value that does not give them away."""

from __future__ import annotations

import psycopg


def key_check(connection: psycopg.Connection, silo: str, month: str) -> str | None:
    """The check value of the key of a silo for a month (``YYYY-MM``), or None when it was never used."""
    row = connection.execute(
        "select check_value from registry.key where silo = %s and month = %s", [silo, month]
    ).fetchone()
    return None if row is None else str(row[0])


def used_keys(connection: psycopg.Connection) -> list[tuple[str, str]]:
    """Silo and month of every key that was ever used."""
    return connection.execute("select silo, month from registry.key order by silo, month").fetchall()


def note_key(connection: psycopg.Connection, silo: str, month: str, check_value: str) -> str:
    """Record the check value of a key at its first use; the one that is on record, should another be there already."""
    connection.execute(
        "insert into registry.key (silo, month, check_value) values (%s, %s, %s) on conflict do nothing",
        [silo, month, check_value],
    )
    return key_check(connection, silo, month) or check_value
