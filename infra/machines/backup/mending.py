"""Putting back, from any backup, what is damaged or missing of the tables and release files that the lake names.

All of it is written once and never changed, so the bytes of the oldest backup that has an object are its bytes.
Metadata are damaged when they cannot be read. A file of rows is when its bytes have not the digest that its name says,
or that the backup has; when neither is known, when it cannot be read to the end.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pyarrow.parquet as pq
from minio import Minio
from minio.error import S3Error
from pyiceberg.table import Table

from infra import catalog, database, object_store, registry
from infra.machines.backup.manifest import Manifest, Stored, folders
from infra.machines.backup.pool import Pool
from infra.settings import Settings
from infra.transient import transient

_DIGEST = re.compile(r"([0-9a-f]{64})\.parquet$")
_CHUNK_BYTES = 2**20
_AT_ONCE = 4
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class RowFile:
    """A Parquet file that the lake names: ``rows`` of ``table``, of the day or quarter that begins on ``first_day``."""

    table: str
    address: str
    rows: int
    first_day: date | None
    size: int | None = None
    sha256: str | None = None

    @property
    def mart(self) -> str | None:
        """The mart of whose table it is; None for a conformed table and for a release file."""
        namespace, _, name = self.table.partition(".")
        return name if namespace == "marts" and not self.is_release else None

    @property
    def is_release(self) -> bool:
        return self.address.startswith("s3://lake/releases/")

    @property
    def place(self) -> tuple[str, str]:
        bucket, _, key = self.address.removeprefix("s3://").partition("/")
        return bucket, key

    def __str__(self) -> str:
        days = f" of {self.first_day}" if self.first_day else ""
        return f"table {self.table}: {self.rows:,} rows{days} in {self.address} are missing or damaged"


@dataclass(frozen=True)
class Mended:
    """The addresses put back; then what no backup has: metadata, a sentence each, and files of rows."""

    done: tuple[str, ...]
    unreadable: tuple[str, ...]
    lost: tuple[RowFile, ...]


def mend(settings: Settings, place: Path) -> Mended:
    """Put back each object without which the current content of a table, or a release file, cannot be read.

    Reads every byte of what it checks. Nothing else is touched, and nothing that retention deleted comes back.

    Raises:
        Exception: the store does not answer; see :func:`infra.transient.transient`.
    """
    bench = _Bench(settings, place)
    unreadable: list[str] = []
    files: list[RowFile] = []
    for role, namespace in (("pipeline", "conformed"), ("publisher", "marts")):
        opened = catalog.open_catalog(settings, role)
        for identifier in sorted(".".join(parts) for parts in opened.list_tables(namespace)):
            while (found := catalog.damage(opened, identifier)) is not None:
                if not bench.put_back(found.address):
                    unreadable.append(str(found))
                    break
            else:
                files += _files_of(identifier, opened.load_table(identifier))
    files += _released(settings)
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        damaged = [file for file, sound in zip(files, threads.map(bench.is_sound, files), strict=True) if not sound]
    lost = [file for file in damaged if not bench.put_back(file.address, file)]
    return Mended(tuple(bench.done), tuple(unreadable), tuple(lost))


class _Bench:
    """The store, and every backup's copy of an object, the oldest first."""

    def __init__(self, settings: Settings, place: Path) -> None:
        self._settings = settings
        self._store: Minio = object_store.client(settings, object_store.ADMIN)
        self._pool = Pool(place / "objects")
        self._copies: dict[tuple[str, str], list[Stored]] = defaultdict(list)
        for folder in folders(place):
            for each in Manifest.read(folder).objects:
                self._copies[each.place].append(each)
        self.done: list[str] = []

    def is_sound(self, file: RowFile) -> bool:
        """Whether the bytes of a file are there and are those that were written."""
        bucket, key = file.place
        copy = next(iter(self._fitting(file)), None)
        expected = file.sha256 or (copy.sha256 if copy else None)
        try:
            if expected is None:
                return self._can_be_read(file)
            return _digest(self._store, bucket, key) == expected
        except S3Error as error:
            if error.code == "NoSuchKey":
                return False
            return self._is_to_blame(error)
        except Exception as error:
            return self._is_to_blame(error)

    def put_back(self, address: str, file: RowFile | None = None) -> bool:
        """Write an object as a backup has it; False when none has it, or when that was tried already."""
        bucket, _, key = address.removeprefix("s3://").partition("/")
        copies = self._fitting(file) if file else self._copies[bucket, key]
        each = next((each for each in copies if self._pool.intact(each.sha256)), None)
        if each is None or address in self.done:
            return False
        with self._pool.open(each.sha256) as stream:
            object_store.put_stream(
                self._store, each.bucket, each.key, stream, each.content_type, name=each.key, sha256=each.sha256
            )
        self.done.append(address)
        return True

    def _fitting(self, file: RowFile) -> list[Stored]:
        """The copies of a file that can be it."""
        return [
            each
            for each in self._copies.get(file.place, ())
            if file.sha256 in {None, each.sha256} and file.size in {None, each.size}
        ]

    def _can_be_read(self, file: RowFile) -> bool:
        bucket, key = file.place
        with (
            object_store.filesystem(self._settings, object_store.ADMIN).open_input_file(f"{bucket}/{key}") as stream,
            pq.ParquetFile(stream) as parquet,
        ):
            return bool(sum(batch.num_rows for batch in parquet.iter_batches()) == file.rows)

    def _is_to_blame(self, error: Exception) -> bool:
        """False, the file is damaged, when it alone cannot be read; else the error goes on."""
        if transient(error):
            self._store.bucket_exists("lake")
        return False


def _files_of(identifier: str, table: Table) -> Iterator[RowFile]:
    """The files of rows of the current snapshot."""
    for task in table.scan().plan_files():
        file = task.file
        named = _DIGEST.search(file.file_path)
        yield RowFile(
            table=identifier,
            address=file.file_path,
            rows=file.record_count,
            first_day=_EPOCH + timedelta(days=file.partition[0]) if len(file.partition) else None,
            size=file.file_size_in_bytes,
            sha256=named.group(1) if named else None,
        )


def _released(settings: Settings) -> Iterable[RowFile]:
    """The files of what is published."""
    with closing(database.connect(settings, "publisher", catalog.DATABASE)) as connection:
        for row in registry.newest_releases(connection, "released").values():
            for part in row.manifest["parts"]:
                first_day, address = date.fromisoformat(part["first_day"]), f"s3://lake/{part['key']}"
                yield RowFile(f"marts.{row.mart}", address, part["rows"], first_day, sha256=part["sha256"])


def _digest(store: Minio, bucket: str, key: str) -> str:
    response = store.get_object(bucket, key)
    digest = hashlib.sha256()
    try:
        for chunk in response.stream(_CHUNK_BYTES):
            digest.update(chunk)
    finally:
        response.close()
        response.release_conn()
    return digest.hexdigest()
