"""Changes of the registry's tables, numbered and applied once each, in order, by `calanque up`.

:data:`infra.registry.SCHEMA` shows the tables as they are now and makes what is not there. What a lake provisioned by
an older release has to change is here: statements that add, and do no harm to a lake that has what they add.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import sql

from infra.errors import ExpectedError

SCHEMA = """
create table if not exists registry.migration (
    number     integer primary key,
    title      text not null,
    applied_at timestamptz not null default now()
);
"""


@dataclass(frozen=True)
class Migration:
    """One change. Its number and statements are never changed once released."""

    number: int
    title: str
    statements: str


MIGRATIONS = (
    Migration(
        1,
        "a delivery may be parked, and its attempts are counted",
        """
        alter table registry.delivery add column if not exists attempts integer not null default 0;
        alter table registry.delivery drop constraint if exists delivery_status_check;
        alter table registry.delivery add constraint delivery_status_check
            check (status in ('landed', 'committed', 'refused', 'parked'));
        """,
    ),
    Migration(
        2,
        "a delivery may be conformed again",
        """
        alter table registry.delivery add column if not exists replays integer not null default 0;
        alter table registry.commit add column if not exists replay integer not null default 0;
        """,
    ),
    Migration(
        3,
        "the lake remembers when it was last at work",
        """
        insert into registry.clock (seen)
        select greatest(
            (select max(landed_at) from registry.delivery), (select max(committed_at) from registry.commit)
        )
        where exists (select from registry.delivery) and not exists (select from registry.clock);
        """,
    ),
    Migration(
        4,
        "what analysts read of published marts is written again, without digests of exact counts",
        """
        alter table registry.mart add column if not exists tells_exact boolean not null default false;
        update registry.mart set tells_exact = true where build_id is not null;
        """,
    ),
    Migration(
        5,
        "attempts have an order, and a refused delivery remembers which formats were known",
        """
        alter table registry.delivery add column if not exists last_attempt bigint;
        alter table registry.delivery add column if not exists known_formats text;
        """,
    ),
    Migration(
        6,
        "which days a silo is complete for is declared",
        """
        alter table registry.delivery add column if not exists landed_on date;
        alter table registry.delivery add column if not exists covers date[];
        alter table registry.delivery add column if not exists also_named text[] not null default '{}';
        alter table registry.delivery add column if not exists undeclared jsonb not null default '{}';
        alter table registry.unit add column if not exists missing date[] not null default '{}';
        alter table registry.approval drop constraint if exists approval_kind_check;
        alter table registry.approval add constraint approval_kind_check
            check (kind in ('correction', 'contract', 'cover', 'publication'));
        """,
    ),
)


class NewerLakeError(ExpectedError, RuntimeError):
    """The lake was upgraded by a later release than the one that runs now."""


def migrate(connection: psycopg.Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> list[str]:
    """Apply what was not applied yet, in the caller's transaction, after the registry's schema; the titles of it.

    Raises:
        NewerLakeError: the lake has a migration that this release does not know.
    """
    connection.execute(SCHEMA)
    applied = {number for (number,) in connection.execute("select number from registry.migration").fetchall()}
    unknown = sorted(applied - {migration.number for migration in migrations})
    if unknown:
        raise NewerLakeError(
            f"this lake was upgraded by a later release of Calanque (its tables are at number {unknown[-1]}): run that "
            "release, or restore a backup made before the upgrade"
        )
    new = [migration for migration in migrations if migration.number not in applied]
    for migration in new:
        connection.execute(sql.SQL(migration.statements))
        connection.execute(
            "insert into registry.migration (number, title) values (%s, %s)", [migration.number, migration.title]
        )
    return [migration.title for migration in new]
