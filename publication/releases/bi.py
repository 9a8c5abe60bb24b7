"""Marts in PostgreSQL, where BI tools read them: schema ``marts`` of database ``bi``."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from datetime import datetime

import polars as pl
import psycopg
import pyarrow as pa
from psycopg import sql

from publication.releases.manifest import Manifest, Part

DATABASE = "bi"
SCHEMA = "marts"
READER = "analyst"
COPY_ROWS = 100_000
_NULL = "\\N"

_TYPES = {
    "date": "date",
    "varchar": "text",
    "integer": "integer",
    "bigint": "bigint",
    "double": "double precision",
}

_RELEASE_INFO = """
create table if not exists marts.release_info (
    mart         text primary key,
    version      integer not null,
    released_at  timestamptz not null,
    period_start date,
    period_end   date,
    rows         bigint not null,
    sha256       text not null,
    days_covered   integer,
    days_in_period integer
);
alter table marts.release_info add column if not exists days_covered integer;
alter table marts.release_info add column if not exists days_in_period integer;
comment on table marts.release_info is
    'Which release of each mart this schema holds. All marts of a build change in the same instant.';
comment on column marts.release_info.mart is 'Name of the mart, and of its table in this schema.';
comment on column marts.release_info.version is 'Version of the release, from 1.';
comment on column marts.release_info.released_at is 'When this version became visible.';
comment on column marts.release_info.period_start is 'First day of its first period; null when all were withdrawn.';
comment on column marts.release_info.period_end is 'Last day of its last period; null when all were withdrawn.';
comment on column marts.release_info.rows is 'Number of rows.';
comment on column marts.release_info.sha256 is 'Digest of the content, as in the release''s manifest.';
comment on column marts.release_info.days_covered is
    'How many days of its periods the city declared that it holds everything of.';
comment on column marts.release_info.days_in_period is 'How many days its periods have, together.';
grant select on marts.release_info to analyst;
"""


def versions(connection: psycopg.Connection) -> dict[str, int]:
    """By mart, the version that BI readers see."""
    if connection.execute("select to_regclass('marts.release_info')").fetchone() == (None,):
        return {}
    return dict(connection.execute("select mart, version from marts.release_info").fetchall())


def publish(
    connection: psycopg.Connection,
    manifests: Iterable[Manifest],
    rows: Callable[[Part], pa.Table],
    history: Callable[[str, int], Manifest | None],
) -> dict[str, datetime]:
    """Show all of ``manifests`` to readers in one transaction; return when each became visible, by mart.

    Only the units that differ from what a table holds are replaced. ``rows`` reads a release file; ``history`` gives
    the manifest of an earlier version. A version that is already shown is left as it is.
    """
    with connection.transaction():
        # Text and parameters cannot be mixed in one call; these statements are constants of this module.
        connection.execute(_RELEASE_INFO)
        shown = versions(connection)
        for manifest in manifests:
            version = shown.get(manifest.mart)
            if version != manifest.version:
                _replace(connection, manifest, history(manifest.mart, version) if version else None, rows)
            describe(connection, manifest)
        found = connection.execute("select mart, released_at from marts.release_info")
        return dict(found.fetchall())


def renew(connection: psycopg.Connection, manifest: Manifest, rows: Callable[[Part], pa.Table]) -> None:
    """Make the table of a mart anew, with the rows it has: whatever the database remembers of others goes."""
    with connection.transaction():
        _create(connection, manifest)
        for part in manifest.parts:
            _copy(connection, manifest, rows(part))
        describe(connection, manifest)


def describe(connection: psycopg.Connection, manifest: Manifest) -> None:
    """Give the table and its columns the descriptions of dbt, which BI tools show; the table its contract's version."""
    version = f"\n\nContract {manifest.contract.version}." if manifest.contract else ""
    statements = [
        sql.SQL("comment on table {} is {}").format(
            sql.Identifier(SCHEMA, manifest.mart), sql.Literal(f"{manifest.description}{version}")
        )
    ] + [
        sql.SQL("comment on column {} is {}").format(
            sql.Identifier(SCHEMA, manifest.mart, column.name), sql.Literal(column.description)
        )
        for column in manifest.columns
    ]
    connection.execute(sql.SQL("; ").join(statements))


def _replace(
    connection: psycopg.Connection,
    manifest: Manifest,
    held: Manifest | None,
    rows: Callable[[Part], pa.Table],
) -> None:
    table = sql.Identifier(SCHEMA, manifest.mart)
    if _columns(connection, manifest.mart) != [(column.name, _TYPES[column.type]) for column in manifest.columns]:
        held = None
    changes = manifest.changed_since(held)
    if changes.everything or not manifest.parts:  # of a table left empty, no new statistics would replace the old
        _create(connection, manifest)
    elif changes.removed:
        connection.execute(
            sql.SQL(
                "delete from {} using unnest(%s::date[], %s::date[]) as gone (first_day, last_day) "
                "where period_start between gone.first_day and gone.last_day"
            ).format(table),
            [[days.first_day for days in changes.removed], [days.last_day for days in changes.removed]],
        )
    for part in changes.added:
        _copy(connection, manifest, rows(part))
    if changes.removed:
        # What the planner knows of a table are values of it: those that are gone go from there too, at once.
        connection.execute(sql.SQL("analyze {}").format(table))
    connection.execute(
        """
        insert into marts.release_info (
            mart, version, released_at, period_start, period_end, rows, sha256, days_covered, days_in_period
        )
        values (%s, %s, now(), %s, %s, %s, %s, %s, %s)
        on conflict (mart) do update set
            version = excluded.version, released_at = excluded.released_at, period_start = excluded.period_start,
            period_end = excluded.period_end, rows = excluded.rows, sha256 = excluded.sha256,
            days_covered = excluded.days_covered, days_in_period = excluded.days_in_period
        """,
        [
            manifest.mart,
            manifest.version,
            manifest.period_start,
            manifest.period_end,
            manifest.rows,
            manifest.sha256,
            manifest.days_covered,
            manifest.days_in_period,
        ],
    )


def _columns(connection: psycopg.Connection, mart: str) -> list[tuple[str, str]]:
    """Names and types of the columns of a mart's table; empty when there is no table."""
    found = connection.execute(
        """
        select attname, format_type(atttypid, atttypmod)
        from pg_attribute
        where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped
        order by attnum
        """,
        [f"{SCHEMA}.{mart}"],
    )
    return found.fetchall()


def _create(connection: psycopg.Connection, manifest: Manifest) -> None:
    """The table of a mart, new and empty."""
    table = sql.Identifier(SCHEMA, manifest.mart)
    columns = [
        sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(_TYPES[column.type]))
        for column in manifest.columns
    ]
    key = sql.SQL("primary key ({})").format(sql.SQL(", ").join(map(sql.Identifier, manifest.grain)))
    connection.execute(sql.SQL("drop table if exists {}").format(table))
    connection.execute(sql.SQL("create table {} ({})").format(table, sql.SQL(", ").join([*columns, key])))
    connection.execute(sql.SQL("grant select on {} to {}").format(table, sql.Identifier(READER)))


def _copy(connection: psycopg.Connection, manifest: Manifest, rows: pa.Table) -> None:
    """Add rows in bulk, as CSV in slices of bounded size."""
    names = [column.name for column in manifest.columns]
    statement = sql.SQL("copy {} ({}) from stdin (format csv, null {})").format(
        sql.Identifier(SCHEMA, manifest.mart), sql.SQL(", ").join(map(sql.Identifier, names)), sql.Literal(_NULL)
    )
    frame = pl.DataFrame(rows.select(names))
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for part in frame.iter_slices(COPY_ROWS):
            buffer = io.BytesIO()
            part.write_csv(buffer, include_header=False, null_value=_NULL)
            copy.write(buffer.getvalue())
