"""The quarantine object of a delivery: which rows broke which rule in which column, never what was in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
from minio import Minio

from infra import object_store
from ingestion.checking import REJECTS

BUCKET = "quarantine"


@dataclass(frozen=True)
class Quarantine:
    """Where the rejects of a delivery are, and the SHA-256 of that object."""

    key: str
    sha256: str


def write(store: Minio, silo: str, delivery_id: str, rejects: pl.LazyFrame, scratch: Path) -> Quarantine | None:
    """Store ``rejects`` (:data:`ingestion.checking.REJECTS`) as ``<silo>/<delivery_id>.parquet``.

    The same rejects give the same bytes. None, and no object, when there are none.
    """
    path = scratch / "quarantine.parquet"
    rejects.select(REJECTS.names()).sink_parquet(path, compression="zstd")
    if pl.scan_parquet(path).select(pl.len()).collect().item() == 0:
        return None
    key = f"{silo}/{delivery_id}.parquet"
    return Quarantine(key, object_store.put_file(store, BUCKET, key, path))
