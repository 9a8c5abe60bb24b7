"""The quarantine object of a delivery: which rows broke which rule in which column, never what was in them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from minio import Minio

from infra import object_store
from infra.settings import Settings
from ingestion.contracts.checking import REJECTS

BUCKET = "quarantine"


@dataclass(frozen=True)
class Quarantine:
    """Where the rejects of a delivery are, and the SHA-256 of that object."""

    key: str
    sha256: str


def write(store: Minio, silo: str, delivery_id: str, rejects: pl.LazyFrame, scratch: Path) -> Quarantine | None:
    """Store ``rejects`` (:data:`ingestion.contracts.checking.REJECTS`) as ``<silo>/<delivery_id>.parquet``.

    The same rejects give the same bytes. None, and no object, when there are none.
    """
    path = scratch / "quarantine.parquet"
    rejects.select(REJECTS.names()).sink_parquet(path, compression="zstd")
    if pl.scan_parquet(path).select(pl.len()).collect().item() == 0:
        return None
    key = f"{silo}/{delivery_id}.parquet"
    return Quarantine(key, object_store.put_file(store, BUCKET, key, path))


def read(settings: Settings, silo: str, delivery_id: str, role: str = "pipeline") -> pl.LazyFrame:
    """The rejects of a delivery (:data:`ingestion.contracts.checking.REJECTS`), in order of row.

    Raises:
        FileNotFoundError: when collected, if there are none, or the quarantine's retention has removed them.
    """
    return pl.scan_parquet(
        f"s3://{BUCKET}/{silo}/{delivery_id}.parquet", storage_options=object_store.polars_options(settings, role)
    )


def row_numbers(
    settings: Settings, silo: str, delivery_id: str, rules: Collection[str], most: int, *, first_row: int
) -> dict[str, tuple[int, ...]]:
    """By rule, the first rows of a delivery that broke it, at most so many; nothing when they are not kept any more.

    ``first_row`` is the number of the first record.
    """
    if not object_store.exists(object_store.client(settings, "pipeline"), BUCKET, f"{silo}/{delivery_id}.parquet"):
        return {}
    found = (
        read(settings, silo, delivery_id)
        .filter(pl.col("rule").is_in(list(rules)))
        .group_by("rule")
        .agg(pl.col("row").unique().sort().head(most) + first_row - 1)
        .collect()
    )
    return {rule: tuple(rows) for rule, rows in found.iter_rows()}
