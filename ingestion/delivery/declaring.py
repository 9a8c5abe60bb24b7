"""Which days a delivery declares its silo complete for: what its sender says, and what the format says of its name.

Never its rows: a delivery without any declares as much as another.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from zoneinfo import ZoneInfo

import psycopg

from infra import registry
from infra.city.profile import calendar
from infra.registry import DeliveryRow
from infra.registry.cover import Source
from infra.settings import Settings
from ingestion.register import Silo


def local_day(settings: Settings, at: datetime) -> date:
    """The day it is in the city at an instant: whoever delivers then declares no day that is not over."""
    return at.astimezone(ZoneInfo(calendar(settings).time_zone)).date()


def declared(silo: Silo, delivery: DeliveryRow, format_name: str, rows_in: int) -> Mapping[Source, frozenset[date]]:
    """The days that a delivery of a format declares, by what says so.

    The same bytes under another name are another period's only when there is nothing in them; else they are a mistake.
    A period that was not over when the file landed is not all there.
    """
    accepted = silo.format(format_name)
    if silo.dataset(accepted.dataset).reference:
        return {}
    names = [delivery.file_name, *(delivery.also_named if rows_in == 0 else [])]
    found = [accepted.covers(name) for name in names] if accepted.covers else []
    over = [days for days in found if days and delivery.landed_on and days.last_day < delivery.landed_on]
    said: dict[Source, frozenset[date]] = {
        "note": frozenset(delivery.covers or ()),
        "format": frozenset(day for days in over for day in days.days),
    }
    return {source: days for source, days in said.items() if days}


def declare(
    connection: psycopg.Connection, delivery: DeliveryRow, said: Mapping[Source, frozenset[date]], at: datetime
) -> None:
    """Record what a delivery declares, in the caller's transaction."""
    for source, days in said.items():
        registry.declare(
            connection,
            delivery.silo,
            days,
            source=source,
            said_by=f"{source} of {delivery.file_name}",
            said_at=at,
            delivery_id=delivery.delivery_id,
        )
