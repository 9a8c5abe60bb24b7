"""The Iceberg tables that the register describes."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.table import Table

from infra.catalog import ensure_table, evolve
from ingestion.conformed.schemas import arrow_schema
from ingestion.register import Dataset, Silo

NAMESPACE = "conformed"
PARTITION = "event_date"

# A commit is decided on one state of the table (which keys exist, which files go). Replaying it by itself on another
# state, as PyIceberg does by default, could add a delivery twice: we decide again instead.
_COMMIT_ONCE = {"commit.retry.num-retries": "0"}


def identifier(dataset: Dataset) -> str:
    return f"{NAMESPACE}.{dataset.name}"


def ensure_tables(catalog: SqlCatalog, silo: Silo) -> dict[str, Table]:
    """The conformed tables of a silo by dataset, created where they are not there, partitioned by event day.

    Reference data, which belongs to no day, is not partitioned.
    """
    return {dataset.name: ensure(catalog, dataset) for dataset in silo.datasets}


def ensure(catalog: SqlCatalog, dataset: Dataset) -> Table:
    """The conformed table of ``dataset``, created if it is not there, with the columns that its contract gained.

    Raises:
        IncompatibleSchemaError: the contract changed otherwise; the message says what to do instead.
    """
    partition = None if dataset.reference else PARTITION
    schema = arrow_schema(dataset)
    table = evolve(ensure_table(catalog, identifier(dataset), schema, partition, _COMMIT_ONCE), schema)
    if any(table.properties.get(name) != value for name, value in _COMMIT_ONCE.items()):
        with table.transaction() as change:
            change.set_properties(_COMMIT_ONCE)
    return table


def complete(rows: pl.DataFrame, schema: pa.Schema) -> pl.DataFrame:
    """``rows`` of an older file with the columns that the table gained since, all null, in the order of ``schema``."""
    kinds = pl.DataFrame(schema.empty_table()).schema
    missing = [pl.lit(None, kinds[name]).alias(name) for name in schema.names if name not in rows.columns]
    return rows.with_columns(missing).select(schema.names)


def file_schema(table: Table) -> pa.Schema:
    """The Arrow schema of the table's data files, with Iceberg field ids, in the string types that Polars writes."""
    views = {pa.large_string(): pa.string_view(), pa.large_binary(): pa.binary_view()}
    views |= {pa.string(): pa.string_view(), pa.binary(): pa.binary_view()}
    schema = schema_to_pyarrow(table.schema())
    # Nullability is the contracts' business: Polars writes every column as one that may be null.
    return pa.schema(field.with_type(views.get(field.type, field.type)).with_nullable(True) for field in schema)
