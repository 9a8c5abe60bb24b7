"""Which days a silo is complete for, as somebody declared, and what publication need not wait for.

Lines are only added. Of each day the newest line stands: a steward takes a mistaken declaration back by another.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, TypeAlias

import psycopg
from psycopg.rows import class_row

Source: TypeAlias = Literal["note", "format", "steward"]


@dataclass(frozen=True)
class CoverRow:
    """One line of ``registry.cover``."""

    seq: int
    silo: str
    days: list[date]
    covers: bool
    source: Source
    delivery_id: str | None
    said_by: str
    said_at: datetime
    reason: str | None


@dataclass(frozen=True)
class GoAheadRow:
    """One line of ``registry.go_ahead``: about the ``missing`` days of a period, or about a delivery."""

    silo: str
    missing: list[date]
    first_day: date | None
    last_day: date | None
    delivery_id: str | None
    said_by: str
    said_at: datetime
    reason: str
    seq: int = 0


def declare(
    connection: psycopg.Connection,
    silo: str,
    days: Collection[date],
    *,
    source: Source,
    said_by: str,
    said_at: datetime,
    delivery_id: str | None = None,
    reason: str | None = None,
    covers: bool = True,
) -> None:
    """Record that ``silo`` is complete for ``days``; or, when it ``covers`` them not, that it was a mistake.

    What a delivery declares it declares once: a repeated attempt or a replay does not overrule who took it back since.
    """
    connection.execute(
        """
        insert into registry.cover (silo, days, covers, source, delivery_id, said_by, said_at, reason)
        select %(silo)s, %(days)s::date[], %(covers)s, %(source)s, %(delivery_id)s, %(said_by)s, %(said_at)s, %(reason)s
        where %(delivery_id)s::text is null or not exists (
            select from registry.cover
            where silo = %(silo)s and delivery_id = %(delivery_id)s and days @> %(days)s::date[]
        )
        """,
        {
            "silo": silo,
            "days": sorted(days),
            "covers": covers,
            "source": source,
            "delivery_id": delivery_id,
            "said_by": said_by,
            "said_at": said_at,
            "reason": reason,
        },
    )


def covered_days(connection: psycopg.Connection, silos: Collection[str]) -> dict[str, frozenset[date]]:
    """By silo, the days that somebody declared it complete for."""
    found = connection.execute(
        """
        select silo, array_agg(day)
        from (
            select distinct on (silo, day) silo, day, covers
            from registry.cover, unnest(days) as day
            where silo = any(%s)
            order by silo, day, seq desc
        ) as newest
        where covers
        group by silo
        """,
        [list(silos)],
    )
    declared = {silo: frozenset(days) for silo, days in found}
    return {silo: declared.get(silo, frozenset()) for silo in silos}


def covers(connection: psycopg.Connection, silo: str) -> list[CoverRow]:
    """Every declaration about a silo, oldest first."""
    with connection.cursor(row_factory=class_row(CoverRow)) as cursor:
        return cursor.execute("select * from registry.cover where silo = %s order by seq", [silo]).fetchall()


def add_go_ahead(connection: psycopg.Connection, row: GoAheadRow) -> None:
    """Record that publication need not wait for something."""
    connection.execute(
        """
        insert into registry.go_ahead (silo, missing, first_day, last_day, delivery_id, said_by, said_at, reason)
        values (%s, %s, %s, %s, %s, %s, %s, %s)
        """,
        [
            row.silo,
            row.missing,
            row.first_day,
            row.last_day,
            row.delivery_id,
            row.said_by,
            row.said_at,
            row.reason,
        ],
    )


def go_aheads(connection: psycopg.Connection, silos: Collection[str]) -> list[GoAheadRow]:
    """What publication of ``silos`` need not wait for, oldest first."""
    with connection.cursor(row_factory=class_row(GoAheadRow)) as cursor:
        return cursor.execute(
            "select * from registry.go_ahead where silo = any(%s) order by seq", [list(silos)]
        ).fetchall()
