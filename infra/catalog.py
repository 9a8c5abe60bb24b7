"""The Iceberg catalog: PyIceberg's SQL catalog in PostgreSQL, tables in bucket ``lake``."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError, TableAlreadyExistsError, ValidationError
from pyiceberg.manifest import ManifestFile
from pyiceberg.schema import Schema
from pyiceberg.table import Table, Transaction
from pyiceberg.table.update.snapshot import ExpireSnapshots, ManageSnapshots, _OverwriteFiles
from sqlalchemy import text

from infra import database, object_store
from infra.settings import Settings
from infra.transient import transient

NAME = "calanque"
DATABASE = "lake"
SCHEMA = "iceberg"
NAMESPACES = ("conformed", "marts")
WAREHOUSE = "s3://lake"

# A commit copies the table's history in memory several times over: a history without end makes each day dearer than
# the one before. History is trimmed to the first figure once it is longer than the second.
KEPT_SNAPSHOTS = 20
TRIMMED_BEYOND = 40

KEPT_FROM = "calanque.retention"
"""The snapshot property of a commit that dropped days past their limit: the first event day it kept."""

_TABLE_PROPERTIES = {
    "write.parquet.compression-codec": "zstd",
    # Small manifests are merged into bigger ones: 200 daily commits are read in 0.05 s instead of 0.7 s.
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "20",
    # Old metadata files are no longer listed, but not deleted: a build may still be reading one of them.
    "write.metadata.previous-versions-max": "20",
    "commit.retry.num-retries": "10",
}


class TableDamagedError(RuntimeError):
    """The metadata of an Iceberg table cannot be read: nothing is read from it or written to it until it is mended."""

    def __init__(self, found: Damage) -> None:
        super().__init__(f"{found}: nothing of it is read or changed until it is mended, see docs/operations/backup.md")


def open_catalog(settings: Settings, role: str) -> SqlCatalog:
    """The catalog as ``role``: ``pipeline`` changes ``conformed``, ``publisher`` changes ``marts``, both read both.

    The tables of the catalog itself are made by :mod:`infra.machines.provisioning`, never here.
    """
    opened = SqlCatalog(
        NAME,
        uri=f"{database.uri(settings, role, DATABASE, driver='postgresql+psycopg')}?options=-csearch_path%3D{SCHEMA}",
        warehouse=WAREHOUSE,
        init_catalog_tables="false",
        pool_pre_ping="true",
        **object_store.pyiceberg_properties(settings, role),
    )
    weakref.finalize(opened, opened.engine.dispose)  # its connections close with it, without every caller having to
    return opened


def load_table(catalog: SqlCatalog, identifier: str) -> Table:
    """The table called ``identifier``.

    Raises:
        NoSuchTableError: there is none.
        TableDamagedError: its metadata file is missing or cannot be read.
    """
    try:
        return catalog.load_table(identifier)
    except NoSuchTableError:
        raise
    except (ValueError, FileNotFoundError, ValidationError) as error:  # JSON's errors are ValueErrors
        if transient(error):
            raise
        address = _metadata_address(catalog, identifier)
        raise TableDamagedError(Damage(identifier, "its metadata file", address)) from None


def ensure_table(
    catalog: SqlCatalog,
    identifier: str,
    schema: Schema | pa.Schema,
    partition_by: str | None = None,
    properties: Mapping[str, str] = MappingProxyType({}),
) -> Table:
    """The table called ``identifier`` ("namespace.name"), created if it is not there, partitioned by identity.

    It is created with ``properties`` besides those of every table. An existing one is returned as it is, whatever its
    schema and its properties.
    """
    try:
        return load_table(catalog, identifier)
    except NoSuchTableError:
        pass
    try:
        with catalog.create_table_transaction(
            identifier, schema, properties={**_TABLE_PROPERTIES, **properties}
        ) as transaction:
            if partition_by is not None:
                with transaction.update_spec() as spec:
                    spec.add_identity(partition_by)
    except TableAlreadyExistsError:  # another process was quicker
        pass
    return load_table(catalog, identifier)


class IncompatibleSchemaError(RuntimeError):
    """A contract changed in a way that rows already there cannot follow."""


def evolve(table: Table, wanted: pa.Schema) -> Table:
    """The table once it has every column of ``wanted``; a column may be added, or become one that may be null.

    Rows that are there read null in a new column. Columns keep their identity, and a new one comes last.

    Raises:
        IncompatibleSchemaError: a new column may not be null, or one changed its type, became required or is gone.
    """
    name = ".".join(table.name()[-2:])
    present = {field.name: field for field in table.schema().as_arrow()}
    gone = sorted(present.keys() - set(wanted.names))
    if gone:
        raise IncompatibleSchemaError(
            f"table {name} has a column {gone[0]!r} that its contract does not have: columns are not taken away; "
            "declare it again, as one that may be null, or declare a dataset of another name"
        )
    for field in wanted:
        have = present.get(field.name)
        if have is None and not field.nullable:
            raise IncompatibleSchemaError(
                f"table {name} cannot have a new column {field.name!r} that is never null: the rows that are there do "
                "not have it; let it be null"
            )
        if have is not None and _plain(have.type) != field.type:
            raise IncompatibleSchemaError(
                f"column {field.name!r} of table {name} is of type {_plain(have.type)} and cannot become {field.type}: "
                "declare a column of another name"
            )
        if have is not None and have.nullable and not field.nullable:
            raise IncompatibleSchemaError(
                f"column {field.name!r} of table {name} may be null and cannot become one that never is: the rows that "
                "are there may be; check it in the contract by a rule instead"
            )
    added = [field for field in wanted if field.name not in present]
    loosened = [
        field.name for field in wanted if field.name in present and field.nullable > present[field.name].nullable
    ]
    if added or loosened:
        with table.update_schema() as update:
            if added:
                update.union_by_name(pa.schema(added))
            for column in loosened:
                update.make_column_optional(column)
    return table


def _plain(kind: pa.DataType) -> pa.DataType:
    """Iceberg's large types as the contracts call them."""
    return {pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}.get(kind, kind)


@dataclass(frozen=True)
class Damage:
    """An object without which a table cannot be read: ``address`` is its ``s3://`` address."""

    table: str
    what: str
    address: str

    def __str__(self) -> str:
        return f"table {self.table}: {self.what} {self.address} is missing or cannot be read"


def damage(catalog: SqlCatalog, identifier: str) -> Damage | None:
    """What keeps the current content of a table from being read; None when all of its metadata can be.

    Reads metadata only, never a row: the metadata file, then the manifests of the current snapshot.

    Raises:
        NoSuchTableError: there is no such table.
        Exception: the store does not answer; see :func:`infra.transient.transient`.
    """
    address = _metadata_address(catalog, identifier)
    what = "its metadata file"
    try:
        table = catalog.load_table(identifier)
        snapshot = table.current_snapshot()
        if snapshot is None:
            return None
        what, address = "the list of manifests", snapshot.manifest_list
        for manifest in snapshot.manifests(table.io):
            what, address = "the manifest", manifest.manifest_path
            manifest.fetch_manifest_entry(table.io)
    except NoSuchTableError:
        raise
    except Exception as error:  # whatever a damaged file makes of its reader
        if transient(error):
            raise
        return Damage(identifier, what, address)
    return None


def _metadata_address(catalog: SqlCatalog, identifier: str) -> str:
    namespace, _, name = identifier.rpartition(".")
    with catalog.engine.connect() as connection:
        row = connection.execute(
            text(
                "select metadata_location from iceberg_tables"
                " where catalog_name = :catalog and table_namespace = :namespace and table_name = :name"
            ),
            {"catalog": NAME, "namespace": namespace, "name": name},
        ).first()
    if row is None:
        raise NoSuchTableError(f"Table does not exist: {identifier}")
    return str(row[0])


def metadata_location(table: Table) -> str:
    """The ``s3://`` address of the metadata file of the table as loaded: an immutable view of it, for DuckDB."""
    return table.metadata_location


def rows_by_day(
    catalog: SqlCatalog, datasets: Collection[str], first: date | None = None, last: date | None = None
) -> dict[date, int]:
    """Rows by event day of conformed tables, from metadata alone; days without any are absent, and tables may be."""
    found: Counter[date] = Counter()
    bounds = [f"event_date >= '{first}'"] if first else []
    bounds += [f"event_date <= '{last}'"] if last else []
    for dataset in datasets:
        with suppress(NoSuchTableError):
            table = load_table(catalog, f"conformed.{dataset}")
            if table.current_snapshot() is None:
                continue
            counted = (
                table.inspect.partitions(row_filter=" and ".join(bounds)) if bounds else table.inspect.partitions()
            )
            for partition, rows in zip(
                counted["partition"].to_pylist(), counted["record_count"].to_pylist(), strict=True
            ):
                found[partition["event_date"]] += rows
    return dict(found)


def kept_from(table: Table) -> date | None:
    """The first event day that retention has left in a table; None when it never dropped any, as far as is known."""
    return max(
        (
            date.fromisoformat(day)
            for snapshot in table.snapshots()
            if snapshot.summary and (day := snapshot.summary.additional_properties.get(KEPT_FROM))
        ),
        default=None,
    )


def tag(transaction: Transaction, name: str) -> None:
    """Name the snapshot that ``transaction`` has just made, in the same commit: neither is ever seen without the other.

    Raises:
        ValueError: the transaction's table has no snapshot yet.
    """
    snapshot_id = transaction.table_metadata.current_snapshot_id
    if snapshot_id is None:
        raise ValueError(f"nothing to call {name!r}: the table has no snapshot")
    ManageSnapshots(transaction).create_tag(snapshot_id, name).commit()


def overwrite(transaction: Transaction, properties: Mapping[str, str]) -> _OverwriteFiles:
    """A snapshot that removes data files and adds others, as a context manager; ``properties`` are told of it.

    PyIceberg 0.12 looks for the removed files in several manifests at once with one evaluator, which keeps the manifest
    it looks at in itself: another thread may swap it, and a file that is there is reported missing. Here each manifest
    has an evaluator of its own.
    """
    update = transaction.update_snapshot(snapshot_properties=dict(properties)).overwrite()
    build = update._build_manifest_evaluator

    def build_for_each(spec_id: int) -> Callable[[ManifestFile], bool]:
        def might_hold(manifest: ManifestFile) -> bool:
            return build(spec_id)(manifest)

        return might_hold

    update._build_manifest_evaluator = build_for_each  # type: ignore[method-assign]
    return update


def trim_history(transaction: Transaction) -> None:
    """Forget old snapshots, in the same commit, once there are many; tagged ones stay.

    Call it last. Data files are left where they are: a reader of an older metadata file is not disturbed.
    """
    metadata = transaction.table_metadata
    if len(metadata.snapshots) <= TRIMMED_BEYOND:
        return
    named = {reference.snapshot_id for reference in metadata.refs.values()}
    newest_first = sorted(metadata.snapshots, key=lambda snapshot: snapshot.sequence_number or 0, reverse=True)
    forgotten = [
        snapshot.snapshot_id for snapshot in newest_first[KEPT_SNAPSHOTS:] if snapshot.snapshot_id not in named
    ]
    if forgotten:
        ExpireSnapshots(transaction).by_ids(forgotten).commit()
