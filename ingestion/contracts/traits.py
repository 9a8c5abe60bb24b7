"""What delivered rows of several silos have in common: columns with their classes and the rules about them, to inherit.

A Delivered model of a silo names its traits as base classes, and adds columns and rules of its own.
"""

from __future__ import annotations

from typing import Annotated

import pandera.polars as pa
import polars as pl

from infra.lineage.classification import Classification
from ingestion.contracts.columns import column
from ingestion.contracts.rules import (
    coordinates_unreadable,
    date_out_of_range,
    date_unreadable,
    in_period,
    time_unreadable,
)


class Strict(pa.DataFrameModel):
    """A model that lists all columns."""

    class Config:
        strict = True


class Row(Strict):
    """One delivered row, known by the number of its record. Lives in memory only."""

    row: pl.Int64 = column(Classification.PROVENANCE)


class Moment(Row):
    """Something happened, on a day, perhaps at a time of day, perhaps told with its UTC offset."""

    occurred_on: pl.Date = column(Classification.QUASI_IDENTIFIER, nullable=True, description="Local day.")
    second_of_day: pl.Int32 = column(
        Classification.QUASI_IDENTIFIER, nullable=True, description="Local time; null when the format tells none."
    )
    occurred_at: Annotated[pl.Datetime, "us", "UTC"] = column(
        Classification.QUASI_IDENTIFIER, nullable=True, description="When delivered with an offset."
    )

    moment_readable = date_unreadable("occurred_on")
    moment_in_range = date_out_of_range("occurred_on")
    moment_told_in_full = time_unreadable("second_of_day")


class Point(Row):
    """Something is at a place that may tell of a person."""

    lon: float = column(Classification.QUASI_IDENTIFIER, nullable=True, description="WGS84 degrees; null when unknown.")
    lat: float = column(Classification.QUASI_IDENTIFIER, nullable=True)

    longitude_readable = coordinates_unreadable("lon", 180)
    latitude_readable = coordinates_unreadable("lat", 90)


class Interval(Row):
    """Something was counted from a start on, which the format tells with or without its UTC offset."""

    starts_at: Annotated[pl.Datetime, "us", "UTC"] = column(
        Classification.PUBLIC, nullable=True, description="When delivered with an offset."
    )
    starts_local: Annotated[pl.Datetime, "us", None] = column(
        Classification.PUBLIC, nullable=True, description="When delivered without."
    )

    start_readable = date_unreadable(
        "starts_at", lambda start: start.is_not_null() | pl.col("starts_local").is_not_null()
    )
    start_in_range = date_out_of_range("starts_at", lambda start: in_period(told(start).dt.date()))


def told(start: pl.Expr) -> pl.Expr:
    """The start of an :class:`Interval` as its sender's clock showed it."""
    return pl.coalesce("starts_local", start.dt.replace_time_zone(None))
