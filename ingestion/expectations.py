"""What is expected of a silo's deliveries, and what is not as expected: too old, too few or too many rows, more rows
quarantined or warned of than usual.

Figures in, verdicts out: nothing here reads the lake (see :mod:`stewardship.watch.delivery_checks`), so that what is
thought of a history can be tried on any history. A verdict is a warning to a person, so each has a floor below which
nobody is called, and compares with the silo's own past: the same weekday, like with like where holidays are concerned,
by medians, which one odd day does not move.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import median

from infra.calendar import clock
from infra.calendar.holidays import Calendar
from ingestion.register import Expectations

_SIGMAS = 3
_MAD = 1.4826  # the median absolute deviation of a normal distribution, in standard deviations
_LEAST_USUAL = 10  # of fewer rows a day, no row at all proves nothing
_UNLIKE = 2.0  # how much more is allowed where like cannot be compared with like
_LEAST_DELIVERIES = 5
_NEW_SHARE = 0.2  # quarantined share that is odd in any delivery, whatever came before
_A_REAL_DAY = 0.1  # a day with less than this share of the usual is the spill of a neighbour


# --- freshness -------------------------------------------------------------------------------------------------------


def newest_day(rows: Mapping[date, int], today: date) -> date | None:
    """The newest event day that was really delivered; None when none was.

    A file of one day holds a few rows of the next, and clocks of devices go wrong: neither is a delivery of that day.
    """
    known = sorted(day for day, count in rows.items() if count > 0 and day <= today)
    if not known:
        return None
    usual = median(rows[day] for day in known[-29:])
    return next(day for day in reversed(known) if rows[day] >= _A_REAL_DAY * usual)


def due(day: date, freshness: timedelta, expectations: Expectations, calendar: Calendar) -> datetime:
    """The instant (UTC) by which the rows of ``day`` are to be there: so long after its end, days of rest not counted.

    Days are the city's, so that the two days of a clock change are 23 and 25 hours long.
    """
    last, left = day, freshness
    while left > timedelta(0):
        last += timedelta(days=1)
        if not rests(last, expectations, calendar):
            left -= timedelta(days=1)
    # What is left is not positive: a freshness of a day and a half ends at noon.
    return clock.midnight(last + timedelta(days=1), calendar.time_zone) + left


def rests(day: date, expectations: Expectations, calendar: Calendar) -> bool:
    """Whether the silo delivers nothing on ``day``."""
    return day.isoweekday() in expectations.rest or (expectations.rests_on_holidays and calendar.public_holiday(day))


def overdue_day(
    newest: date, freshness: timedelta, expectations: Expectations, calendar: Calendar, now: datetime
) -> date | None:
    """The day after ``newest`` when it is overdue at ``now``; None while it is not."""
    missing = newest + timedelta(days=1)
    return missing if now >= due(missing, freshness, expectations, calendar) else None


# --- volume ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Usual:
    """How many rows a day of this kind has: the median of ``days`` comparable days, and what is still usual."""

    median: float
    least: float
    most: float
    days: int


def usual(rows: Mapping[date, int], day: date, expectations: Expectations, calendar: Calendar) -> Usual | None:
    """What ``day`` is expected to hold, from the days before it; None when too little is known.

    ``rows`` has the event days that are known, zeros included. A public holiday is compared with Sundays and other
    holidays; a day of school holidays with such days of the same weekday, when enough of them are known. Where like
    cannot be compared with like, twice as much is allowed.
    """
    alike, like_with_like = _comparable(rows, day, expectations, calendar)
    if len(alike) < expectations.least_days:
        return None
    lengths = calendar.hours(day) / 24
    counts = [rows[other] * lengths * 24 / calendar.hours(other) for other in alike]
    middle = median(counts)
    spread = max(_MAD * median(abs(count - middle) for count in counts), math.sqrt(middle))
    slack = 1.0 if like_with_like else _UNLIKE
    least = middle - max(middle * (1 - expectations.low / slack), _SIGMAS * spread)
    most = middle + max(middle * (expectations.high * slack - 1), _SIGMAS * slack * spread)
    if least <= 0 and middle >= _LEAST_USUAL and min(counts) > 0:
        least = 1  # a whole day of nothing, where there was never nothing
    return Usual(middle, max(least, 0.0), most, len(alike))


def _comparable(
    rows: Mapping[date, int], day: date, expectations: Expectations, calendar: Calendar
) -> tuple[list[date], bool]:
    """The days to compare ``day`` with, and whether they are of its kind."""
    before = [other for other in rows if other < day]
    if calendar.public_holiday(day):
        recent = day - timedelta(weeks=expectations.weeks)
        sundays = [other for other in before if other.isoweekday() == 7 and other >= recent]
        feasts = [other for other in before if calendar.public_holiday(other)]
        return sorted({*sundays, *feasts})[-2 * expectations.weeks :], False
    same = sorted(
        other for other in before if other.isoweekday() == day.isoweekday() and not calendar.public_holiday(other)
    )
    recent_ones = same[-expectations.weeks :]
    in_holidays = calendar.school_holiday(day)
    kin = [other for other in same[-2 * expectations.weeks :] if calendar.school_holiday(other) == in_holidays]
    if len(kin) >= expectations.least_days:
        return kin[-expectations.weeks :], True
    return recent_ones, False


def odd_days(
    rows: Mapping[date, int],
    newest: date,
    freshness: timedelta,
    expectations: Expectations,
    calendar: Calendar,
    *,
    now: datetime,
    window: int,
) -> list[tuple[date, int, Usual]]:
    """The days, of the last ``window`` up to ``newest``, that are due at ``now`` and hold too little or too much.

    Later days are a matter of freshness; days before the first that is known, of nobody.
    """
    first = min(rows, default=newest)
    covered = {day: rows.get(day, 0) for day in clock.days(first, newest)}
    odd = []
    for day in clock.days(max(first, newest - timedelta(days=window - 1)), newest):
        if now < due(day, freshness, expectations, calendar):
            continue
        expected = usual(covered, day, expectations, calendar)
        if expected is not None and not expected.least <= covered[day] <= expected.most:
            odd.append((day, covered[day], expected))
    return odd


# --- quarantine and warnings -----------------------------------------------------------------------------------------


def unusual_share(
    rows: int, of: int, history: Sequence[tuple[int, int]], expectations: Expectations, *, first_ones: bool = True
) -> float | None:
    """What share was usual, when ``rows`` of ``of`` are more than that; None when they are not.

    ``history`` has the same two figures of earlier deliveries, oldest first. Without enough of them only a share that
    is odd in any delivery counts, or none at all unless ``first_ones``.
    """
    if of == 0 or rows < expectations.rows:
        return None
    share = rows / of
    past = [part / whole for part, whole in history if whole]
    if len(past) < _LEAST_DELIVERIES:
        return 0.0 if first_ones and share > _NEW_SHARE else None
    before = median(past)
    chance = _SIGMAS * math.sqrt(before * (1 - before) / of)
    return before if share > max(expectations.share, expectations.times * before, before + chance) else None
