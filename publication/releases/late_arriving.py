"""Rows that come too late, on declared days of units that are published: counted and told, never published."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import date

import polars as pl
import psycopg
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError

from infra import catalog, compute, object_store, registry
from infra.calendar import trusted_clock
from infra.calendar.days import DayRange
from infra.settings import Settings
from privacy import ledger
from privacy.signed_copies import Copies
from privacy.spending import late_line
from publication.builds import sources

ROLE = "publisher"


def count(settings: Settings, connection: psycopg.Connection) -> list[registry.UnitRow]:
    """Count the late rows of the published units that newer commits touched; return those whose number changed.

    Each of these gets a line in the ledger. Takes no time when no commit touched a published unit.

    Raises:
        privacy.ledger.LedgerBrokenError: the lines cannot be added.
    """
    touched = registry.units_committed_to(connection, sources.registers())
    if not touched:
        return []
    commits = registry.newest_commits(connection)  # first: the tables are then no older than these
    covered = registry.covered_days(connection, sorted({unit.silo for unit in touched}))
    tables = catalog.open_catalog(settings, ROLE)
    counted: list[registry.UnitRow] = []
    for silo in sorted({unit.silo for unit in touched}):
        datasets = set(registry.datasets(connection, [silo])) - sources.registers()
        locations = [at for dataset in datasets if (at := location(tables, dataset))]
        units = [unit for unit in touched if unit.silo == silo]
        window = hull((unit.first_day, unit.last_day) for unit in units)
        rows = rows_by_day(settings, locations, window, covered[silo])
        counted += [
            replace(
                unit,
                late_rows=max(0, rows_between(rows, unit.first_day, unit.last_day) - unit.rows),
                commit_seq=commits.get(silo, 0),
            )
            for unit in units
        ]
    known = {(unit.mart, unit.first_day): unit.late_rows for unit in touched}
    changed = [unit for unit in counted if unit.late_rows != known[unit.mart, unit.first_day]]
    copies = Copies(settings, object_store.client(settings, ROLE))
    with ledger.locked(connection) as chain:
        if changed:
            copies.check_head(chain)
            lines = [
                late_line(unit.mart, unit.first_day, unit.last_day, unit.edition, unit.late_rows) for unit in changed
            ]
            now = trusted_clock.now(settings, ROLE)
            chain.extend(ledger.append(connection, chain[-1] if chain else None, now, lines))
        registry.put_units(connection, counted)
    copies.catch_up(chain)
    return changed


def location(tables: SqlCatalog, dataset: str) -> str | None:
    """The metadata file of a conformed table as it is now, or None when nothing was ever committed to it."""
    try:
        table = tables.load_table(f"conformed.{dataset}")
    except NoSuchTableError:
        return None
    return catalog.metadata_location(table) if table.current_snapshot() else None


def kept_from(tables: SqlCatalog, datasets: Collection[str]) -> date | None:
    """The first event day that retention has left in all of these tables; None when it never dropped any."""
    days = []
    for dataset in datasets:
        with suppress(NoSuchTableError):
            days.append(catalog.kept_from(tables.load_table(f"conformed.{dataset}")))
    return max((day for day in days if day), default=None)


def rows_by_day(
    settings: Settings, locations: Collection[str], days: DayRange, covered: Collection[date]
) -> pl.DataFrame:
    """``day`` and ``rows``: how many rows the tables at these metadata files have of each of these days, if any; of
    ``covered`` ones only, as a build reads them.
    """
    query = f"""
        select event_date as day, count(*) as rows
        from iceberg_scan(?)
        where event_date between date '{days.first_day}' and date '{days.last_day}'
        group by event_date
    """
    nothing = pl.DataFrame(schema={"day": pl.Date, "rows": pl.Int64})
    with compute.connect(settings, ROLE) as connection:
        counted = [connection.execute(query, [at]).pl() for at in locations]
    declared = pl.Series(sorted(covered), dtype=pl.Date).implode()
    return (
        pl.concat([nothing, *counted]).filter(pl.col("day").is_in(declared)).group_by("day").agg(pl.col("rows").sum())
    )


def rows_between(rows: pl.DataFrame, first_day: date, last_day: date) -> int:
    """The rows of these days, of what :func:`rows_by_day` found."""
    return int(rows.filter(pl.col("day").is_between(first_day, last_day))["rows"].sum())


def hull(days: Iterable[tuple[date, date]]) -> DayRange:
    """The days from the earliest first to the latest last."""
    firsts, lasts = zip(*days, strict=True)
    return DayRange(first_day=min(firsts), last_day=max(lasts))
