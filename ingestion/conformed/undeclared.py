"""Rows on days that nobody declared a silo complete for: they wait in conformed, and no build reads them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date

import psycopg

from infra import catalog, registry
from infra.calendar import days
from infra.settings import Settings
from ingestion.register import references


def rows(
    settings: Settings, connection: psycopg.Connection, silos: Collection[str], role: str
) -> dict[str, dict[date, int]]:
    """By silo, how many rows the lake holds of each day that was not declared. ``role`` reads conformed."""
    covered = registry.covered_days(connection, silos)
    opened = catalog.open_catalog(settings, role)
    found = {}
    for silo in silos:
        held = catalog.rows_by_day(opened, set(registry.datasets(connection, [silo])) - references())
        found[silo] = {day: held[day] for day in sorted(held) if day not in covered[silo]}
    return found


def sentence(silo: str, undeclared: Mapping[date, int]) -> str:
    """How many rows lie on which days, and what to type when they are all there is of the days with most of them."""
    most = max(days.ranges(undeclared), key=lambda each: sum(undeclared[day] for day in each.days))
    return (
        f"{silo}: {sum(undeclared.values()):,} rows lie on {len(undeclared):,} days that nobody declared "
        f"({days.told(undeclared)}), and no build reads them. `calanque cover {silo}` shows them; if the silo is "
        f"complete for these days: `calanque cover {silo} {most.first_day} {most.last_day} --reason ...`"
    )
