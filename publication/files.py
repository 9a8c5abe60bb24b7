"""Release files: one immutable Parquet file per quarter, addressed by its content."""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from minio import Minio

from infra import object_store
from publication import parquet
from publication.contracts import Contract
from publication.manifest import BUCKET, Quarter, quarter_key


class FileChangedError(RuntimeError):
    """A stored file is not the one that was recorded."""


def store_quarters(store: Minio, contract: Contract, frame: pl.DataFrame, scratch: Path) -> list[Quarter]:
    """Write each quarter of ``frame`` to bucket ``lake``, unless it is there, in the contract's order of rows."""
    quarters = []
    for (quarter,), rows in frame.partition_by("quarter_start", as_dict=True, maintain_order=True).items():
        quarters.append(_store(store, contract, quarter, rows.sort(contract.order), scratch))
    return sorted(quarters, key=lambda each: each.quarter)


def _store(store: Minio, contract: Contract, quarter: date, rows: pl.DataFrame, scratch: Path) -> Quarter:
    path = scratch / f"{contract.mart}.parquet"
    schema = contract.arrow_schema()
    parquet.write(path, schema, rows.select(schema.names).to_arrow().cast(schema).to_batches())
    sha256, _ = object_store.digest_file(path)
    key = quarter_key(contract.mart, quarter, sha256)
    if not object_store.exists(store, BUCKET, key):
        object_store.put_file(store, BUCKET, key, path, "application/vnd.apache.parquet", sha256=sha256)
    path.unlink()
    first, last = rows.select(pl.col("period_start").min(), pl.col("period_end").max()).row(0)
    return Quarter(
        quarter=quarter,
        key=key,
        sha256=sha256,
        rows=rows.height,
        period_start=first,
        period_end=last,
    )


def read(store: Minio, quarter: Quarter) -> pa.Table:
    """The rows of a release file.

    Raises:
        FileChangedError: its bytes are not those that were released.
    """
    data = object_store.get_bytes(store, BUCKET, quarter.key)
    if hashlib.sha256(data).hexdigest() != quarter.sha256:
        raise FileChangedError(
            f"release file {quarter.key} does not have the SHA-256 of its manifest: restore it from a copy of the lake"
        )
    return pq.read_table(pa.BufferReader(data))
