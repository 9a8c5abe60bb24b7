"""The lake's operational state, in the schema ``registry`` of the PostgreSQL database ``lake``.

Three append-mostly tables: every delivery ever landed and what became of it, every commit to a conformed table, every
release of a mart; one line per mart with its newest build, and one per published unit with the rows that came too late
for it. Pending work is derived from them and from the ledger, never from an event.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

SCHEMA = """
create schema if not exists registry;

create table if not exists registry.delivery (
    silo         text not null,
    delivery_id  text not null,                     -- sha256 of the delivered bytes
    object_key   text not null,                     -- where the bytes are, in bucket landing
    file_name    text not null,
    bytes        bigint not null,
    format       text,                              -- named by the sender, or recognised
    corrects     text,                              -- delivery_id that this one was declared to correct
    status       text not null check (status in ('landed', 'committed', 'refused', 'parked')),
    reason       text,                              -- why it was refused or parked, or why the last attempt failed
    attempts     integer not null default 0,        -- begun and not settled, those to blame on the lake not counted
    rows_in      bigint not null default 0,
    accepted     bigint not null default 0,
    quarantined  bigint not null default 0,
    by_rule      jsonb not null default '{}',       -- quarantined rows by rule
    warnings     jsonb not null default '{}',       -- accepted rows by warning rule
    landed_at    timestamptz not null default now(),
    settled_at   timestamptz,                       -- committed, refused or parked
    seq          bigint generated always as identity,   -- order of landing: of two deliveries, the later one is right
    replays      integer not null default 0,        -- how often it was asked for to be conformed again
    primary key (silo, delivery_id),
    check (rows_in = accepted + quarantined)
);

create table if not exists registry.commit (
    seq          bigint generated always as identity primary key,
    silo         text not null,
    dataset      text not null,
    delivery_id  text not null,
    days         date[] not null,                   -- event days whose rows changed
    snapshot_id  bigint,
    committed_at timestamptz not null default now(),
    replay       integer not null default 0,        -- the newest replay that is in the table
    unique (dataset, delivery_id)
);

create table if not exists registry.replay (        -- committed deliveries that were conformed again, and how they were
    silo        text not null,
    delivery_id text not null,
    number      integer not null,
    reason      text not null,                      -- why, in a sentence
    asked_by    text not null,
    asked_at    timestamptz not null,
    before      jsonb not null,                     -- its receipt until then
    primary key (silo, delivery_id, number)
);

create table if not exists registry.release (
    mart              text not null,
    version           integer not null,
    build_id          text not null,
    code_version      text not null,                -- hash of the dbt project that built it
    commit_seq        bigint not null,              -- newest commit it had seen
    rows              bigint not null,
    period_start      date,
    period_end        date,
    sha256            text not null,                -- of the manifest's canonical content
    manifest_key      text not null,                -- in bucket lake
    manifest          jsonb not null,               -- all that is needed to finish a prepared release
    snapshot_id       bigint,
    status            text not null check (status in ('prepared', 'released')),
    released_at       timestamptz,
    primary key (mart, version)
);

create table if not exists registry.mart (
    mart          text primary key,
    silo          text not null,
    build_id      text,                             -- newest build whose content is released, changed or not
    held_build_id text,                             -- newest build that was held back, null once a later one passed
    held_because  text                              -- in a sentence
);

create table if not exists registry.unit (          -- published units, and what was committed to their days since
    mart          text not null,
    first_day     date not null,
    last_day      date not null,
    edition       integer not null,
    silo          text not null,
    rows          bigint not null,                  -- conformed rows of its days when its newest edition was built
    late_rows     bigint not null default 0,        -- how many more there are now
    commit_seq    bigint not null,                  -- newest commit of the silo that late_rows knows of
    primary key (mart, first_day)
);

create table if not exists registry.key (           -- every key ever used, by a value that does not give it away
    silo         text not null,
    month        text not null,
    check_value  text not null,
    primary key (silo, month)
);

create table if not exists registry.clock (         -- when the lake was last at work, by its own clock
    seq          bigint generated always as identity primary key,
    seen         timestamptz not null,              -- of the newest line only, it goes on
    confirmed_by text,                              -- who said that the clock is right although it leapt to here
    reason       text
);

create table if not exists registry.approval (      -- what a steward was asked, and the answer
    reference  text primary key,                     -- of the Airflow run, or of the command
    kind       text not null check (kind in ('correction', 'contract')),
    subject    text not null,                        -- mart and first day, or contract and version
    reason     text not null,                        -- why it was asked for
    asked_by   text,
    asked_at   timestamptz not null,
    approved   boolean not null,
    decided_by text not null,
    decided_at timestamptz not null,
    remark     text,                                 -- what the steward said about it
    seq        bigint generated always as identity
);

create table if not exists registry.contract (      -- the versions of contracts that this lake went by
    seq      bigint generated always as identity primary key,
    kind     text not null check (kind in ('dataset', 'mart')),
    name     text not null,
    version  text not null,
    document jsonb not null,                         -- infra.contract_versions.Document
    since    timestamptz not null,
    approval text                                    -- its reference; null: it needed none
);

create table if not exists registry.alert (         -- what people were, or are to be, warned of: one line per episode
    alert_id     bigint generated always as identity primary key,
    kind         text not null,                     -- also the name of its runbook
    key          text not null,                     -- what it is about, within its kind
    subject      text not null,
    silo_or_mart text,
    owner        text not null,                     -- who has to act
    sentence     text not null,
    details      jsonb not null default '{}',       -- figures, rules, row numbers; never a value
    runbook      text not null,
    first_seen   timestamptz not null,
    last_seen    timestamptz not null,
    count        bigint not null default 1,         -- how often it was seen
    resolved_at  timestamptz,
    resolved_because text
);

create unique index if not exists alert_standing on registry.alert (kind, key) where resolved_at is null;

create table if not exists registry.notice (        -- what was sent of an alert, by channel
    alert_id     bigint not null,
    phase        text not null check (phase in ('begun', 'resolved')),
    channel      text not null,                     -- email, webhook
    attempts     integer not null default 0,
    error        text,                              -- why the last attempt failed
    sent_at      timestamptz,
    primary key (alert_id, phase, channel)
);

create table if not exists registry.dag_run (       -- what Airflow ran, as far as it was asked: it forgets, this stays
    dag_id     text not null,
    run_id     text not null,
    kind       text not null,                       -- scheduled, asset_triggered, backfill, manual...
    succeeded  boolean not null,
    started_at timestamptz not null,
    ended_at   timestamptz not null,
    primary key (dag_id, run_id)
);
"""


# --- deliveries and commits: what ingestion records ------------------------------------------------------------------


@dataclass(frozen=True)
class DeliveryRow:
    """One line of ``registry.delivery``."""

    silo: str
    delivery_id: str
    object_key: str
    file_name: str
    bytes: int
    format: str | None
    corrects: str | None
    status: str
    reason: str | None
    attempts: int
    rows_in: int
    accepted: int
    quarantined: int
    by_rule: dict[str, int]
    warnings: dict[str, int]
    landed_at: datetime
    settled_at: datetime | None
    seq: int
    replays: int = 0


@dataclass(frozen=True)
class Tally:
    """What became of the rows of one delivery; ``rows_in`` is always ``accepted + quarantined``."""

    rows_in: int
    accepted: int
    quarantined: int
    by_rule: dict[str, int]  # quarantined rows by rule, each row under one of its rules
    warnings: dict[str, int]  # accepted rows by warning rule


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


@dataclass(frozen=True)
class SiloReport:
    """Totals of one silo over all its deliveries."""

    silo: str
    deliveries: int
    landed: int  # not settled yet
    committed: int
    refused: int
    parked: int  # failed for a reason of their own, and wait for somebody
    rows_in: int
    accepted: int
    quarantined: int
    by_rule: dict[str, int]
    warnings: dict[str, int]

    @classmethod
    def empty(cls, silo: str) -> SiloReport:
        """The report of a silo that never delivered."""
        return cls(silo, 0, 0, 0, 0, 0, 0, 0, 0, {}, {})


def add_delivery(
    connection: psycopg.Connection,
    *,
    silo: str,
    delivery_id: str,
    object_key: str,
    file_name: str,
    size: int,
    format_name: str | None,
    corrects: str | None,
) -> bool:
    """Record a landed delivery; False, and nothing changed, when the silo already has these bytes."""
    cursor = connection.execute(
        """
        insert into registry.delivery (silo, delivery_id, object_key, file_name, bytes, format, corrects, status)
        values (%s, %s, %s, %s, %s, %s, %s, 'landed')
        on conflict do nothing
        """,
        [silo, delivery_id, object_key, file_name, size, format_name, corrects],
    )
    return cursor.rowcount == 1


def reopen_delivery(
    connection: psycopg.Connection,
    silo: str,
    delivery_id: str,
    *,
    object_key: str,
    format_name: str | None,
    corrects: str | None,
) -> bool:
    """Have a refused or parked delivery tried again, with what its sender now says about it; False for any other."""
    cursor = connection.execute(
        """
        update registry.delivery
        set status = 'landed', reason = null, attempts = 0, settled_at = null, object_key = %s, format = %s,
            corrects = %s
        where silo = %s and delivery_id = %s and status in ('refused', 'parked')
        """,
        [object_key, format_name, corrects, silo, delivery_id],
    )
    return cursor.rowcount == 1


def delivery(connection: psycopg.Connection, silo: str, delivery_id: str) -> DeliveryRow | None:
    """One delivery of a silo, or None."""
    with connection.cursor(row_factory=class_row(DeliveryRow)) as cursor:
        cursor.execute("select * from registry.delivery where silo = %s and delivery_id = %s", [silo, delivery_id])
        return cursor.fetchone()


def landed_deliveries(connection: psycopg.Connection, silo: str) -> list[DeliveryRow]:
    """The deliveries of a silo that are not settled yet, in order of landing."""
    with connection.cursor(row_factory=class_row(DeliveryRow)) as cursor:
        cursor.execute("select * from registry.delivery where silo = %s and status = 'landed' order by seq", [silo])
        return cursor.fetchall()


def parked_deliveries(connection: psycopg.Connection, silo: str | None = None) -> list[DeliveryRow]:
    """The deliveries, of one silo or of all, that failed for a reason of their own, in order of landing."""
    with connection.cursor(row_factory=class_row(DeliveryRow)) as cursor:
        cursor.execute(
            """
            select * from registry.delivery
            where status = 'parked' and (%(silo)s::text is null or silo = %(silo)s)
            order by seq
            """,
            {"silo": silo},
        )
        return cursor.fetchall()


def unpark_delivery(connection: psycopg.Connection, silo: str, delivery_id: str) -> bool:
    """Have a parked delivery tried again as it is; False, and nothing changed, when it is not parked."""
    cursor = connection.execute(
        """
        update registry.delivery set status = 'landed', reason = null, attempts = 0, settled_at = null
        where silo = %s and delivery_id = %s and status = 'parked'
        """,
        [silo, delivery_id],
    )
    return cursor.rowcount == 1


def replay_delivery(
    connection: psycopg.Connection,
    silo: str,
    delivery_id: str,
    *,
    reason: str,
    asked_by: str,
    asked_at: datetime,
    before: dict[str, Any],
) -> int | None:
    """Have a committed delivery conformed again, remembering its receipt; the number of the replay.

    None, and nothing changed, when it is not committed.
    """
    row = connection.execute(
        """
        update registry.delivery
        set status = 'landed', replays = replays + 1, attempts = 0
        where silo = %s and delivery_id = %s and status = 'committed'
        returning replays
        """,
        [silo, delivery_id],
    ).fetchone()
    if row is None:
        return None
    connection.execute(
        """
        insert into registry.replay (silo, delivery_id, number, reason, asked_by, asked_at, before)
        values (%s, %s, %s, %s, %s, %s, %s)
        """,
        [silo, delivery_id, row[0], reason, asked_by, asked_at, Jsonb(before)],
    )
    return int(row[0])


def replays(connection: psycopg.Connection, silo: str, delivery_id: str) -> list[dict[str, Any]]:
    """The replays of a delivery, oldest first: ``number``, ``reason``, ``asked_by``, ``asked_at``, ``before``."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select number, reason, asked_by, asked_at, before from registry.replay
            where silo = %s and delivery_id = %s order by number
            """,
            [silo, delivery_id],
        ).fetchall()


def abandon_replay(connection: psycopg.Connection, silo: str, delivery_id: str, reason: str) -> None:
    """Record that a replay was not made, and why: what was committed before stays as it was."""
    connection.execute(
        """
        update registry.delivery set status = 'committed', reason = %s
        where silo = %s and delivery_id = %s and status = 'landed' and replays > 0
        """,
        [reason, silo, delivery_id],
    )


def begin_attempt(connection: psycopg.Connection, silo: str, delivery_id: str) -> None:
    """Count an attempt to ingest a delivery before it is made: one that takes its process with it counts too."""
    connection.execute(
        "update registry.delivery set attempts = attempts + 1 where silo = %s and delivery_id = %s",
        [silo, delivery_id],
    )


def fail_attempt(connection: psycopg.Connection, silo: str, delivery_id: str, reason: str, *, counted: bool) -> None:
    """Record why the last attempt failed; it does not count when the lake was to blame."""
    connection.execute(
        """
        update registry.delivery set reason = %s, attempts = greatest(attempts - %s, 0)
        where silo = %s and delivery_id = %s and status = 'landed'
        """,
        [reason, 0 if counted else 1, silo, delivery_id],
    )


def unread_objects(connection: psycopg.Connection) -> set[str]:
    """The keys, in bucket ``landing``, of the deliveries whose rows are in no table yet and may be one day."""
    rows = connection.execute("select object_key from registry.delivery where status in ('landed', 'parked')")
    return {key for (key,) in rows}


def later_deliveries(connection: psycopg.Connection, silo: str, delivery_id: str) -> list[str]:
    """The deliveries of a silo that landed after this one."""
    rows = connection.execute(
        """
        select later.delivery_id
        from registry.delivery as earlier
        inner join registry.delivery as later on later.silo = earlier.silo and later.seq > earlier.seq
        where earlier.silo = %s and earlier.delivery_id = %s
        """,
        [silo, delivery_id],
    )
    return [later for (later,) in rows]


def overtaking_deliveries(
    connection: psycopg.Connection, silo: str, dataset: str, delivery_id: str
) -> list[DeliveryRow]:
    """The deliveries that landed after this one, were committed to ``dataset`` and have since been corrected.

    Rows of this one that they had replaced by their key would not come back, were it committed in order.
    """
    with connection.cursor(row_factory=class_row(DeliveryRow)) as cursor:
        cursor.execute(
            """
            select later.*
            from registry.delivery as earlier
            inner join registry.delivery as later on later.silo = earlier.silo and later.seq > earlier.seq
            inner join registry.commit as done
                on done.silo = later.silo and done.delivery_id = later.delivery_id and done.dataset = %s
            where
                earlier.silo = %s and earlier.delivery_id = %s and cardinality(done.days) > 0
                and exists (
                    select from registry.delivery as correction
                    inner join registry.commit as made using (silo, delivery_id)
                    where correction.silo = later.silo and correction.corrects = later.delivery_id
                )
            order by later.seq
            """,
            [dataset, silo, delivery_id],
        )
        return cursor.fetchall()


def is_corrected(connection: psycopg.Connection, silo: str, delivery_id: str) -> bool:
    """Whether a delivery that declares to correct this one was committed, and so stands in its place."""
    row = connection.execute(
        """
        select
        from registry.delivery
        inner join registry.commit using (silo, delivery_id)
        where silo = %s and corrects = %s
        limit 1
        """,
        [silo, delivery_id],
    ).fetchone()
    return row is not None


def settle_delivery(
    connection: psycopg.Connection,
    silo: str,
    delivery_id: str,
    *,
    status: str,
    reason: str | None,
    format_name: str | None,
    tally: Tally,
) -> None:
    """Record that a delivery is ``committed``, ``refused`` or ``parked``, and what became of its rows."""
    connection.execute(
        """
        update registry.delivery
        set status = %s, reason = %s, format = coalesce(%s, format), rows_in = %s, accepted = %s, quarantined = %s,
            by_rule = %s, warnings = %s, settled_at = now(), attempts = 0
        where silo = %s and delivery_id = %s
        """,
        [
            status,
            reason,
            format_name,
            tally.rows_in,
            tally.accepted,
            tally.quarantined,
            Jsonb(tally.by_rule),
            Jsonb(tally.warnings),
            silo,
            delivery_id,
        ],
    )


def expire_deliveries(connection: psycopg.Connection, silo: str, landed_before: date, reason: str) -> list[str]:
    """Refuse, for ``reason``, what landed before that day (UTC) and was never read: its bytes are gone by now.

    Returns:
        The delivery ids, in order of landing.
    """
    rows = connection.execute(
        """
        update registry.delivery set status = 'refused', reason = %s, settled_at = now()
        where silo = %s and status in ('landed', 'parked') and replays = 0
            and substring(object_key from '/dt=([0-9-]{10})/')::date < %s
        returning delivery_id, seq
        """,
        [reason, silo, landed_before],
    ).fetchall()
    return [delivery_id for delivery_id, _ in sorted(rows, key=lambda row: row[1])]


def landed_objects(connection: psycopg.Connection, silo: str, since: date) -> list[tuple[str, date, str]]:
    """Delivery id, day of landing and status of what a silo landed since that day (UTC), in order of landing."""
    rows = connection.execute(
        """
        select delivery_id, substring(object_key from '/dt=([0-9-]{10})/')::date as landed_on, status
        from registry.delivery
        where silo = %s and substring(object_key from '/dt=([0-9-]{10})/')::date >= %s
        order by seq
        """,
        [silo, since],
    )
    return rows.fetchall()


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


def report(connection: psycopg.Connection) -> list[SiloReport]:
    """Totals by silo, in alphabetical order; silos that never delivered are absent."""
    with connection.cursor(row_factory=class_row(SiloReport)) as cursor:
        cursor.execute(
            """
            with
            quarantined as (
                select silo, rule, sum(counted::bigint)::bigint as counted
                from registry.delivery, jsonb_each_text(by_rule) as rules (rule, counted)
                group by silo, rule
            ),
            warned as (
                select silo, rule, sum(counted::bigint)::bigint as counted
                from registry.delivery, jsonb_each_text(warnings) as rules (rule, counted)
                group by silo, rule
            )
            select
                silo,
                count(*) as deliveries,
                count(*) filter (where status = 'landed') as landed,
                count(*) filter (where status = 'committed') as committed,
                count(*) filter (where status = 'refused') as refused,
                count(*) filter (where status = 'parked') as parked,
                sum(rows_in)::bigint as rows_in,
                sum(accepted)::bigint as accepted,
                sum(quarantined)::bigint as quarantined,
                coalesce((
                    select jsonb_object_agg(rule, counted order by rule) from quarantined where silo = delivery.silo
                ), '{}') as by_rule,
                coalesce((
                    select jsonb_object_agg(rule, counted order by rule) from warned where silo = delivery.silo
                ), '{}') as warnings
            from registry.delivery
            group by silo
            order by silo
            """
        )
        return cursor.fetchall()


# --- releases: what publication asks and records ---------------------------------------------------------------------


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


@contextmanager
def locked(connection: psycopg.Connection, name: str) -> Iterator[None]:
    """Hold the lake-wide lock called ``name``; wait for it as long as it takes.

    The lock belongs to the session, so it goes with a process that is killed.
    """
    connection.execute("select pg_advisory_lock(hashtextextended(%s, 0))", ["calanque " + name])
    connection.commit()
    try:
        yield
    finally:
        if not connection.closed:  # else the server is gone, and the lock with it: the error that tells of it goes on
            connection.rollback()
            connection.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", ["calanque " + name])
            connection.commit()


def newest_commits(connection: psycopg.Connection) -> dict[str, int]:
    """By silo, the sequence number of its newest commit."""
    return dict(connection.execute("select silo, max(seq) from registry.commit group by silo").fetchall())


def coverage(connection: psycopg.Connection, registers: Collection[str]) -> dict[str, tuple[date, date]]:
    """By silo, the first and the last event day ever committed to a dataset other than ``registers``."""
    rows = connection.execute(
        """
        select silo, min(day), max(day)
        from registry.commit, unnest(days) as day
        where dataset != all(%s)
        group by silo
        """,
        [list(registers)],
    )
    return {silo: (first, last) for silo, first, last in rows}


def datasets(connection: psycopg.Connection, silos: Collection[str]) -> list[str]:
    """The conformed tables that ``silos`` ever committed to."""
    rows = connection.execute(
        "select distinct dataset from registry.commit where silo = any(%s) order by dataset", [list(silos)]
    )
    return [dataset for (dataset,) in rows]


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


def units(connection: psycopg.Connection) -> list[UnitRow]:
    """Every published unit, by mart and day."""
    with connection.cursor(row_factory=class_row(UnitRow)) as cursor:
        return cursor.execute("select * from registry.unit order by mart, first_day").fetchall()


def put_units(connection: psycopg.Connection, rows: Collection[UnitRow]) -> None:
    """Record published units, in the place of what was known of them."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            insert into registry.unit (mart, first_day, last_day, edition, silo, rows, late_rows, commit_seq)
            values (%s, %s, %s, %s, %s, %s, %s, %s)
            on conflict (mart, first_day) do update set
                last_day = excluded.last_day, edition = excluded.edition, silo = excluded.silo, rows = excluded.rows,
                late_rows = excluded.late_rows, commit_seq = excluded.commit_seq
            """,
            [
                (row.mart, row.first_day, row.last_day, row.edition, row.silo, row.rows, row.late_rows, row.commit_seq)
                for row in rows
            ],
        )


def drop_unit(connection: psycopg.Connection, mart: str, first_day: date) -> None:
    """Forget a unit that is not published any more."""
    connection.execute("delete from registry.unit where mart = %s and first_day = %s", [mart, first_day])


def units_committed_to(connection: psycopg.Connection, registers: Collection[str]) -> list[UnitRow]:
    """The published units with commits to their days, other than to ``registers``, that are not counted yet."""
    with connection.cursor(row_factory=class_row(UnitRow)) as cursor:
        return cursor.execute(
            """
            select unit.*
            from registry.unit
            where exists (
                select
                from registry.commit, unnest(commit.days) as day
                where commit.silo = unit.silo and commit.seq > unit.commit_seq and commit.dataset != all(%s)
                    and day between unit.first_day and unit.last_day
            )
            order by mart, first_day
            """,
            [list(registers)],
        ).fetchall()
