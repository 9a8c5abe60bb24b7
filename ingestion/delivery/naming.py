"""What the name of a file tells of the days that it is complete for. Never a day on which something was exported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta

from infra.calendar import clock
from infra.calendar.days import FIRST_DAY, DayRange

_AT_THE_END = re.compile(r"(?<!\d)(\d{4})-(\d{2})(?:-(\d{2}))?(?:\.[A-Za-z]\w*)*$")
_GERMAN_MONTH = re.compile(r"(?<![^\W_])([^\W\d_]+)[-_](\d{4})(?!\d)")
_GERMAN_MONTHS: Mapping[str, int] = {
    "januar": 1,
    "februar": 2,
    "märz": 3,
    "maerz": 3,
    "marz": 3,
    "april": 4,
    "mai": 5,
    "juni": 6,
    "juli": 7,
    "august": 8,
    "september": 9,
    "oktober": 10,
    "november": 11,
    "dezember": 12,
}


def period(name: str) -> DayRange | None:
    """The day or the month that a name ends in, before its extensions: ``tows_2026-01.csv``, ``2026-01-31.tsv.gz``."""
    found = _AT_THE_END.search(name)
    if found is None:
        return None
    year, month, day = found.groups()
    return _month(int(year), int(month)) if day is None else _day(int(year), int(month), int(day))


def german_month(name: str) -> DayRange | None:
    """The month that a name spells in German, as open data of German cities do: ``owi_juli_2022.csv``."""
    months = {
        (int(year), _GERMAN_MONTHS[word])
        for word, year in _GERMAN_MONTH.findall(name.lower())
        if word in _GERMAN_MONTHS
    }
    return _month(*months.pop()) if len(months) == 1 else None


def _month(year: int, month: int) -> DayRange | None:
    first = _day(year, month, 1)
    return first and DayRange(first_day=first.first_day, last_day=clock.add_months(first.first_day, 1) - timedelta(1))


def _day(year: int, month: int, day: int) -> DayRange | None:
    try:
        found = date(year, month, day)
    except ValueError:
        return None
    return DayRange(first_day=found, last_day=found) if found >= FIRST_DAY else None
