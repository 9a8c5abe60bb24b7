"""Deliveries and what became of them: what ingestion records."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb


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
    last_attempt: int | None = None
    known_formats: str | None = None
    landed_on: date | None = None
    covers: list[date] | None = None
    also_named: list[str] = field(default_factory=list)
    undeclared: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Tally:
    """What became of the rows of one delivery; ``rows_in`` is always ``accepted + quarantined``."""

    rows_in: int
    accepted: int
    quarantined: int
    by_rule: dict[str, int]  # quarantined rows by rule, each row under one of its rules
    warnings: dict[str, int]  # accepted rows by warning rule


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
    landed_on: date | None = None,
    covers: list[date] | None = None,
) -> bool:
    """Record a landed delivery; False, and nothing changed, when the silo already has these bytes."""
    cursor = connection.execute(
        """
        insert into registry.delivery (
            silo, delivery_id, object_key, file_name, bytes, format, corrects, landed_on, covers, status
        )
        values (%s, %s, %s, %s, %s, %s, %s, %s, %s, 'landed')
        on conflict do nothing
        """,
        [silo, delivery_id, object_key, file_name, size, format_name, corrects, landed_on, covers],
    )
    return cursor.rowcount == 1


def reopen_delivery(
    connection: psycopg.Connection,
    silo: str,
    delivery_id: str,
    *,
    object_key: str,
    file_name: str,
    format_name: str | None,
    corrects: str | None,
    landed_on: date | None,
    covers: list[date] | None,
) -> bool:
    """Have a refused or parked delivery tried again, with what its sender now says about it; False for any other."""
    cursor = connection.execute(
        """
        update registry.delivery
        set status = 'landed', reason = null, attempts = 0, settled_at = null, object_key = %s, file_name = %s,
            format = %s, corrects = %s, landed_on = %s, covers = %s
        where silo = %s and delivery_id = %s and status in ('refused', 'parked')
        """,
        [object_key, file_name, format_name, corrects, landed_on, covers, silo, delivery_id],
    )
    return cursor.rowcount == 1


def also_name_delivery(
    connection: psycopg.Connection, silo: str, delivery_id: str, file_name: str, covers: Collection[date]
) -> bool:
    """Record that the bytes of a landed delivery came once more: under which name, and what its sender declares now.

    False, and nothing changed, when it is not landed any more.
    """
    cursor = connection.execute(
        """
        update registry.delivery
        set also_named = array_append(also_named, %(name)s),
            covers = (
                select array_agg(distinct day order by day)
                from unnest(coalesce(covers, '{}') || %(covers)s::date[]) as day
            )
        where silo = %(silo)s and delivery_id = %(delivery)s and status = 'landed'
        """,
        {"name": file_name, "covers": sorted(covers), "silo": silo, "delivery": delivery_id},
    )
    return cursor.rowcount == 1


def delivery(connection: psycopg.Connection, silo: str, delivery_id: str, *, lock: bool = False) -> DeliveryRow | None:
    """One delivery of a silo, or None; nobody else changes it before the caller's transaction ends, if ``lock``."""
    query = "select * from registry.delivery where silo = %s and delivery_id = %s"
    with connection.cursor(row_factory=class_row(DeliveryRow)) as cursor:
        cursor.execute(f"{query} for update" if lock else query, [silo, delivery_id])
        return cursor.fetchone()


def landed_deliveries(connection: psycopg.Connection, silo: str) -> list[DeliveryRow]:
    """The deliveries of a silo that are not settled yet, in order of landing.

    Last come those with attempts that came to nothing: one that takes its process with it keeps no other waiting.
    """
    with connection.cursor(row_factory=class_row(DeliveryRow)) as cursor:
        cursor.execute(
            "select * from registry.delivery where silo = %s and status = 'landed' order by attempts > 0, seq", [silo]
        )
        return cursor.fetchall()


def refused_before(connection: psycopg.Connection, silo: str, known_formats: str) -> list[DeliveryRow]:
    """The deliveries of a silo that were refused when other formats were known than ``known_formats``."""
    with connection.cursor(row_factory=class_row(DeliveryRow)) as cursor:
        cursor.execute(
            """
            select * from registry.delivery where silo = %s and status = 'refused' and known_formats <> %s order by seq
            """,
            [silo, known_formats],
        )
        return cursor.fetchall()


def forget_known_formats(connection: psycopg.Connection, silo: str, delivery_id: str) -> None:
    """Have a refused delivery not looked at again when formats change."""
    connection.execute(
        "update registry.delivery set known_formats = null where silo = %s and delivery_id = %s", [silo, delivery_id]
    )


def waiting_deliveries(connection: psycopg.Connection, silos: Collection[str]) -> list[DeliveryRow]:
    """The deliveries of ``silos`` whose rows may still come: landed or parked ones, in order of landing."""
    with connection.cursor(row_factory=class_row(DeliveryRow)) as cursor:
        return cursor.execute(
            "select * from registry.delivery where silo = any(%s) and status in ('landed', 'parked') order by seq",
            [list(silos)],
        ).fetchall()


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


def begin_attempt(connection: psycopg.Connection, silo: str, delivery_id: str) -> int:
    """Count an attempt to ingest a delivery before it is made; how many count, this one included.

    One that came to nothing, whether it failed or was cut short, counts when another delivery of the silo went through
    after it: what ended it was not the end of all.
    """
    row = connection.execute(
        """
        update registry.delivery as mine
        set
            reason = null,
            last_attempt = (select coalesce(max(last_attempt), 0) + 1 from registry.delivery where silo = mine.silo),
            attempts = greatest(1, attempts + (exists (
                select from registry.delivery as other
                where other.silo = mine.silo and other.status <> 'landed' and other.last_attempt > mine.last_attempt
            ))::integer)
        where silo = %s and delivery_id = %s
        returning attempts
        """,
        [silo, delivery_id],
    ).fetchone()
    assert row is not None  # noqa: S101 - a delivery that waits is there
    return int(row[0])


def fail_attempt(connection: psycopg.Connection, silo: str, delivery_id: str, reason: str) -> None:
    """Record why the last attempt failed."""
    connection.execute(
        "update registry.delivery set reason = %s where silo = %s and delivery_id = %s and status = 'landed'",
        [reason, silo, delivery_id],
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
    return bool(corrections(connection, silo, delivery_id))


def corrections(connection: psycopg.Connection, silo: str, delivery_id: str) -> list[DeliveryRow]:
    """The deliveries that declare to correct this one and were committed, in order of landing."""
    with connection.cursor(row_factory=class_row(DeliveryRow)) as cursor:
        cursor.execute(
            """
            select delivery.*
            from registry.delivery
            inner join registry.commit using (silo, delivery_id)
            where silo = %s and corrects = %s
            order by delivery.seq
            """,
            [silo, delivery_id],
        )
        return cursor.fetchall()


def settle_delivery(
    connection: psycopg.Connection,
    silo: str,
    delivery_id: str,
    *,
    status: str,
    reason: str | None,
    format_name: str | None,
    tally: Tally,
    known_formats: str | None,
    undeclared: Mapping[str, int],
) -> None:
    """Record that a delivery is ``committed``, ``refused`` or ``parked``, and what became of its rows.

    ``known_formats``: those of a delivery that other formats might have accepted. ``undeclared`` are the accepted rows
    of days that nobody declared, by day (ISO 8601).
    """
    connection.execute(
        """
        update registry.delivery
        set status = %s, reason = %s, format = coalesce(%s, format), rows_in = %s, accepted = %s, quarantined = %s,
            by_rule = %s, warnings = %s, settled_at = now(), attempts = 0, known_formats = %s, undeclared = %s
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
            known_formats,
            Jsonb(dict(undeclared)),
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
