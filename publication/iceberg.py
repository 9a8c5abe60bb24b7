"""Marts as Iceberg tables: each release is one commit that replaces whole quarters, and a tag."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.expressions import AlwaysFalse, AlwaysTrue, BooleanExpression
from pyiceberg.table import Table, Transaction
from pyiceberg.table.update.snapshot import ManageSnapshots

from infra.catalog import ensure_table
from publication.manifest import Changes, Manifest, Quarter

NAMESPACE = "marts"
RELEASE = "calanque.release"
BUILD = "calanque.build"

_TYPES = {
    "date": pa.date32(),
    "varchar": pa.string(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "double": pa.float64(),
}


def commit(
    catalog: SqlCatalog,
    manifest: Manifest,
    rows: Callable[[Quarter], pa.Table],
    history: Callable[[str, int], Manifest | None],
) -> int:
    """Make the mart's table hold exactly ``manifest``, tag it ``v<version>`` and return the snapshot's id.

    Rows and tag appear in the same instant, so a version whose tag exists is done. Only the quarters that differ from
    what the table holds are replaced. ``rows`` reads a release file; ``history`` gives the manifest of a version.
    """
    table = ensure_table(catalog, f"{NAMESPACE}.{manifest.mart}", _schema(manifest), partition_by="quarter_start")
    tag = f"v{manifest.version}"
    if tag in table.refs():
        return table.refs()[tag].snapshot_id
    version = _version(table)
    changes = manifest.changed_since(history(manifest.mart, version) if version else None)
    with table.transaction() as transaction:
        if not _same_columns(table, manifest):
            _replace_columns(transaction, table, manifest)
        transaction.overwrite(
            pa.concat_tables([_schema(manifest).empty_table(), *(rows(quarter) for quarter in changes.added)]),
            overwrite_filter=_rows_of(table, changes),
            snapshot_properties={RELEASE: str(manifest.version), BUILD: manifest.inputs.build_id},
        )
        snapshot = transaction.table_metadata.current_snapshot()
        if snapshot is None:
            raise RuntimeError(f"committing {manifest.mart} v{manifest.version} made no snapshot")
        ManageSnapshots(transaction).create_tag(snapshot.snapshot_id, tag).commit()
    return snapshot.snapshot_id


def _rows_of(table: Table, changes: Changes) -> BooleanExpression | str:
    """Which rows of the table must go."""
    if changes.everything:
        return AlwaysTrue() if table.current_snapshot() else AlwaysFalse()
    quarters = ", ".join(f"'{quarter.isoformat()}'" for quarter in changes.removed)
    return f"quarter_start in ({quarters})" if quarters else AlwaysFalse()


def _version(table: Table) -> int | None:
    """The version that the table's rows are; None when they are of no release, and must all be replaced."""
    snapshot = table.current_snapshot()
    if snapshot is None or snapshot.summary is None:
        return None
    version = snapshot.summary.additional_properties.get(RELEASE)
    return int(version) if version else None


def _schema(manifest: Manifest) -> pa.Schema:
    return pa.schema(
        [
            pa.field(column.name, _TYPES[column.type], metadata={"doc": column.description})
            for column in manifest.columns
        ]
    )


def _same_columns(table: Table, manifest: Manifest) -> bool:
    present = table.schema().as_arrow()
    wanted = _schema(manifest)
    return present.names == wanted.names and all(
        _plain(have.type) == want.type for have, want in zip(present, wanted, strict=True)
    )


def _plain(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_large_string(kind) else kind


def _replace_columns(transaction: Transaction, table: Table, manifest: Manifest) -> None:
    """Give the table the columns of ``manifest``; those that stay keep their identity and their history."""
    wanted = _schema(manifest)
    present = {field.name: _plain(field.type) for field in table.schema().as_arrow()}
    with transaction.update_schema(allow_incompatible_changes=True) as update:
        for name, kind in present.items():
            if name not in wanted.names or wanted.field(name).type != kind:
                update.delete_column(name)
    with transaction.update_schema(allow_incompatible_changes=True) as update:
        update.union_by_name(wanted)
        update.move_first(wanted.names[0])
        for before, name in zip(wanted.names, wanted.names[1:], strict=False):
            update.move_after(name, before)
