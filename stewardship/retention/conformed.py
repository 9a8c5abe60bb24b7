"""Conformed tables: rows by event day, then everything that no live snapshot needs, down to the files.

Iceberg forgets by metadata alone: a deleted row stays in a data file that an older snapshot names, and an expired
snapshot's files stay in the bucket. So a table is cleaned in one go, under its lock and the builds' lock, with no
writer and no reader: days past the limit are dropped, every snapshot but the current one expires (one commit for both),
then the files that the table named before and no longer does are deleted, and files it never named once they are a day
old. Rows are never read: days are partitions, and what is where is in the manifests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import NamedTuple

import psycopg
from minio import Minio
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, ManifestFile
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update.snapshot import ExpireSnapshots

from infra import database, object_store, registry
from infra.catalog import KEPT_FROM, open_catalog, overwrite
from infra.settings import Settings
from ingestion.conformed import tables
from ingestion.contracts.retention_limits import Limit
from ingestion.register import Dataset
from stewardship.retention.holdings import Sight, Tally
from stewardship.retention.objects import remove, versions

ROLE = "retention"
BUCKET = "lake"
ZONE = "conformed"
ORPHAN_AGE = timedelta(days=1)
"""A file that the table never named is what a killed commit left, unless its commit is about to happen: it is left
alone for a day, far longer than any process could go on believing that it holds the table's lock."""

# Held by whoever builds marts, for as long as it reads the metadata files it has pinned.
_BUILD_LOCK = "build"
_EPOCH = date(1970, 1, 1)


class Held(NamedTuple):
    """A data file of a table, and its event day; None where the table is not divided by day."""

    file: DataFile
    day: date | None


@dataclass
class Contents:
    """What some snapshots of a table name: ``held`` by path, and ``named``, every address, metadata included."""

    held: dict[str, Held] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)


def contents(io: FileIO, snapshots: Iterable[Snapshot]) -> Contents:
    """What ``snapshots`` of a table name; what an interrupted cleaning has deleted already is left out."""
    found = Contents()
    read: set[str] = set()
    for snapshot in snapshots:
        found.named.add(snapshot.manifest_list)
        for manifest in _manifests(io, snapshot):
            if manifest.manifest_path in read:
                continue
            read.add(manifest.manifest_path)
            found.named.add(manifest.manifest_path)
            for file in _files(io, manifest):
                day = _EPOCH + timedelta(days=file.partition[0]) if len(file.partition) else None
                found.held[file.file_path] = Held(file, day)
    found.named |= set(found.held)
    return found


class ConformedHolding:
    """One conformed table; ``limit`` None keeps its rows and only clears what no snapshot needs."""

    def __init__(self, settings: Settings, silo: str, dataset: Dataset, limit: Limit | None, now: datetime) -> None:
        self._settings = settings
        self._silo, self._dataset = silo, dataset
        self._limit = None if dataset.reference else limit
        self._first_kept = self._limit.first_day_kept(now.date()) if self._limit else None
        self._orphaned_before = now - ORPHAN_AGE
        self._store: Minio = object_store.client(settings, ROLE)
        self._catalog: SqlCatalog = open_catalog(settings, ROLE)

    def clean(self) -> Tally:
        tally = Tally(ZONE, self._silo, str(self._limit or "kept"), self._first_kept)
        if (table := self._table()) is None:
            return tally
        with closing(database.connect(self._settings, ROLE, "lake")) as connection:
            self._clean(connection, table, tally)
        return tally

    def _clean(self, connection: psycopg.Connection, table: Table, tally: Tally) -> None:
        with (
            registry.locked(connection, _BUILD_LOCK),
            registry.locked(connection, f"table {self._dataset.name}"),
        ):
            table.refresh()
            once_named = self._once_named(table)
            self._forget(table, tally)
            connection.execute("select 1")  # the locks are gone with their session: then stop here
            connection.commit()
            needed = self._needed(table)
            gone = [
                stored
                for stored in versions(self._store, BUCKET, self._prefix)
                if (address := f"s3://{BUCKET}/{stored.key}") not in needed
                and (address in once_named or stored.stored_at < self._orphaned_before)
            ]
            # What names other files goes after them: killed in between, the next cleaning still knows what they were.
            remove(self._store, BUCKET, sorted(gone, key=lambda stored: _order(stored.key)))
        tally.objects += len(gone)
        tally.bytes += sum(stored.bytes for stored in gone)

    def look(self) -> Sight:
        if (table := self._table()) is None:
            return Sight(None)
        every = contents(table.io, table.snapshots())
        days = [held.day for held in every.held.values() if held.day is not None]
        first = self._first_kept
        overdue = []
        if first is not None and (late := [day for day in days if day < first]):
            overdue.append(f"table {self._dataset.name}: {len(late)} files of days older than {self._limit}")
        needed = every.named | self._metadata_files(table)
        left = [
            stored
            for stored in versions(self._store, BUCKET, self._prefix)
            if f"s3://{BUCKET}/{stored.key}" not in needed and stored.stored_at < self._orphaned_before
        ]
        if left:
            overdue.append(f"table {self._dataset.name}: {len(left)} objects that no snapshot names, a day old or more")
        return Sight(min(days, default=None) if first is not None else None, tuple(overdue))

    def _forget(self, table: Table, tally: Tally) -> None:
        """One commit: no day past the limit, no snapshot but the current one and what carries a tag."""
        current = table.current_snapshot()
        if current is None:
            return
        first = self._first_kept
        held = contents(table.io, [current]).held.values() if first is not None else ()
        old = [each.file for each in held if first is not None and each.day is not None and each.day < first]
        if not old and len(table.snapshots()) == 1:
            return
        with table.transaction() as transaction:
            if old:
                with overwrite(transaction, {KEPT_FROM: f"{first}"}) as update:
                    for file in old:
                        update.delete_data_file(file)
            kept = {reference.snapshot_id for reference in transaction.table_metadata.refs.values()}
            every = {snapshot.snapshot_id for snapshot in transaction.table_metadata.snapshots}
            if every - kept:
                ExpireSnapshots(transaction).by_ids(list(every - kept)).commit()
        tally.rows += sum(file.record_count for file in old)

    def _once_named(self, table: Table) -> set[str]:
        """Every file that the table names, or did at a commit that is still logged: none of them is on its way in."""
        named = self._metadata_files(table)
        snapshots = {snapshot.snapshot_id: snapshot for snapshot in table.snapshots()}
        for address in named - {table.metadata_location}:
            try:
                earlier = FromInputFile.table_metadata(table.io.new_input(address))
            except (FileNotFoundError, OSError):  # deleted by an earlier cleaning
                continue
            snapshots |= {snapshot.snapshot_id: snapshot for snapshot in earlier.snapshots}
        return named | contents(table.io, snapshots.values()).named

    def _needed(self, table: Table) -> set[str]:
        return {table.metadata_location} | contents(table.io, table.snapshots()).named

    def _metadata_files(self, table: Table) -> set[str]:
        return {table.metadata_location, *(entry.metadata_file for entry in table.metadata.metadata_log)}

    def _table(self) -> Table | None:
        try:
            return self._catalog.load_table(tables.identifier(self._dataset))
        except NoSuchTableError:
            return None

    @property
    def _prefix(self) -> str:
        return f"{tables.NAMESPACE}/{self._dataset.name}/"


def _manifests(io: FileIO, snapshot: Snapshot) -> list[ManifestFile]:
    try:
        return snapshot.manifests(io)
    except FileNotFoundError:
        return []


def _files(io: FileIO, manifest: ManifestFile) -> Iterator[DataFile]:
    try:
        for entry in manifest.fetch_manifest_entry(io, discard_deleted=True):
            yield entry.data_file
    except FileNotFoundError:
        return


def _order(key: str) -> int:
    """Data files, then manifests, then lists of manifests, then table metadata."""
    if "/metadata/" not in key:
        return 0
    if key.endswith(".json"):
        return 3
    return 2 if key.rsplit("/", 1)[1].startswith("snap-") else 1


def unclaimed(settings: Settings, known: Iterable[str]) -> list[str]:
    """The conformed tables that no registered dataset claims: nobody says how long their rows may be kept."""
    catalog = open_catalog(settings, ROLE)
    found = {name for _, name in catalog.list_tables(tables.NAMESPACE)}
    return sorted(found - set(known))
