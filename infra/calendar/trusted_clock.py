"""The time, when nothing contradicts it: for landing, removing data, destroying keys and publishing.

Nobody can undo these. A day of landing is no exception: of one that is too early, the bytes go too early.

A clock that runs ahead by a month would have a month of data and keys destroyed, and periods published, before their
time; and the ledger would take no line until that month is over. So the lake remembers when it was last at work
(``registry.clock``), and a clock that has leapt from there, went back, or does not agree with those of the database and
the object store, is not believed. A lake that was really away that long needs one word of a person (:func:`confirm`).

Only a lake that was made as a drill has another clock (:func:`infra.calendar.clock.now`). There ``CALANQUE_NOW`` is
such a word already. ``CALANQUE_NOW_FILE`` stands for the machine's own clock, and may leap as that may; only with other
machines' it is not compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime

import psycopg
from urllib3.exceptions import HTTPError

from infra import database, object_store
from infra.calendar import clock
from infra.settings import Settings

ClockDoubtedError = clock.ClockDoubtedError

APART = timedelta(minutes=15)
"""How far the clocks of two machines may be apart: S3 believes no request that is further off."""

_REMEDY = (
    "nothing is landed, removed, destroyed or published until it is right: set the clock by NTP, or, when the clock is "
    "right and the lake was away, say so with `calanque clock --confirm TODAY --reason ...`, see "
    "docs/runbooks/clock-doubted.md"
)


def now(settings: Settings, role: str) -> datetime:
    """The present instant, in UTC, as :func:`infra.calendar.clock.now` has it; the lake remembers it as its newest.

    Args:
        settings: of a lake that is up.
        role: ``pipeline``, ``publisher`` or ``retention``.

    Raises:
        ClockDoubtedError: it leapt, or is not what other machines show.
    """
    shown = clock.now(settings)
    if settings.now is not None:
        return shown
    with closing(database.connect(settings, role, "lake", autocommit=True)) as connection:
        for why in _doubts(settings, connection, shown):
            raise ClockDoubtedError(f"{why}; {_REMEDY}")
        moved = connection.execute(
            "update registry.clock set seen = greatest(seen, %s) where seq = (select max(seq) from registry.clock)",
            [shown],
        )
        if moved.rowcount == 0:  # this lake has never been at work
            connection.execute("insert into registry.clock (seen) values (%s)", [shown])
    return shown


def doubts(settings: Settings, role: str) -> list[str]:
    """Why the clock is not believed, a sentence each without a final full stop; none when it is. Only looks."""
    try:
        shown = clock.now(settings)
    except ClockDoubtedError as why:
        return [str(why)]
    if settings.now is not None:
        return []
    with closing(database.connect(settings, role, "lake", autocommit=True)) as connection:
        return list(_doubts(settings, connection, shown))


def confirm(settings: Settings, day: date, *, by: str, reason: str) -> datetime:
    """Have the clock believed from now on, though it leapt: ``day`` is today's date as a person knows it.

    Raises:
        ClockDoubtedError: the clock shows another day, or is not what other machines show: it has to be set right.
    """
    shown = clock.now(settings)
    require(shown, day)
    with closing(database.connect(settings, "pipeline", "lake", autocommit=True)) as connection:
        for why in _apart(settings, connection):
            raise ClockDoubtedError(f"{why}: set both by NTP first")
        connection.execute(
            "insert into registry.clock (seen, confirmed_by, reason) values (%s, %s, %s)", [shown, by, reason]
        )
    return shown


def require(shown: datetime, day: date) -> None:
    """Stop unless the clock shows the day that a person says it is.

    Raises:
        ClockDoubtedError: it shows another.
    """
    if abs(shown.date() - day) > timedelta(days=1):  # today's date depends on where one is
        raise ClockDoubtedError(f"the clock shows {_said(shown)}, which is not {day}: set it by NTP first")


def leapt(settings: Settings, since: datetime, shown: datetime) -> bool:
    """Whether a clock that showed ``since`` and now shows ``shown`` needs a person's word, whichever way it went."""
    return settings.now is None and abs(shown - since) > timedelta(days=settings.clock_leap_days)


def last_seen(settings: Settings, role: str) -> datetime | None:
    """When the lake was last at work, by its own clock; None when it never was."""
    with closing(database.connect(settings, role, "lake", autocommit=True)) as connection:
        return _last_seen(connection)


def others(settings: Settings, connection: psycopg.Connection) -> Iterator[tuple[str, timedelta]]:
    """How far ahead of each other clock this machine's is: the database's, and the object store's when it answers."""
    row = connection.execute("select clock_timestamp()").fetchone()
    if row is not None:
        yield "the database", datetime.now(UTC) - row[0]
    try:
        answer = object_store.http_client().request("GET", object_store.endpoint(settings).url, redirect=False)
    except HTTPError:
        return
    if stamp := answer.headers.get("Date"):
        yield "the object store", datetime.now(UTC) - parsedate_to_datetime(stamp)


def _doubts(settings: Settings, connection: psycopg.Connection, shown: datetime) -> Iterator[str]:
    seen = _last_seen(connection)
    if seen is not None and (leapt(settings, seen, shown) or shown < seen - APART):
        yield f"the clock shows {_said(shown)}, and the lake was last at work at {_said(seen)}"
    yield from _apart(settings, connection)


def _apart(settings: Settings, connection: psycopg.Connection) -> Iterator[str]:
    if settings.now_file is None:
        for name, ahead in others(settings, connection):
            if abs(ahead) > APART:
                yield f"{name} and this machine are {abs(ahead.total_seconds()):,.0f} s apart"


def _last_seen(connection: psycopg.Connection) -> datetime | None:
    row = connection.execute("select seen from registry.clock order by seq desc limit 1").fetchone()
    return row[0].astimezone(UTC) if row else None


def _said(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
