"""Release files: one immutable Parquet file per unit and edition, addressed by its content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from minio import Minio

from infra import object_store
from infra.build_spec import Edition, Unit
from publication.contracts import Contract
from publication.releases import parquet
from publication.releases.manifest import BUCKET, Part, part_key


class FileChangedError(RuntimeError):
    """A stored file is not the one that was recorded."""


def make_parts(
    contract: Contract, units: Mapping[Unit, str], frame: pl.DataFrame, scratch: Path
) -> list[tuple[Part, Path]]:
    """Write each unit of ``frame`` to a file in ``scratch``, in the contract's order of rows; with what describes it.

    ``units`` are those to write, each with its fingerprint; the frame may hold others.
    """
    by_first_day = {unit.first_day: unit for unit in units}
    days = pl.DataFrame(
        [(unit.first_day, unit.last_day) for _, unit in sorted(by_first_day.items())],
        schema={"unit": pl.Date, "unit_end": pl.Date},
        orient="row",
    )
    rows_of = (
        frame.sort("period_start")
        .join_asof(days, left_on="period_start", right_on="unit", check_sortedness=False)
        .filter(pl.col("period_start") <= pl.col("unit_end"))
        .partition_by("unit", as_dict=True, include_key=False)
    )
    made = []
    for (first_day,), rows in sorted(rows_of.items()):
        unit = by_first_day[first_day]
        path = scratch / f"{contract.mart}.{unit.first_day}.parquet"
        made.append((_write(contract, unit, units[unit], rows.sort(contract.order), path), path))
    return made


def _write(contract: Contract, unit: Unit, fingerprint: str, rows: pl.DataFrame, path: Path) -> Part:
    schema = contract.arrow_schema()
    parquet.write(path, schema, rows.select(schema.names).to_arrow().cast(schema).to_batches())
    sha256, _ = object_store.digest_file(path)
    first, last = rows.select(pl.col("period_start").min(), pl.col("period_end").max()).row(0)
    return Part(
        first_day=unit.first_day,
        last_day=unit.last_day,
        edition=unit.edition,
        key=part_key(contract.mart, unit.first_day, sha256),
        sha256=sha256,
        rows=rows.height,
        period_start=first,
        period_end=last,
        fingerprint=fingerprint,
    )


def store(store: Minio, part: Part, path: Path) -> None:
    """Put a file in bucket ``lake``, unless it is there."""
    if not object_store.exists(store, BUCKET, part.key):
        object_store.put_file(store, BUCKET, part.key, path, "application/vnd.apache.parquet", sha256=part.sha256)


def read(store: Minio, part: Part | Edition) -> pa.Table:
    """The rows of a release file.

    Raises:
        FileChangedError: its bytes are not those that were released.
    """
    key = part_key(part.mart, part.first_day, part.sha256) if isinstance(part, Edition) else part.key
    data = object_store.get_bytes(store, BUCKET, key)
    if hashlib.sha256(data).hexdigest() != part.sha256:
        raise FileChangedError(
            f"release file {key} does not have the SHA-256 of its manifest: restore it from a copy of the lake"
        )
    return pq.read_table(pa.BufferReader(data))
