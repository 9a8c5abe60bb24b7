"""One delivery into one conformed table: one Iceberg commit, exactly once, whatever dies in between.

Of two deliveries with a record of the same key, the one that landed later is right, whichever is committed first. A
declared correction first removes every row of the delivery it corrects. What changes is decided by reading the keys of
the scopes the delivery touches (see :mod:`ingestion.conformed.scopes`), so a commit costs the same whatever the
history.

What makes it exactly once: the table's lock is held from the first look to the note in the registry; the Iceberg
snapshot carries the delivery's id, so that a crash between the two is recognised; and should that snapshot be forgotten
meanwhile, committing again replaces each row by itself, because its key is the same.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import polars as pl
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from minio import Minio
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile as TableFile
from pyiceberg.manifest import DataFileContent, FileFormat, ManifestEntryStatus
from pyiceberg.partitioning import PartitionFieldValue, PartitionKey
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.typedef import Record

from infra import object_store, registry
from infra.catalog import overwrite, trim_history
from infra.settings import Settings
from ingestion.conformed import tables
from ingestion.conformed.scopes import Scope, scope
from ingestion.register import REFERENCE_DAY, Dataset
from ingestion.rows.staging import DataFile, write_data_file

DELIVERY_PROPERTY = "calanque.delivery-id"
"""The snapshot property that says which delivery a snapshot committed."""
REPLAY_PROPERTY = "calanque.replay"
"""The snapshot property that says which replay of the delivery it committed; absent for the first time."""

_ATTEMPTS = 5
_AT_ONCE = 4
_EPOCH = date(1970, 1, 1)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Output:
    """A data file that a commit added: its key in bucket ``lake``, which ends in its SHA-256, and its size."""

    key: str
    rows: int
    bytes: int

    @property
    def sha256(self) -> str:
        return PurePosixPath(self.key).stem.rpartition("-")[2]


@dataclass(frozen=True)
class Committed:
    """What a delivery changed in its table: days whose rows changed, files added. Empty when nothing had to change."""

    days: tuple[date, ...]
    outputs: tuple[Output, ...]
    snapshot_id: int | None


class _Delivery(NamedTuple):
    silo: str
    delivery_id: str
    corrects: str | None
    files: tuple[DataFile, ...]
    overtaking: tuple[DataFile, ...]
    scratch: Path
    replay: int = 0


class _Change(NamedTuple):
    added: list[DataFile]
    removed: list[TableFile]


class Committer:
    """Commits deliveries to conformed tables as role ``pipeline``."""

    def __init__(self, settings: Settings, connection: psycopg.Connection, catalog: SqlCatalog, store: Minio) -> None:
        self._connection = connection
        self._catalog = catalog
        self._store = store
        self._read_options = object_store.polars_options(settings, "pipeline")

    def commit(
        self,
        dataset: Dataset,
        files: Iterable[DataFile],
        *,
        silo: str,
        delivery_id: str,
        corrects: str | None,
        scratch: Path,
        overtaking: Iterable[DataFile] = (),
        replay: int = 0,
    ) -> Committed:
        """Put the rows of ``files`` into the table of ``dataset``, in place of those they correct.

        Args:
            dataset: the register's dataset.
            files: the delivery's data files, see :meth:`ingestion.rows.staging.Stage.data_files`.
            silo: name of the silo.
            delivery_id: a landed delivery of the silo.
            corrects: the delivery whose rows must all go, if any.
            scratch: a folder for temporary files; the caller's to remove.
            overtaking: the rows of :func:`infra.registry.overtaking_deliveries`, which are not in the table any more
                and whose keys this delivery must not bring back.
            replay: how often the delivery was conformed again. All its rows of before go, and those of ``files`` come
                in their place; what later deliveries replaced stays replaced.

        Raises:
            CommitFailedException: somebody kept changing the table without taking its lock.
        """
        with registry.locked(self._connection, f"table {dataset.name}"):
            table = tables.ensure(self._catalog, dataset)
            noted = registry.commit(self._connection, dataset.name, delivery_id)
            superseded = registry.is_corrected(self._connection, silo, delivery_id)
            again = noted is not None and noted.replay < replay
            if again:
                corrects = delivery_id  # it takes its own place
            if (
                (noted is None or again)
                and not superseded
                and not _stands(table, _snapshots(table, delivery_id, replay))
            ):
                delivery = _Delivery(silo, delivery_id, corrects, tuple(files), tuple(overtaking), scratch, replay)
                self._change(table, dataset, delivery)
            snapshots = _snapshots(table, delivery_id, replay)
            changes = [change for snapshot in snapshots for change in _changes(table, snapshot)]
            days = set(noted.days) if noted is not None else set()
            if noted is None or again:
                days |= {day for _, day, _ in changes}
            snapshot_id = snapshots[-1].snapshot_id if snapshots else None
            if noted is None:
                registry.add_commit(
                    self._connection,
                    silo=silo,
                    dataset=dataset.name,
                    delivery_id=delivery_id,
                    days=days,
                    snapshot_id=snapshot_id,
                )
            elif again:
                registry.renew_commit(
                    self._connection, dataset.name, delivery_id, replay=replay, days=days, snapshot_id=snapshot_id
                )
            if noted is None or again:
                self._connection.commit()
        outputs = [
            Output(file.file_path.removeprefix("s3://lake/"), file.record_count, file.file_size_in_bytes)
            for status, _, file in changes
            if status == ManifestEntryStatus.ADDED
        ]
        return Committed(tuple(sorted(days)), tuple(sorted(outputs, key=lambda output: output.key)), snapshot_id)

    def _change(self, table: Table, dataset: Dataset, delivery: _Delivery) -> None:
        later = set(registry.later_deliveries(self._connection, delivery.silo, delivery.delivery_id))
        later.discard(delivery.corrects or "")  # it may have landed after its own correction
        corrected_days: set[date] = set()
        if delivery.corrects is not None:
            corrected = registry.commit(self._connection, dataset.name, delivery.corrects)
            corrected_days.update(corrected.days if corrected else ())
        self._connection.commit()  # nothing to keep open while files travel
        for attempt in range(1, _ATTEMPTS + 1):
            change = self._decide(table, dataset, delivery, later, corrected_days)
            added = self._upload(table, delivery.delivery_id, change.added)
            self._connection.execute("select 1")  # the lock is gone with its session: then stop here
            self._connection.commit()
            # A day that a replay leaves as it is makes the very file that is there already: it stays.
            kept = {file.file_path for file in added} & {file.file_path for file in change.removed}
            added = [file for file in added if file.file_path not in kept]
            removed = [file for file in change.removed if file.file_path not in kept]
            try:
                _apply(table, added, removed, delivery)
            except CommitFailedException:
                if attempt == _ATTEMPTS:
                    raise
                _log.warning("table %s changed in spite of its lock: deciding again", dataset.name)
                table.refresh()
            else:
                return

    def _decide(
        self,
        table: Table,
        dataset: Dataset,
        delivery: _Delivery,
        later: Collection[str],
        corrected_days: Collection[date],
    ) -> _Change:
        """Which files to add and which to remove, so that the delivery's rows take the place of those they correct."""
        existing: dict[str, TableFile] = {}
        leaving: dict[str, pl.DataFrame] = {}  # path in the table -> keys of the rows that go
        added: list[DataFile] = []
        schema = tables.file_schema(table)

        mine: dict[Scope, list[DataFile]] = defaultdict(list)
        for file in delivery.files:
            mine[scope(dataset, file.day)].append(file)
        theirs: dict[Scope, list[str]] = defaultdict(list)
        for found in _files(table, dataset, mine):
            theirs[scope(dataset, _day(found))].append(found.file_path)
            existing[found.file_path] = found
        overtaking: dict[Scope, list[DataFile]] = defaultdict(list)
        for file in delivery.overtaking:
            overtaking[scope(dataset, file.day)].append(file)
        for where, own in mine.items():
            stale = _keys(dataset, overtaking[where]) if where in overtaking else None
            matches = self._matches(dataset, own, theirs[where]) if where in theirs else None
            if matches is not None and not matches.is_empty():
                ours_is_older = pl.col("delivery_id").is_in(list(later))
                outdone = matches.filter(ours_is_older).select(dataset.key)
                stale = outdone if stale is None else pl.concat([stale, outdone])
                replaced = matches.filter(~ours_is_older)
                leaving |= {str(path): rows for (path,), rows in replaced.partition_by("path", as_dict=True).items()}
            added += own if stale is None else _without(dataset, own, stale, schema, delivery.scratch)

        if delivery.corrects is not None and corrected_days:
            whole = [Scope(min(corrected_days), max(corrected_days))]
            for found in _files(table, dataset, whole, of_delivery=delivery.corrects):
                existing[found.file_path] = found
                leaving.setdefault(found.file_path, pl.DataFrame())

        def rewrite(path: str) -> tuple[TableFile, DataFile | None] | None:
            lines = pl.read_parquet(path, storage_options=self._read_options)
            keys = leaving[path]
            kept = lines if keys.is_empty() else lines.join(keys, on=dataset.key, how="anti", maintain_order="left")
            if delivery.corrects is not None:
                kept = kept.filter(pl.col("delivery_id") != delivery.corrects)
            if kept.height == lines.height:
                return None
            if kept.is_empty():
                return existing[path], None
            target = delivery.scratch / f"kept-{PurePosixPath(path).name}"
            write_data_file(tables.complete(kept, schema), schema, target)
            return existing[path], DataFile(target, _day(existing[path]), kept.height)

        removed = []
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for rewritten in filter(None, pool.map(rewrite, leaving)):
                removed.append(rewritten[0])
                if rewritten[1] is not None:
                    added.append(rewritten[1])
        return _Change(added, removed)

    def _matches(self, dataset: Dataset, mine: list[DataFile], theirs: list[str]) -> pl.DataFrame:
        """The rows of the table's files ``theirs`` that share a key with ``mine``: key, ``delivery_id``, ``path``."""
        keys = _keys(dataset, mine)
        return (
            pl.scan_parquet(
                theirs,
                storage_options=self._read_options,
                include_file_paths="path",
                missing_columns="insert",  # the table may have gained some since
                extra_columns="ignore",
            )
            .select(*dataset.key, "delivery_id", "path")
            .join(keys.lazy(), on=dataset.key, how="semi")
            .collect(engine="streaming")
        )

    def _upload(self, table: Table, delivery_id: str, files: list[DataFile]) -> list[TableFile]:
        describe = _describer(table)

        def upload(file: DataFile) -> TableFile:
            sha256, size = object_store.digest_file(file.path)
            address = f"{table.location()}/data/{file.day}/{delivery_id}-{sha256}.parquet"
            bucket, key = address.removeprefix("s3://").split("/", 1)
            object_store.put_file(self._store, bucket, key, file.path, sha256=sha256)
            return describe(file, address, size)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(upload, files))


def _apply(table: Table, added: list[TableFile], removed: list[TableFile], delivery: _Delivery) -> None:
    if not added and not removed:
        return
    with table.transaction() as transaction:
        properties = {DELIVERY_PROPERTY: delivery.delivery_id}
        if delivery.replay:
            properties[REPLAY_PROPERTY] = str(delivery.replay)
        append = transaction.update_snapshot(snapshot_properties=properties).merge_append
        with overwrite(transaction, properties) if removed else append() as snapshot:
            for file in removed:
                snapshot.delete_data_file(file)
            for file in added:
                snapshot.append_data_file(file)
        trim_history(transaction)


def _describer(table: Table) -> Callable[[DataFile, str, int], TableFile]:
    """What says of a data file, from its footer, all that Iceberg must know: ``add_files`` would download it again."""
    schema, spec = table.schema(), table.spec()
    plan, columns = compute_statistics_plan(schema, table.properties), parquet_path_to_id_mapping(schema)

    def describe(file: DataFile, address: str, size: int) -> TableFile:
        statistics = data_file_statistics_from_parquet_metadata(pq.read_metadata(file.path), plan, columns)
        partition = Record()
        if spec.fields:
            partition = PartitionKey([PartitionFieldValue(spec.fields[0], file.day)], spec, schema).partition
        return TableFile.from_args(
            content=DataFileContent.DATA,
            file_path=address,
            file_format=FileFormat.PARQUET,
            partition=partition,
            file_size_in_bytes=size,
            sort_order_id=None,
            spec_id=spec.spec_id,
            equality_ids=None,
            key_metadata=None,
            **statistics.to_serialized_dict(),
        )

    return describe


def _files(
    table: Table, dataset: Dataset, scopes: Collection[Scope], of_delivery: str | None = None
) -> Iterator[TableFile]:
    """The table's data files that may hold rows of ``scopes``, and of one delivery when given."""
    if not scopes:
        return
    conditions = []
    if not dataset.reference:
        first, last = min(where.first for where in scopes), max(where.last for where in scopes)
        conditions += [f"{tables.PARTITION} >= '{first}'", f"{tables.PARTITION} <= '{last}'"]
    if of_delivery is not None:
        conditions.append(f"delivery_id = '{of_delivery}'")
    for task in table.scan(row_filter=" and ".join(conditions) or "true").plan_files():
        yield task.file


def _day(file: TableFile) -> date:
    if not len(file.partition):
        return REFERENCE_DAY
    return _EPOCH + timedelta(days=file.partition[0])


def _keys(dataset: Dataset, files: list[DataFile]) -> pl.DataFrame:
    return pl.concat(pl.read_parquet(file.path, columns=list(dataset.key)) for file in files)


def _without(
    dataset: Dataset, files: list[DataFile], keys: pl.DataFrame, schema: pa.Schema, scratch: Path
) -> Iterator[DataFile]:
    """``files`` without the rows that have one of ``keys``."""
    for number, file in enumerate(files):
        if keys.is_empty():
            yield file
            continue
        lines = pl.read_parquet(file.path)
        kept = lines.join(keys, on=dataset.key, how="anti", maintain_order="left")
        if kept.height == lines.height:
            yield file
        elif kept.height:
            target = scratch / f"fresh-{file.day}-{number}.parquet"
            write_data_file(kept, schema, target)
            yield DataFile(target, file.day, kept.height)


def _snapshots(table: Table, delivery_id: str, replay: int) -> list[Snapshot]:
    """The snapshots of the table that committed a replay of a delivery, oldest first: mostly none or one."""
    wanted = (delivery_id, str(replay))
    return [
        snapshot
        for snapshot in table.snapshots()
        if (summary := snapshot.summary) is not None
        and (
            summary.additional_properties.get(DELIVERY_PROPERTY),
            summary.additional_properties.get(REPLAY_PROPERTY, "0"),
        )
        == wanted
    ]


def _stands(table: Table, snapshots: Collection[Snapshot]) -> bool:
    """Whether these snapshots are known, and every file they added is in the table still.

    If not (another delivery rewrote one, the table was set back, files were lost) the delivery is committed again,
    which replaces each of its rows by itself.
    """
    added = {
        file.file_path
        for snapshot in snapshots
        for status, _, file in _changes(table, snapshot)
        if status == ManifestEntryStatus.ADDED
    }
    return bool(snapshots) and added <= {task.file.file_path for task in table.scan().plan_files()}


def _changes(table: Table, snapshot: Snapshot) -> Iterator[tuple[ManifestEntryStatus, date, TableFile]]:
    """Each data file that ``snapshot`` added or removed, and its event day."""
    for manifest in snapshot.manifests(table.io):
        if manifest.added_snapshot_id != snapshot.snapshot_id:
            continue
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False):
            if entry.snapshot_id == snapshot.snapshot_id and entry.status != ManifestEntryStatus.EXISTING:
                yield entry.status, _day(entry.data_file), entry.data_file
