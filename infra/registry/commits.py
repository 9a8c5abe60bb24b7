"""Commits to conformed tables, and which days they changed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

import psycopg
from psycopg.rows import class_row


@dataclass(frozen=True)
class CommitRow:
    """One line of ``registry.commit``."""

    seq: int
    silo: str
    dataset: str
    delivery_id: str
    days: list[date]
    snapshot_id: int | None
    committed_at: datetime
    replay: int = 0


def commit(connection: psycopg.Connection, dataset: str, delivery_id: str) -> CommitRow | None:
    """The commit of a delivery to a conformed table, or None."""
    with connection.cursor(row_factory=class_row(CommitRow)) as cursor:
        cursor.execute("select * from registry.commit where dataset = %s and delivery_id = %s", [dataset, delivery_id])
        return cursor.fetchone()


def commits_of(connection: psycopg.Connection, delivery_id: str) -> list[CommitRow]:
    """The commits of a delivery, to whichever tables."""
    with connection.cursor(row_factory=class_row(CommitRow)) as cursor:
        cursor.execute("select * from registry.commit where delivery_id = %s order by seq", [delivery_id])
        return cursor.fetchall()


def add_commit(
    connection: psycopg.Connection,
    *,
    silo: str,
    dataset: str,
    delivery_id: str,
    days: Collection[date],
    snapshot_id: int | None,
) -> None:
    """Record that a delivery is in a conformed table; ``days`` are the event days whose rows changed."""
    connection.execute(
        """
        insert into registry.commit (silo, dataset, delivery_id, days, snapshot_id) values (%s, %s, %s, %s, %s)
        on conflict do nothing
        """,
        [silo, dataset, delivery_id, sorted(days), snapshot_id],
    )


def renew_commit(
    connection: psycopg.Connection,
    dataset: str,
    delivery_id: str,
    *,
    replay: int,
    days: Collection[date],
    snapshot_id: int | None,
) -> None:
    """Record that a replay of a delivery is in a conformed table: its commit is the newest one now.

    ``days`` are the event days that held rows of the delivery, or do now.
    """
    connection.execute(
        """
        update registry.commit
        set seq = default, days = %s, snapshot_id = coalesce(%s, snapshot_id), committed_at = now(), replay = %s
        where dataset = %s and delivery_id = %s
        """,
        [sorted(days), snapshot_id, replay, dataset, delivery_id],
    )


def commits_to_days(connection: psycopg.Connection, silo: str, first: date, last: date) -> list[CommitRow]:
    """The commits of a silo that changed rows of any day from ``first`` to ``last``, in order of landing."""
    with connection.cursor(row_factory=class_row(CommitRow)) as cursor:
        cursor.execute(
            """
            select commit.*
            from registry.commit
            inner join registry.delivery using (silo, delivery_id)
            where silo = %s and exists (select from unnest(days) as day where day between %s and %s)
            order by delivery.seq
            """,
            [silo, first, last],
        )
        return cursor.fetchall()


def changed_days(connection: psycopg.Connection, silo: str, since: int) -> list[date]:
    """The event days, reference data apart, that the commits of a silo after number ``since`` changed, in order."""
    rows = connection.execute(
        """
        select distinct day from registry.commit, unnest(days) as day
        where silo = %s and seq > %s and day > '1970-01-01'
        order by day
        """,
        [silo, since],
    )
    return [day for (day,) in rows]


def take_back(connection: psycopg.Connection, silo: str, delivery_ids: Collection[str]) -> None:
    """Have committed deliveries ingested again: they are landed ones, and nothing is said to be committed of them."""
    connection.execute(
        "delete from registry.commit where silo = %s and delivery_id = any(%s)", [silo, list(delivery_ids)]
    )
    connection.execute(
        """
        update registry.delivery set status = 'landed', reason = null, settled_at = null
        where silo = %s and delivery_id = any(%s) and status = 'committed'
        """,
        [silo, list(delivery_ids)],
    )


def newest_commits(connection: psycopg.Connection) -> dict[str, int]:
    """By silo, the sequence number of its newest commit."""
    return dict(connection.execute("select silo, max(seq) from registry.commit group by silo").fetchall())


def datasets(connection: psycopg.Connection, silos: Collection[str]) -> list[str]:
    """The conformed tables that ``silos`` ever committed to."""
    rows = connection.execute(
        "select distinct dataset from registry.commit where silo = any(%s) order by dataset", [list(silos)]
    )
    return [dataset for (dataset,) in rows]
