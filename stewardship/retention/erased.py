"""Rows of vehicles that were erased: there must be none, whatever brought them back.

Conforming takes none (:data:`ingestion.rows.conforming.ERASED`). What a restore brought, or a table that was set back,
is taken out here, by the same hand as in an erasure; looking at every table again is the proof that erasures hold.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from datetime import date

import polars as pl
import psycopg
from pyiceberg.table import Table

from infra import database, object_store, registry
from infra.catalog import open_catalog
from infra.keys.store import open_keys
from infra.settings import Settings
from ingestion.conformed.vehicles import VEHICLE, files_by_day, read, replace_day, table_of
from ingestion.register import Dataset
from stewardship.retention.holdings import Sight, Tally

ROLE = "pipeline"
ERASURE_PROPERTY = "calanque.erasure"
"""The snapshot property that says which erasure made a commit, by the id of its receipt."""

Pseudonyms = Mapping[str, Collection[bytes]]
"""Of vehicles, by month."""


class ErasedHolding:
    """One conformed table, as far as erasures are about it."""

    def __init__(self, settings: Settings, silo: str, dataset: Dataset) -> None:
        self._settings = settings
        self._silo, self._dataset = silo, dataset

    def clean(self) -> Tally:
        tally = Tally("erased", self._silo, "their erasure", None)
        erased, table = self._erased(), self._table()
        if erased and table is not None:
            with (
                closing(database.connect(self._settings, ROLE, "lake")) as connection,
                registry.locked(connection, f"table {self._dataset.name}"),
            ):
                table.refresh()
                tally.rows = sum(take_out(self._settings, connection, table, erased, "retention").values())
        return tally

    def look(self) -> Sight:
        table = self._table()
        rows = sum(count for *_, count in _found(self._settings, table, self._erased())) if table is not None else 0
        if not rows:
            return Sight(None)
        return Sight(None, (f"table {self._dataset.name}: {rows} rows of vehicles that were erased",))

    def _erased(self) -> Pseudonyms:
        return open_keys(self._settings).erased(self._silo)

    def _table(self) -> Table | None:
        return table_of(open_catalog(self._settings, ROLE), self._dataset)


def take_out(
    settings: Settings, connection: psycopg.Connection, table: Table, pseudonyms: Pseudonyms, erasure: str
) -> dict[str, int]:
    """Replace the days of a table that have rows of these vehicles by themselves without them; rows by month.

    The caller holds the table's lock, on ``connection``.
    """
    found = list(_found(settings, table, pseudonyms))
    connection.execute("select 1")  # the lock is gone with its session: then stop here
    connection.commit()
    removed: dict[str, int] = {}
    if found:
        options = object_store.polars_options(settings, ROLE)
        with table.transaction() as transaction:
            for day, paths, count in found:
                month = f"{day:%Y-%m}"
                kept = read(table, paths, options).filter(~_is_of(pseudonyms[month]).fill_null(value=False))
                replace_day(transaction, table, day, kept, {ERASURE_PROPERTY: erasure})
                removed[month] = removed.get(month, 0) + count
    return removed


def _found(settings: Settings, table: Table, pseudonyms: Pseudonyms) -> Iterator[tuple[date, list[str], int]]:
    """The days that have rows of these vehicles: their files, and how many rows."""
    options = object_store.polars_options(settings, ROLE)
    for month in pseudonyms:
        for day, paths in files_by_day(table, month).items():
            lines = pl.scan_parquet(paths, storage_options=options, missing_columns="insert", extra_columns="ignore")
            if count := lines.filter(_is_of(pseudonyms[month])).select(pl.len()).collect().item():
                yield day, paths, count


def _is_of(pseudonyms: Collection[bytes]) -> pl.Expr:
    return pl.col(VEHICLE).is_in(pl.Series(list(pseudonyms), dtype=pl.Binary).implode())
