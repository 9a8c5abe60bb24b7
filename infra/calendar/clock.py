"""Local time: from a naive local clock to UTC and back, and the calendar of days, months and quarters.

A local clock is ambiguous for an hour in autumn and skips one in spring. The rule of the house: an ambiguous time is
the earlier of the two unless its sender tells which, a time that never was is null.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import polars as pl

from infra.errors import ExpectedError
from infra.settings import Settings


class ClockDoubtedError(ExpectedError, RuntimeError):
    """The clock is not believed; the message says why and what to do. Trying again does not help."""


def now(settings: Settings) -> datetime:
    """The present instant, in UTC: the machine's, or that of ``CALANQUE_NOW`` or ``CALANQUE_NOW_FILE`` in a drill.

    Settling, retention and the ledger read this clock and no other.

    Raises:
        ClockDoubtedError: the lake was not made as a drill, and is to have another clock than the machine's.
    """
    if settings.now is None and settings.now_file is None:
        return datetime.now(UTC)
    if not settings.drill_mark.exists():
        raise ClockDoubtedError(
            "CALANQUE_NOW or CALANQUE_NOW_FILE is set, and this lake was not made as a drill: unset it, or make a lake "
            "for it in a home of its own, with CALANQUE_DRILL=1 at its first `calanque up`"
        )
    if settings.now is None and settings.now_file is not None:
        return datetime.fromisoformat(settings.now_file.read_text().strip()).astimezone(UTC)
    return (settings.now or datetime.now(UTC)).astimezone(UTC)


def to_utc(naive: pl.Expr, time_zone: str, *, ambiguous: Literal["earliest", "latest"] = "earliest") -> pl.Expr:
    """The instant (datetime in UTC) at which a clock of ``time_zone`` showed ``naive``; null when it never did."""
    return naive.dt.replace_time_zone(time_zone, ambiguous=ambiguous, non_existent="null").dt.convert_time_zone("UTC")


def local(instant: pl.Expr, time_zone: str) -> pl.Expr:
    """What a clock of ``time_zone`` showed at ``instant``: a naive datetime."""
    return instant.dt.convert_time_zone(time_zone).dt.replace_time_zone(None)


def local_date(instant: pl.Expr, time_zone: str) -> pl.Expr:
    """The local day of an instant."""
    return local(instant, time_zone).dt.date()


def local_hour(instant: pl.Expr, time_zone: str) -> pl.Expr:
    """The local hour of an instant, 0 to 23, as Int32."""
    return local(instant, time_zone).dt.hour().cast(pl.Int32)


def days(first: date, last: date) -> Iterator[date]:
    """Every day from ``first`` to ``last``, both included; none when ``last`` is earlier."""
    for offset in range((last - first).days + 1):
        yield first + timedelta(days=offset)


def month_start(day: date) -> date:
    return day.replace(day=1)


def add_months(day: date, months: int) -> date:
    """The same day so many months later, or earlier when negative; the month's last day where it has no such day."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    first = date(year, month + 1, 1)
    return first.replace(day=min(day.day, (date(year + (month + 1) // 12, (month + 1) % 12 + 1, 1) - first).days))


def quarter_start(day: date) -> date:
    """The first day of the calendar quarter of ``day``."""
    return date(day.year, day.month - (day.month - 1) % 3, 1)


def next_quarter(day: date) -> date:
    """The first day of the quarter after that of ``day``."""
    return quarter_start(quarter_start(day) + timedelta(days=93))


def quarter_end(day: date) -> date:
    """The last day of the calendar quarter of ``day``."""
    return next_quarter(day) - timedelta(days=1)


def quarters(first: date, last: date) -> Iterator[date]:
    """The first day of every quarter that has a day from ``first`` to ``last``."""
    quarter = quarter_start(first)
    while quarter <= last:
        yield quarter
        quarter = next_quarter(quarter)


def midnight(day: date, time_zone: str) -> datetime:
    """The instant at which ``day`` begins in ``time_zone``, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(time_zone)).astimezone(ZoneInfo("UTC"))


def clock_changes(time_zone: str, first: date, last: date) -> Mapping[date, float]:
    """The days from ``first`` to ``last`` that do not last 24 hours, and how many hours they last."""
    lengths = {
        day: (midnight(day + timedelta(days=1), time_zone) - midnight(day, time_zone)) / timedelta(hours=1)
        for day in days(first, last)
    }
    return {day: hours for day, hours in lengths.items() if hours != 24}
