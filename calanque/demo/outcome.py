"""Read from a lake what it made of its deliveries, to be scored."""

from __future__ import annotations

import io

import polars as pl

from calanque.demo.score import DELIVERIES, LOADED, REJECTS, Outcome
from infra import object_store
from infra.catalog import open_catalog
from infra.settings import Settings
from ingestion import receipts
from ingestion.conformed import tables
from ingestion.register import silos
from ingestion.rows import quarantine

_ROLE = "pipeline"


def read(settings: Settings) -> Outcome:
    """The outcome of every settled delivery: from receipts, quarantine objects and conformed tables."""
    store = object_store.client(settings, _ROLE)
    settled = [
        object_store.get_json(store, receipts.BUCKET, key)
        for key in object_store.list_keys(store, receipts.BUCKET, "deliveries/")
        if key.endswith(".json")
    ]
    rejects = [pl.DataFrame(schema=REJECTS)]
    for receipt in settled:
        if receipt["quarantine"]:
            content = object_store.get_bytes(store, quarantine.BUCKET, receipt["quarantine"]["key"])
            found = pl.read_parquet(io.BytesIO(content)).with_columns(
                silo=pl.lit(receipt["silo"]), delivery_id=pl.lit(receipt["delivery_id"])
            )
            rejects.append(found.select(REJECTS.names()))
    return Outcome(
        deliveries=pl.DataFrame(settled, schema=DELIVERIES),
        rejects=pl.concat(rejects),
        loaded=_loaded(settings),
    )


def _loaded(settings: Settings) -> pl.DataFrame:
    catalog = open_catalog(settings, _ROLE)
    options = object_store.polars_options(settings, _ROLE)
    counts = [pl.DataFrame(schema=LOADED)]
    for silo in silos().values():
        for dataset in silo.datasets:
            files = [task.file.file_path for task in tables.ensure(catalog, dataset).scan().plan_files()]
            if files:
                rows = pl.scan_parquet(files, storage_options=options).group_by("delivery_id", "event_date")
                counted = rows.agg(rows=pl.len().cast(pl.Int64)).collect(engine="streaming")
                counts.append(counted.select(pl.lit(silo.name).alias("silo"), "delivery_id", "event_date", "rows"))
    return pl.concat(counts)
