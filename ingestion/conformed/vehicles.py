"""Where vehicles are, in conformed tables: the tables that hold pseudonyms of plates, and the files of their days."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import polars as pl
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table, Transaction

from infra.calendar.clock import add_months
from ingestion.conformed import tables
from ingestion.conformed.schemas import polars_schema
from ingestion.register import Dataset, Silo, silos

VEHICLE = "vehicle"
_EPOCH = date(1970, 1, 1)


def datasets_with_vehicles() -> Iterator[tuple[Silo, Dataset]]:
    """Every registered dataset whose rows bear the pseudonym of a plate, with its silo."""
    for silo in silos().values():
        for dataset in silo.datasets:
            if VEHICLE in polars_schema(dataset):
                yield silo, dataset


def table_of(catalog: SqlCatalog, dataset: Dataset) -> Table | None:
    """The conformed table of a dataset; None when nothing was ever conformed."""
    try:
        return catalog.load_table(tables.identifier(dataset))
    except NoSuchTableError:
        return None


def files_by_day(table: Table, month: str | None = None) -> dict[date, list[str]]:
    """The addresses of the table's data files by the day of their rows, of one month (``YYYY-MM``) when given."""
    condition = "true"
    if month is not None:
        first = date.fromisoformat(f"{month}-01")
        condition = f"{tables.PARTITION} >= '{first}' and {tables.PARTITION} < '{add_months(first, 1)}'"
    found: dict[date, list[str]] = {}
    for task in table.scan(row_filter=condition).plan_files():
        day = _EPOCH + timedelta(days=task.file.partition[0])
        found.setdefault(day, []).append(task.file.file_path)
    return dict(sorted(found.items()))


def read(table: Table, paths: list[str], options: dict[str, str]) -> pl.DataFrame:
    """Every row of these data files of the table; null in columns that it gained since."""
    schema = tables.file_schema(table)
    return pl.concat(tables.complete(pl.read_parquet(path, storage_options=options), schema) for path in paths)


def replace_day(
    transaction: Transaction, table: Table, day: date, rows: pl.DataFrame, properties: dict[str, str]
) -> None:
    """Have ``rows`` stand in the place of everything the table holds of ``day``; ``properties`` are the snapshot's."""
    of_day = f"{tables.PARTITION} = '{day}'"
    if rows.is_empty():
        transaction.delete(of_day, snapshot_properties=properties)
    else:
        lines = rows.to_arrow().cast(table.schema().as_arrow())
        transaction.overwrite(lines, overwrite_filter=of_day, snapshot_properties=properties)
