"""The alerts in the registry: one line per episode, so that what stands is told once and what comes back is told again.

An episode begins when an alert is first raised and ends when it is resolved. What was sent of it, by which channel, is
noted beside; what was not sent yet is worked out from both.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime, timedelta

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from stewardship.alerts.model import Alert, Episode, Phase

STALE = timedelta(days=7)
"""What is over, and could not be told for so long, is not told any more."""


def raise_(connection: psycopg.Connection, alert: Alert, runbook: str, now: datetime) -> tuple[int, bool]:
    """Note that ``alert`` stands; its line, and whether it begins with it."""
    details = {**alert.details, "rules": [asdict(rule) for rule in alert.rules]} if alert.rules else dict(alert.details)
    row = connection.execute(
        """
        insert into registry.alert (
            kind, key, subject, silo_or_mart, owner, sentence, details, runbook, first_seen, last_seen
        )
        values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        on conflict (kind, key) where resolved_at is null do update set
            subject = excluded.subject, silo_or_mart = excluded.silo_or_mart, owner = excluded.owner,
            sentence = excluded.sentence, details = excluded.details, runbook = excluded.runbook,
            last_seen = excluded.last_seen, count = alert.count + 1
        returning alert_id, count = 1
        """,
        [
            alert.kind,
            alert.key,
            alert.subject,
            alert.silo_or_mart,
            alert.owner,
            alert.sentence,
            Jsonb(details),
            runbook,
            now,
            now,
        ],
    ).fetchone()
    if row is None:
        raise AssertionError("insert ... returning gave no row")
    return int(row[0]), bool(row[1])


def resolve(connection: psycopg.Connection, kind: str, key: str, because: str, now: datetime) -> int | None:
    """End the episode of an alert; its line, or None when it did not stand."""
    row = connection.execute(
        """
        update registry.alert set resolved_at = %s, resolved_because = %s
        where kind = %s and key = %s and resolved_at is null
        returning alert_id
        """,
        [now, because, kind, key],
    ).fetchone()
    return int(row[0]) if row else None


def standing(connection: psycopg.Connection, kinds: Collection[str] | None = None) -> list[Episode]:
    """The alerts that are not resolved, oldest first; of some ``kinds`` only when given."""
    with connection.cursor(row_factory=class_row(Episode)) as cursor:
        return cursor.execute(
            """
            select * from registry.alert
            where resolved_at is null and (%(kinds)s::text[] is null or kind = any(%(kinds)s))
            order by first_seen, alert_id
            """,
            {"kinds": None if kinds is None else list(kinds)},
        ).fetchall()


def history(connection: psycopg.Connection, since: datetime) -> list[Episode]:
    """Every episode that began, stood or was resolved since then, newest first."""
    with connection.cursor(row_factory=class_row(Episode)) as cursor:
        return cursor.execute(
            """
            select * from registry.alert where resolved_at is null or greatest(last_seen, resolved_at) >= %s
            order by first_seen desc, alert_id desc
            """,
            [since],
        ).fetchall()


def unsent(connection: psycopg.Connection, channel: str, now: datetime) -> list[tuple[Phase, Episode]]:
    """What ``channel`` still has to tell, oldest first.

    That an alert is over is told only to whoever was told that it began.
    """
    found: list[tuple[Phase, Episode]] = []
    for phase, query in (("begun", _BEGUN), ("resolved", _RESOLVED)):
        with connection.cursor(row_factory=class_row(Episode)) as cursor:
            episodes = cursor.execute(query, {"channel": channel, "since": now - STALE}).fetchall()
        found += [("begun" if phase == "begun" else "resolved", episode) for episode in episodes]
    return sorted(found, key=lambda each: (each[1].alert_id, each[0]))


_BEGUN = """
select alert.* from registry.alert
where (resolved_at is null or resolved_at > %(since)s)
    and not exists (
        select from registry.notice
        where notice.alert_id = alert.alert_id and phase = 'begun' and channel = %(channel)s and sent_at is not null
    )
"""

_RESOLVED = """
select alert.* from registry.alert
where resolved_at > %(since)s
    and exists (
        select from registry.notice
        where notice.alert_id = alert.alert_id and phase = 'begun' and channel = %(channel)s
            and sent_at <= resolved_at
    )
    and not exists (
        select from registry.notice
        where notice.alert_id = alert.alert_id and phase = 'resolved' and channel = %(channel)s
            and sent_at is not null
    )
"""


def claim(connection: psycopg.Connection, notices: Collection[tuple[Phase, int]], channel: str) -> set[tuple[str, int]]:
    """Of ``notices`` (phase and line), those to send: neither sent nor being sent by somebody else.

    They are one's own until the end of the transaction.
    """
    lines = [alert_id for _, alert_id in notices]
    phases = [phase for phase, _ in notices]
    connection.execute(
        """
        insert into registry.notice (alert_id, phase, channel)
        select alert_id, phase, %s from unnest(%s::bigint[], %s::text[]) as asked (alert_id, phase)
        on conflict do nothing
        """,
        [channel, lines, phases],
    )
    connection.commit()
    rows = connection.execute(
        """
        select phase, alert_id from registry.notice
        inner join unnest(%s::bigint[], %s::text[]) as asked (alert_id, phase) using (alert_id, phase)
        where channel = %s and sent_at is null
        for update of notice skip locked
        """,
        [lines, phases, channel],
    )
    return set(rows.fetchall())


def note(
    connection: psycopg.Connection, notice: tuple[Phase, int], channel: str, *, now: datetime, error: str | None
) -> None:
    """Record an attempt to send a claimed notice: sent, or not because of ``error``."""
    phase, alert_id = notice
    connection.execute(
        """
        update registry.notice set attempts = attempts + 1, error = %s, sent_at = %s
        where alert_id = %s and phase = %s and channel = %s
        """,
        [error, now if error is None else None, alert_id, phase, channel],
    )
