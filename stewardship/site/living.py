"""Facts of a running lake, as role publisher reads them in the registry: deliveries, freshness, releases, warnings.

The object store is not asked: what receipts say of a delivery is in the registry too. Counts here are exact; which of
them anybody but stewards may see is decided by :func:`stewardship.site.facts.for_everybody`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Literal

import psycopg
from psycopg.rows import class_row, dict_row

from infra import catalog, database, registry
from infra.calendar import clock
from infra.calendar.days import ranges
from infra.settings import Settings
from publication.releases.manifest import Manifest
from stewardship.site.facts import (
    Day,
    Delivery,
    Facts,
    Living,
    MartState,
    Release,
    RunDay,
    Runs,
    SiloFacts,
    SiloState,
    Warned,
    Work,
)
from stewardship.watch import delivery_checks

ROLE = "publisher"
RECENT = 12
"""How many deliveries of a silo are listed."""
HISTORY = timedelta(days=90)
"""How far back the pictures go."""


def add(facts: Facts, settings: Settings) -> Facts:
    """``facts`` with the state of this lake now.

    Raises:
        infra.endpoints.NotRunning: the lake is not up.
        psycopg.Error: PostgreSQL does not answer.
    """
    now = clock.now(settings)
    with database.connect(settings, ROLE, catalog.DATABASE) as connection:
        arrivals = {each.silo: each for each in delivery_checks.arrivals(settings, connection)}
        covered = registry.covered_days(connection, [silo.name for silo in facts.silos])
        silos = {
            silo.name: _silo(connection, silo, arrivals[silo.name], now, covered[silo.name]) for silo in facts.silos
        }
        marts = _marts(connection, [mart.name for mart in facts.marts])
        runs = _runs(connection, now - HISTORY)
        warned = _warned(connection)
    return replace(facts, living=Living(as_of=now, silos=silos, marts=marts, runs=runs, warned=warned))


def _silo(
    connection: psycopg.Connection,
    silo: SiloFacts,
    arrival: delivery_checks.Arrival,
    now: datetime,
    covered: Collection[date],
) -> SiloState:
    since = now - HISTORY
    days = _days(connection, silo.name, since)
    by_rule, warnings = _rules(connection, silo.name, since)
    newest, waiting = _standing(connection, silo.name)
    state: Literal["fresh", "late", "silent"] = "silent"
    if arrival.newest is not None:
        state = "fresh" if arrival.overdue is None else "late"
    return SiloState(
        state=state,
        newest=newest,
        overdue=arrival.overdue,
        covered=ranges(covered),
        waiting=waiting,
        recent=_recent(connection, silo.name),
        days=days,
        by_rule=by_rule,
        warnings=warnings,
    )


def _standing(connection: psycopg.Connection, silo: str) -> tuple[datetime | None, int]:
    """When the newest delivery that was taken had landed, and how many wait to be read."""
    row = connection.execute(
        """
        select max(landed_at) filter (where status = 'committed'), count(*) filter (where status = 'landed')
        from registry.delivery where silo = %s
        """,
        [silo],
    ).fetchone()
    assert row is not None  # noqa: S101 (an aggregate has a row)
    return row[0], row[1]


def _days(connection: psycopg.Connection, silo: str, since: datetime) -> tuple[Day, ...]:
    with connection.cursor(row_factory=class_row(Day)) as cursor:
        cursor.execute(
            """
            select
                (landed_at at time zone 'utc')::date as day,
                count(*) as deliveries,
                count(*) filter (where status = 'refused') as refused,
                sum(rows_in)::bigint as rows_in,
                sum(accepted)::bigint as accepted,
                sum(quarantined)::bigint as quarantined
            from registry.delivery
            where silo = %s and landed_at >= %s
            group by 1
            order by 1
            """,
            [silo, since],
        )
        return tuple(cursor)


def _rules(connection: psycopg.Connection, silo: str, since: datetime) -> tuple[dict[str, int], dict[str, int]]:
    """Rows by rule since then: those quarantined, and those accepted with a warning."""
    rows = connection.execute(
        """
        select false as warns, rule, sum(counted::bigint)::bigint
        from registry.delivery, jsonb_each_text(by_rule) as rules (rule, counted)
        where silo = %(silo)s and landed_at >= %(since)s
        group by rule
        union all
        select true, rule, sum(counted::bigint)::bigint
        from registry.delivery, jsonb_each_text(warnings) as rules (rule, counted)
        where silo = %(silo)s and landed_at >= %(since)s
        group by rule
        order by 1, 3 desc, 2
        """,
        {"silo": silo, "since": since},
    ).fetchall()
    return {rule: count for warns, rule, count in rows if not warns}, {
        rule: count for warns, rule, count in rows if warns
    }


def _recent(connection: psycopg.Connection, silo: str) -> tuple[Delivery, ...]:
    with connection.cursor(row_factory=class_row(Delivery)) as cursor:
        cursor.execute(
            """
            select
                delivery_id, landed_at, settled_at, format, status, corrects, rows_in, accepted, quarantined, by_rule,
                warnings
            from registry.delivery
            where silo = %s
            order by seq desc
            limit %s
            """,
            [silo, RECENT],
        )
        return tuple(cursor)


def _marts(connection: psycopg.Connection, names: Collection[str]) -> dict[str, MartState]:
    held = registry.marts(connection)
    late: Counter[str] = Counter()
    for unit in registry.units(connection):
        late[unit.mart] += unit.late_rows
    releases: dict[str, list[Release]] = {}
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(
            "select mart, version, released_at, rows, period_start, period_end, manifest from registry.release "
            "where status = 'released' order by mart, version desc"
        )
        for row in cursor:
            parts = Manifest.model_validate(row.pop("manifest")).parts
            corrected = sum(part.edition > 1 for part in parts)
            releases.setdefault(row.pop("mart"), []).append(Release(periods=len(parts), corrected=corrected, **row))
    return {
        name: MartState(
            releases=tuple(releases.get(name, ())),
            is_held=bool(name in held and held[name].held_because),
            held_because=held[name].held_because if name in held else None,
            late_rows=late[name],
        )
        for name in names
    }


def _runs(connection: psycopg.Connection, since: datetime) -> Runs:
    with connection.cursor(row_factory=class_row(RunDay)) as cursor:
        cursor.execute(
            """
            select
                (ended_at at time zone 'utc')::date as day,
                count(*) filter (where succeeded) as succeeded,
                count(*) filter (where not succeeded) as failed
            from registry.dag_run
            where ended_at >= %s
            group by 1
            order by 1
            """,
            [since],
        )
        days = tuple(cursor)
    with connection.cursor(row_factory=class_row(Work)) as cursor:
        cursor.execute(
            """
            with run as (
                select dag_id, succeeded, ended_at, extract(epoch from ended_at - started_at)::float as seconds
                from registry.dag_run
                where ended_at >= %s
            )
            select
                dag_id,
                count(*) as runs,
                count(*) filter (where not succeeded) as failed,
                percentile_cont(0.5) within group (order by seconds) as median_seconds,
                max(seconds) as longest_seconds,
                max(ended_at) as newest,
                (array_agg(succeeded order by ended_at desc))[1] as newest_succeeded
            from run
            group by dag_id
            order by dag_id
            """,
            [since],
        )
        return Runs(days, tuple(cursor))


def _warned(connection: psycopg.Connection) -> tuple[Warned, ...]:
    with connection.cursor(row_factory=class_row(Warned)) as cursor:
        cursor.execute(
            """
            select kind, subject, silo_or_mart as about, owner, first_seen as since
            from registry.alert
            where resolved_at is null
            order by first_seen desc
            """
        )
        return tuple(cursor)
