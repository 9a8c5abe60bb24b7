"""Which days the demo city delivers, and in which files: periods are published whole, so it needs whole ones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from infra.calendar import clock
from infra.calendar.days import DayRange


def last_day(today: date) -> date:
    """The last day that everybody has delivered by now: the day before yesterday."""
    return today - timedelta(days=2)


def history(start: date, years: int = 0) -> list[DayRange]:
    """What came before the daily files that begin on ``start``, each range in one file, without a gap.

    Years, so many of them; then months, from the beginning of the last whole quarter on; then what is left of a month.
    """
    quarter = clock.quarter_start(clock.quarter_start(start) - timedelta(days=1))
    begins = [clock.add_months(quarter, -12 * back) for back in range(years, 0, -1)]
    spans = [DayRange(first_day=each, last_day=clock.add_months(each, 12) - timedelta(days=1)) for each in begins]
    return [*spans, *_months(quarter, start - timedelta(days=1))]


def _months(first: date, last: date) -> Iterator[DayRange]:
    while first <= last:
        following = clock.add_months(first, 1)
        yield DayRange(first_day=first, last_day=min(following - timedelta(days=1), last))
        first = following
