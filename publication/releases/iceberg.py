"""Marts as Iceberg tables: each release is one commit that adds or replaces whole units, and a tag."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.expressions import AlwaysFalse, AlwaysTrue, BooleanExpression
from pyiceberg.table import Table, Transaction
from pyiceberg.table.update.snapshot import ExpireSnapshots, ManageSnapshots

from infra.calendar import clock
from infra.catalog import ensure_table
from publication.releases.manifest import Changes, Manifest, Part

NAMESPACE = "marts"
RELEASE = "calanque.release"

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
    rows: Callable[[Part], pa.Table],
    history: Callable[[str, int], Manifest | None],
) -> int:
    """Make the mart's table hold exactly ``manifest``, tag it ``v<version>`` and return the snapshot's id.

    Rows and tag appear in the same instant, so a version whose tag exists is done. Only the units that differ from
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
            pa.concat_tables([_schema(manifest).empty_table(), *(rows(part) for part in changes.added)]),
            overwrite_filter=_rows_of(table, changes),
            snapshot_properties={RELEASE: str(manifest.version)},
        )
        snapshot = transaction.table_metadata.current_snapshot()
        if snapshot is None:
            raise RuntimeError(f"committing {manifest.mart} v{manifest.version} made no snapshot")
        ManageSnapshots(transaction).create_tag(snapshot.snapshot_id, tag).commit()
    return snapshot.snapshot_id


def renew(catalog: SqlCatalog, manifest: Manifest, rows: Callable[[Part], pa.Table]) -> int:
    """Have the mart's table hold exactly ``manifest`` in new files, none of the old being read; the snapshot's id.

    The version's tag goes to the new snapshot in the same commit.
    """
    table = catalog.load_table(f"{NAMESPACE}.{manifest.mart}")
    tag = f"v{manifest.version}"
    with table.transaction() as transaction:
        transaction.overwrite(
            pa.concat_tables([_schema(manifest).empty_table(), *(rows(part) for part in manifest.parts)]),
            overwrite_filter=AlwaysTrue(),
            snapshot_properties={RELEASE: str(manifest.version)},
        )
        snapshot = transaction.table_metadata.current_snapshot()
        if snapshot is None:
            raise RuntimeError(f"renewing {manifest.mart} v{manifest.version} made no snapshot")
        if tag in table.refs():
            ManageSnapshots(transaction).remove_tag(tag).commit()
        ManageSnapshots(transaction).create_tag(snapshot.snapshot_id, tag).commit()
    return snapshot.snapshot_id


def _rows_of(table: Table, changes: Changes) -> BooleanExpression | str:
    """Which rows of the table must go."""
    if changes.everything:
        return AlwaysTrue() if table.current_snapshot() else AlwaysFalse()
    # The quarter says which partitions can be concerned at all.
    return (
        " or ".join(
            f"(quarter_start = '{clock.quarter_start(days.first_day)}' and period_start >= '{days.first_day}' "
            f"and period_start <= '{days.last_day}')"
            for days in changes.removed
        )
        or AlwaysFalse()
    )


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


def forget_history(catalog: SqlCatalog, mart: str) -> set[str]:
    """Leave nothing of a mart's table but its newest version; the ``s3://`` addresses of all that is still its own.

    Whatever else is stored below the table's location belongs to versions that nobody can ask for any more.
    """
    table = catalog.load_table(f"{NAMESPACE}.{mart}")
    current = table.current_snapshot()
    if current is None:
        raise RuntimeError(f"the Iceberg table of {mart} has no version")
    gone = [name for name, reference in table.refs().items() if reference.snapshot_id != current.snapshot_id]
    older = [each.snapshot_id for each in table.snapshots() if each.snapshot_id != current.snapshot_id]
    if gone or older:
        with table.transaction() as transaction:
            for name in gone:
                ManageSnapshots(transaction).remove_tag(name).commit()
            if older:
                ExpireSnapshots(transaction).by_ids(older).commit()
    kept = {table.metadata_location, current.manifest_list}
    for manifest in current.manifests(table.io):
        kept.add(manifest.manifest_path)
        kept.update(entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io))
    return kept
