"""Contract rules: named checks of pandera models, and the rules that several silos share.

A rule's name is what a person sees in receipts and quarantine; its meaning and remedy are what the rule ``says``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandera.polars as pa
import polars as pl
from pandera.api.polars.types import PolarsData

from infra.calendar.days import FIRST_DAY

DATE_RULES: Mapping[str, str] = {
    "date_unreadable": "The date is missing or not written as the format says. Correct it and deliver the row again.",
    "date_out_of_range": (
        "The date is before 2000 or in the future. Correct the clock or the typing error and deliver the row again."
    ),
}
LOCAL_TIME_RULES: Mapping[str, str] = {
    "time_does_not_exist": (
        "No clock showed this local time: it falls in the hour skipped in spring. Correct it, or deliver times with "
        "their UTC offset where the format allows."
    ),
}
PLACE_RULES: Mapping[str, str] = {
    "coordinates_unreadable": (
        "A coordinate is no number, or not on Earth. Correct it, or leave both blank when the place is unknown."
    ),
    "outside_city": "The coordinates are outside the city. Correct them, or deliver the row to the city it is about.",
    "coordinates_unknown": (
        "Warning. The place is not known (blank, 0 or 99999): the row counts in zone 'unknown'. Nothing to do for a "
        "few; many mean that positioning fails somewhere."
    ),
}
TIME_RULES: Mapping[str, str] = {
    "time_unreadable": "The time of day is not written as the format says. Correct it and deliver the row again.",
    "time_unknown": "Warning. The row has a day and no time of day: it does not count in profiles by hour.",
}
PLATE_RULES: Mapping[str, str] = {
    "plate_unusual": (
        "Warning. The plate is not of a pattern usual in the city, as foreign ones are not. Many mean a damaged column."
    ),
}
CONFORMED_RULES: Mapping[str, str] = {
    "not_nullable": (
        "A value that the table must have is missing. The fault is in Calanque, not in the delivery: report it with "
        "the receipt."
    ),
    "conformed_contract": (
        "A conformed value breaks the contract of its table. The fault is in Calanque, not in the delivery: report it "
        "with the receipt."
    ),
}


def rule(name: str, column: str, holds: Callable[[pl.Expr], pl.Expr], says: str = "", *, warns: bool = False) -> Any:
    """A check of a pandera model: rows in which ``holds(column)`` is false break the rule ``name``; null passes.

    ``says`` is what the rule means and what to do about it. One that ``warns`` keeps these rows.
    """

    def check(_model: type[pa.DataFrameModel], data: PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(holds(pl.col(column)))

    check.__name__ = name  # and not as an argument: pandera forgets that once a second model inherits the check
    return pa.check(column, description=says, raise_warning=warns)(check)


def promise(column: str, holds: Callable[[pl.Expr], pl.Expr]) -> Any:
    """A rule of a conformed table, which no delivery can break unless the fault is ours."""
    return rule("conformed_contract", column, holds, CONFORMED_RULES["conformed_contract"])


def present(value: pl.Expr) -> pl.Expr:
    return value.is_not_null()


_now: ContextVar[datetime | None] = ContextVar("calanque_rules_now", default=None)


@contextmanager
def at(now: datetime) -> Iterator[None]:
    """Have rules about dates go by ``now``, the lake's clock, and not by the machine's."""
    token = _now.set(now)
    try:
        yield
    finally:
        _now.reset(token)


def latest_day() -> date:
    """Today, where on Earth it is latest."""
    return ((_now.get() or datetime.now(UTC)) + timedelta(hours=14)).date()


def in_period(day: pl.Expr) -> pl.Expr:
    """Neither before :data:`infra.calendar.days.FIRST_DAY` nor in the future."""
    return day.is_between(FIRST_DAY, latest_day())


def date_unreadable(column: str, holds: Callable[[pl.Expr], pl.Expr] = present) -> Any:
    return rule("date_unreadable", column, holds, DATE_RULES["date_unreadable"])


def date_out_of_range(column: str, holds: Callable[[pl.Expr], pl.Expr] = in_period) -> Any:
    return rule("date_out_of_range", column, holds, DATE_RULES["date_out_of_range"])


def time_unreadable(column: str) -> Any:
    """Seconds of a day; what is no time of day is any other number."""
    return rule("time_unreadable", column, lambda second: second.is_between(0, 86_399), TIME_RULES["time_unreadable"])


def coordinates_unreadable(column: str, limit: float) -> Any:
    """Degrees between minus ``limit`` and ``limit``."""
    said = PLACE_RULES["coordinates_unreadable"]
    return rule("coordinates_unreadable", column, lambda degrees: degrees.is_between(-limit, limit), said)
