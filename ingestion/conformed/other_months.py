"""Records that the lake holds under other months than the ones they are delivered in now.

A record is known by a pseudonym under the key of its month. A corrected date that lies in another month therefore does
not find the row that it corrects, and both stay. As long as the keys of both months live this can be seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from threading import Lock

import polars as pl
from pyiceberg.catalog.sql import SqlCatalog

from infra import object_store
from infra.keys.store import Keys
from infra.settings import Settings
from ingestion.conformed import tables
from ingestion.register import Dataset
from ingestion.rows.staging import DataFile

RECORD_KEY = "record_key"


class OtherMonths:
    """The record keys of one silo's tables under living keys: read once, then kept up with what is committed."""

    def __init__(self, settings: Settings, catalog: SqlCatalog, silo: str, keys: Keys) -> None:
        self._options = object_store.polars_options(settings, "pipeline")
        self._catalog = catalog
        self._months = [
            date.fromisoformat(f"{state.month}-01") for state in keys.states() if state.silo == silo and state.alive
        ]
        self._known: dict[str, pl.DataFrame] = {}
        self._reading = Lock()  # batches of a delivery ask at once

    def known(self, dataset: Dataset, leaving: Collection[str]) -> Mapping[date, pl.Series]:
        """The record keys of ``dataset`` by month (its first day), without those of deliveries whose rows leave."""
        if RECORD_KEY not in dataset.key:
            return {}
        with self._reading:
            if dataset.name not in self._known:
                self._known[dataset.name] = self._read(dataset)
        staying = self._known[dataset.name].filter(~pl.col("delivery_id").is_in(list(leaving)))
        parts = staying.partition_by("month", as_dict=True)
        return {month: rows[RECORD_KEY] for (month,), rows in parts.items()}

    def add(self, dataset: Dataset, delivery_id: str, files: Iterable[DataFile], leaving: Collection[str] = ()) -> None:
        """Know what a delivery just committed too, and no longer what left with it."""
        if dataset.name not in self._known:
            return
        staying = self._known[dataset.name].filter(~pl.col("delivery_id").is_in(list(leaving)))
        added = [
            pl.read_parquet(file.path, columns=[RECORD_KEY]).with_columns(
                delivery_id=pl.lit(delivery_id), month=pl.lit(file.day).dt.month_start()
            )
            for file in files
        ]
        self._known[dataset.name] = pl.concat([staying, *added])

    def _read(self, dataset: Dataset) -> pl.DataFrame:
        empty = pl.DataFrame(schema={RECORD_KEY: pl.Binary, "delivery_id": pl.String, "month": pl.Date})
        if not self._months:
            return empty
        table = self._catalog.load_table(tables.identifier(dataset))
        scan = table.scan(row_filter=f"{tables.PARTITION} >= '{min(self._months)}'")
        paths = [task.file.file_path for task in scan.plan_files()]
        if not paths:
            return empty
        rows = pl.scan_parquet(paths, storage_options=self._options, missing_columns="insert", extra_columns="ignore")
        return (
            rows.select(RECORD_KEY, "delivery_id", month=pl.col(tables.PARTITION).dt.month_start())
            .filter(pl.col("month").is_in(self._months))
            .collect(engine="streaming")
        )
