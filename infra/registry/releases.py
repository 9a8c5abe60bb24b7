"""Releases of marts, the newest build of each, and published units: what publication asks and records."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from infra import locks


@dataclass(frozen=True)
class ReleaseRow:
    """One line of ``registry.release``."""

    mart: str
    version: int
    build_id: str
    code_version: str
    commit_seq: int
    rows: int
    period_start: date | None
    period_end: date | None
    sha256: str
    manifest_key: str
    manifest: dict[str, Any]
    snapshot_id: int | None
    status: str
    released_at: datetime | None


@dataclass(frozen=True)
class MartRow:
    """One line of ``registry.mart``."""

    mart: str
    silo: str
    build_id: str | None = None
    held_build_id: str | None = None
    held_because: str | None = None
    tells_exact: bool = False


@dataclass(frozen=True)
class UnitRow:
    """One line of ``registry.unit``."""

    mart: str
    first_day: date
    last_day: date
    edition: int
    silo: str
    rows: int
    late_rows: int
    commit_seq: int
    missing: list[date] = field(default_factory=list)


@contextmanager
def locked(connection: psycopg.Connection, name: str) -> Iterator[None]:
    """Hold the lake-wide lock called ``name``.

    Raises:
        infra.locks.LockedError: another process has it, and kept it.
    """
    locks.take(connection, name, until="released")
    connection.commit()
    try:
        yield
    finally:
        if not connection.closed:  # else the server is gone, and the lock with it: the error that tells of it goes on
            connection.rollback()
            locks.release(connection, name)
            connection.commit()


def newest_releases(connection: psycopg.Connection, status: str | None = None) -> dict[str, ReleaseRow]:
    """By mart, its newest version; of one ``status`` only when given."""
    with connection.cursor(row_factory=class_row(ReleaseRow)) as cursor:
        cursor.execute(
            """
            select distinct on (mart) *
            from registry.release
            where %(status)s::text is null or status = %(status)s
            order by mart, version desc
            """,
            {"status": status},
        )
        return {row.mart: row for row in cursor}


def release(connection: psycopg.Connection, mart: str, version: int) -> ReleaseRow | None:
    """One version of a mart, or None."""
    with connection.cursor(row_factory=class_row(ReleaseRow)) as cursor:
        cursor.execute("select * from registry.release where mart = %s and version = %s", [mart, version])
        return cursor.fetchone()


def prepare_release(connection: psycopg.Connection, row: ReleaseRow) -> None:
    """Record that ``row`` will be released: from here on it is finished, whatever happens."""
    connection.execute(
        """
        insert into registry.release (
            mart, version, build_id, code_version, commit_seq, rows, period_start, period_end, sha256, manifest_key,
            manifest, status
        )
        values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'prepared')
        """,
        [
            row.mart,
            row.version,
            row.build_id,
            row.code_version,
            row.commit_seq,
            row.rows,
            row.period_start,
            row.period_end,
            row.sha256,
            row.manifest_key,
            Jsonb(row.manifest),
        ],
    )


def settle_release(
    connection: psycopg.Connection, mart: str, version: int, snapshot_id: int, released_at: datetime
) -> None:
    """Record that a prepared version is out, everywhere."""
    connection.execute(
        """
        update registry.release set status = 'released', snapshot_id = %s, released_at = %s
        where mart = %s and version = %s
        """,
        [snapshot_id, released_at, mart, version],
    )


def marts(connection: psycopg.Connection) -> dict[str, MartRow]:
    """By mart, what it is up to date with."""
    with connection.cursor(row_factory=class_row(MartRow)) as cursor:
        return {row.mart: row for row in cursor.execute("select * from registry.mart")}


def advance_mart(connection: psycopg.Connection, mart: str, silo: str, build_id: str) -> None:
    """Record that the released content of a mart is that of this build."""
    connection.execute(
        """
        insert into registry.mart (mart, silo, build_id) values (%s, %s, %s)
        on conflict (mart) do update set
            silo = excluded.silo, build_id = excluded.build_id, held_build_id = null, held_because = null
        """,
        [mart, silo, build_id],
    )


def hold_mart(connection: psycopg.Connection, mart: str, silo: str, build_id: str, because: str) -> None:
    """Record that a build of a mart was not released, and why; its last release stays."""
    connection.execute(
        """
        insert into registry.mart (mart, silo, held_build_id, held_because) values (%s, %s, %s, %s)
        on conflict (mart) do update set held_build_id = excluded.held_build_id, held_because = excluded.held_because
        """,
        [mart, silo, build_id, because],
    )


def forget_exact(connection: psycopg.Connection, mart: str) -> None:
    """Record that nothing that an older release of Calanque told of a mart can be read any more."""
    connection.execute("update registry.mart set tells_exact = false where mart = %s", [mart])


def units(connection: psycopg.Connection) -> list[UnitRow]:
    """Every published unit, by mart and day."""
    with connection.cursor(row_factory=class_row(UnitRow)) as cursor:
        return cursor.execute("select * from registry.unit order by mart, first_day").fetchall()


def put_units(connection: psycopg.Connection, rows: Collection[UnitRow]) -> None:
    """Record published units, in the place of what was known of them."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            insert into registry.unit (mart, first_day, last_day, edition, silo, rows, late_rows, commit_seq, missing)
            values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
            on conflict (mart, first_day) do update set
                last_day = excluded.last_day, edition = excluded.edition, silo = excluded.silo, rows = excluded.rows,
                late_rows = excluded.late_rows, commit_seq = excluded.commit_seq, missing = excluded.missing
            """,
            [
                (
                    *(row.mart, row.first_day, row.last_day, row.edition, row.silo),
                    *(row.rows, row.late_rows, row.commit_seq, row.missing),
                )
                for row in rows
            ],
        )


def drop_unit(connection: psycopg.Connection, mart: str, first_day: date) -> None:
    """Forget a unit that is not published any more."""
    connection.execute("delete from registry.unit where mart = %s and first_day = %s", [mart, first_day])


def units_committed_to(connection: psycopg.Connection, registers: Collection[str]) -> list[UnitRow]:
    """The published units with commits to their days, other than to ``registers``, that are not counted yet; and those
    that were published without days which somebody may have declared since.
    """
    with connection.cursor(row_factory=class_row(UnitRow)) as cursor:
        return cursor.execute(
            """
            select unit.*
            from registry.unit
            where unit.missing != '{}' or exists (
                select
                from registry.commit, unnest(commit.days) as day
                where commit.silo = unit.silo and commit.seq > unit.commit_seq and commit.dataset != all(%s)
                    and day between unit.first_day and unit.last_day
            )
            order by mart, first_day
            """,
            [list(registers)],
        ).fetchall()
