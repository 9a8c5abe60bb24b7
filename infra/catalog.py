"""The Iceberg catalog: PyIceberg's SQL catalog in PostgreSQL, tables in bucket ``lake``."""

from __future__ import annotations

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError, TableAlreadyExistsError
from pyiceberg.schema import Schema
from pyiceberg.table import Table

from infra import database, object_store
from infra.settings import Settings

NAME = "calanque"
DATABASE = "lake"
SCHEMA = "iceberg"
NAMESPACES = ("conformed", "marts")
WAREHOUSE = "s3://lake"

# Old table metadata files go as new ones come; snapshots and data files are the retention job's business.
_TABLE_PROPERTIES = {
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    "write.parquet.compression-codec": "zstd",
    "commit.retry.num-retries": "10",
}


def open_catalog(settings: Settings, role: str) -> SqlCatalog:
    """The catalog as ``role``: ``pipeline`` changes ``conformed``, ``publisher`` changes ``marts``, both read both.

    The tables of the catalog itself are made by :mod:`infra.provisioning`, never here.
    """
    return SqlCatalog(
        NAME,
        uri=f"{database.uri(settings, role, DATABASE, driver='postgresql+psycopg')}?options=-csearch_path%3D{SCHEMA}",
        warehouse=WAREHOUSE,
        init_catalog_tables="false",
        pool_pre_ping="true",
        **object_store.pyiceberg_properties(settings, role),
    )


def ensure_table(
    catalog: SqlCatalog, identifier: str, schema: Schema | pa.Schema, partition_by: str | None = None
) -> Table:
    """The table called ``identifier`` ("namespace.name"), created if it is not there, partitioned by identity.

    An existing table is returned as it is, whatever its schema.
    """
    try:
        return catalog.load_table(identifier)
    except NoSuchTableError:
        pass
    try:
        with catalog.create_table_transaction(identifier, schema, properties=_TABLE_PROPERTIES) as transaction:
            if partition_by is not None:
                with transaction.update_spec() as spec:
                    spec.add_identity(partition_by)
    except TableAlreadyExistsError:  # another process was quicker
        pass
    return catalog.load_table(identifier)


def metadata_location(table: Table) -> str:
    """The ``s3://`` address of the metadata file of the table as loaded: an immutable view of it, for DuckDB."""
    return table.metadata_location
