"""Contract rules: named checks of pandera models, and the rules that several silos share.

A rule's name is what a person sees in receipts and quarantine; its meaning and remedy are in ``Silo.rules``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandera.polars as pa
import polars as pl
from pandera.api.polars.types import PolarsData

FIRST_DAY = date(2000, 1, 1)
"""No delivery is about an earlier day."""


def rule(name: str, column: str, holds: Callable[[pl.Expr], pl.Expr]) -> Any:
    """A check of a pandera model: rows in which ``holds(column)`` is false break the rule ``name``; null passes."""

    def check(_model: type[pa.DataFrameModel], data: PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(holds(pl.col(column)))

    return pa.check(column, name=name)(check)


def present(value: pl.Expr) -> pl.Expr:
    return value.is_not_null()


def in_period(day: pl.Expr) -> pl.Expr:
    """Neither before :data:`FIRST_DAY` nor in the future, anywhere on Earth."""
    latest = (datetime.now(UTC) + timedelta(hours=14)).date()
    return day.is_between(FIRST_DAY, latest)


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
CONFORMED_RULES: Mapping[str, str] = {
    "conformed_contract": (
        "A conformed value breaks the contract of its table. The fault is in Calanque, not in the delivery: report it "
        "with the receipt."
    ),
}
