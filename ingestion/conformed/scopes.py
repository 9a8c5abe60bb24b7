"""Where two records with the same key can be: the part of a conformed table that must be searched for a key.

A key that contains the time lies within one day. A pseudonym lies within one month, because its own key does, and in
that month the day of a record may be corrected. Reference data belongs to no day: its whole table is searched.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import NamedTuple

import polars as pl

from infra.calendar.clock import month_start
from ingestion.conformed.schemas import polars_schema
from ingestion.register import REFERENCE_DAY, Dataset


class Scope(NamedTuple):
    """Event days from ``first`` to ``last``, both included."""

    first: date
    last: date


def scope(dataset: Dataset, day: date) -> Scope:
    """The scope of ``day``: two records of ``dataset`` in different scopes never share a key."""
    if dataset.reference:
        return Scope(REFERENCE_DAY, REFERENCE_DAY)
    types = polars_schema(dataset)
    if any(isinstance(types[column], pl.Datetime) for column in dataset.key):
        return Scope(day, day)
    first = month_start(day)
    return Scope(first, month_start(first + timedelta(days=31)) - timedelta(days=1))
