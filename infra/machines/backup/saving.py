"""Making a backup: the bulk of the objects first, then, while nobody deletes anything, databases and what came since.

The catalog names metadata files, which name data files: all are written before the catalog names them, and deleted by
retention, builds and releases only. So with these held back, whatever a dump names is there when it is copied after it.
Ingestion goes on meanwhile: what it adds after the dump is copied too, named by nothing, and does no harm.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

from minio import Minio
from minio.datatypes import Object
from minio.error import S3Error

from infra import database, object_store, registry
from infra.calendar import trusted_clock
from infra.keys.known_keys import KnownKeys
from infra.keys.store import open_keys
from infra.machines.backup import databases, key_mirror
from infra.machines.backup.manifest import BackupError, Dump, Manifest, Stored, folders
from infra.machines.backup.pool import Pool
from infra.machines.provisioning.buckets import LANDING_DAYS, LANDING_NONCURRENT_DAYS, QUARANTINE_DAYS
from infra.object_store import digest_file
from infra.settings import Settings

KEEP = timedelta(days=7)

# The pool forgets what the buckets themselves forget by their own rules, whatever older backups name.
_LIMITS = {
    "landing": timedelta(days=LANDING_DAYS + LANDING_NONCURRENT_DAYS),
    "quarantine": timedelta(days=QUARANTINE_DAYS),
}
_SAVED = tuple(bucket for bucket in object_store.BUCKETS if bucket != "drop")  # what waits there is the sender's still
_LANDED_ON = re.compile(r"/dt=(\d{4}-\d{2}-\d{2})/")
_WRITTEN_ONCE = re.compile(r"(conformed|marts|releases)/.+\.(parquet|avro|metadata\.json)")
_AT_ONCE = 4


@dataclass(frozen=True)
class Saved:
    """What a backup did. ``copied`` objects were new to the pool, of ``objects`` in all; ``forgotten`` are gone.

    ``wrong_keys`` says of each key that is not the one used before what is wrong with it: the mirror kept what it had.
    ``changed`` are objects that are never changed and were: the backup kept their bytes of before.
    """

    folder: Path
    objects: int
    bytes: int
    copied: int
    living_keys: int
    forgotten: int
    backups: int
    wrong_keys: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def backup(
    settings: Settings,
    place: Path,
    keys_place: Path,
    *,
    locks: Sequence[str],
    keep: timedelta = KEEP,
    report: Callable[[str], None] = lambda _: None,
) -> Saved:
    """Add a backup to those in ``place``, mirror the keys in ``keys_place``, and forget what is older than ``keep``.

    Args:
        settings: of a running lake, whose work may go on meanwhile.
        place: a folder of one lake's backups; objects they share are in it once.
        keys_place: another folder, on another disk if it can be: keys and data together are plates.
        locks: the registry's locks under which objects are deleted or the ledger written, in the order of taking.
        keep: how long backups are kept. The one made now always is.
        report: told what is going on.

    Raises:
        BackupError: a folder is inside another, or a database could not be dumped.
        infra.calendar.trusted_clock.ClockDoubtedError: nobody knows which backups are old.
    """
    place, keys_place = place.absolute(), keys_place.absolute()
    if place == keys_place or place in keys_place.parents or keys_place in place.parents:
        raise BackupError("keys are not kept among the data: give --keys a folder of its own")
    now = trusted_clock.now(settings, "pipeline")
    (place / "backups").mkdir(mode=0o700, parents=True, exist_ok=True)
    place.chmod(0o700)
    for leftover in (place / "backups").glob(".*"):
        shutil.rmtree(leftover)
    copier = _Copier(settings, place)
    report("copying objects")
    copier.copy_all(copier.unread())
    draft = place / "backups" / f".{os.getpid()}"
    draft.mkdir(mode=0o700)
    with ExitStack() as stack:
        connection = stack.enter_context(closing(database.connect(settings, "pipeline", "lake")))
        for name in locks:
            stack.enter_context(registry.locked(connection, name))
        report("dumping databases")
        dumps, unread = _dump(settings, draft)
        report("copying what came meanwhile")
        objects = copier.copy_all(unread)
    manifest = Manifest(now, tuple(dumps), tuple(sorted(objects, key=lambda each: each.place)))
    manifest.write(draft)
    folder = place / "backups" / manifest.name
    if folder.exists():  # two within a second, or a frozen clock
        shutil.rmtree(folder)
    draft.rename(folder)
    wrong = KnownKeys(settings, open_keys(settings)).wrong()
    living = key_mirror.mirror(settings, keys_place, wrong)
    forgotten = forget(place, now, keep)
    return Saved(
        folder,
        objects=len(objects),
        bytes=manifest.size,
        copied=len(copier.added),
        living_keys=living,
        forgotten=forgotten,
        backups=len(folders(place)),
        wrong_keys=tuple(wrong.values()),
        changed=tuple(sorted(copier.changed)),
    )


def forget(place: Path, now: datetime, keep: timedelta) -> int:
    """Delete backups older than ``keep``, but the newest, and the objects no backup needs any more; how many objects.

    Deliveries and quarantine go from the pool when their own time is over, whatever names them.
    """
    known = folders(place)
    wanted: set[str] = set()
    for folder in known:
        manifest = Manifest.read(folder)
        if folder != known[-1] and manifest.made_at <= now - keep:
            shutil.rmtree(folder)
            continue
        wanted |= {each.sha256 for each in manifest.objects if not is_over(each, now.date())}
    return Pool(place / "objects").keep_only(wanted)


def is_over(each: Stored, today: date) -> bool:
    """Whether an object's own time is over: it is not kept, and not restored."""
    limit = _LIMITS.get(each.bucket)
    return limit is not None and each.stored_on + limit < today


def _dump(settings: Settings, folder: Path) -> tuple[list[Dump], set[str]]:
    """Every database into ``folder``, and the deliveries that nobody has read yet, as of the same instant."""
    with closing(database.connect(settings, database.ADMIN, "lake")) as connection:
        connection.execute("set transaction isolation level repeatable read, read only")
        exported = connection.execute("select pg_export_snapshot()").fetchone()
        unread = registry.unread_objects(connection)
        dumps = []
        for name in databases.DATABASES:
            target = folder / f"{name}.dump"
            snapshot = str(exported[0]) if exported and name == "lake" else None
            databases.dump(settings, name, target, snapshot=snapshot)
            dumps.append(Dump(name, target.name, *digest_file(target)))
    return dumps, unread


class _Copier:
    """Copies objects to the pool, each only once: what has not changed since the last look is not read again."""

    def __init__(self, settings: Settings, place: Path) -> None:
        self._settings = settings
        self._store: Minio = object_store.client(settings, object_store.ADMIN)
        self._pool = Pool(place / "objects")
        known = folders(place)
        self._known = {each.place: each for each in Manifest.read(known[-1]).objects} if known else {}
        self.added: set[str] = set()
        self.changed: set[str] = set()

    def unread(self) -> set[str]:
        with closing(database.connect(self._settings, "pipeline", "lake")) as connection:
            return registry.unread_objects(connection)

    def copy_all(self, unread: Collection[str]) -> list[Stored]:
        """Every object there is, but deliveries that were read: those are in the tables, and their time is short."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for bucket in _SAVED:
                listed = self._listed(bucket, unread)
                for stored in pool.map(partial(self._copy, bucket), listed):
                    if stored is not None:
                        self._known[stored.place] = stored
                    # One that went meanwhile is named by nothing: whatever is named cannot go under the locks.
            return [
                self._known[place]
                for bucket in _SAVED
                for found in self._listed(bucket, unread)
                if (place := (bucket, str(found.object_name))) in self._known
            ]

    def _listed(self, bucket: str, unread: Collection[str]) -> Iterator[Object]:
        for found in self._store.list_objects(bucket, recursive=True):
            if bucket != "landing" or found.object_name in unread:
                yield found

    def _copy(self, bucket: str, found: Object) -> Stored | None:
        key, size, etag = str(found.object_name), found.size or 0, found.etag or ""
        before = self._known.get((bucket, key))
        if before and (before.size, before.etag) == (size, etag) and self._pool.has(before.sha256, size):
            return before
        try:
            response = self._store.get_object(bucket, key)
        except S3Error as error:
            if error.code == "NoSuchKey":
                return None
            raise
        try:
            sha256, read = self._pool.add(response)
            content_type = response.headers.get("Content-Type", "application/octet-stream")
            etag = response.headers.get("ETag", etag).strip('"')
        finally:
            response.close()
            response.release_conn()
        if before and before.sha256 != sha256 and bucket == "lake" and _WRITTEN_ONCE.fullmatch(key):
            self.changed.add(f"s3://{bucket}/{key}")
            return before
        self.added.add(sha256)
        return Stored(bucket, key, sha256, read, content_type, etag, _stored_on(key, found))


def _stored_on(key: str, found: Object) -> date:
    landed = _LANDED_ON.search(f"/{key}")
    if landed:
        return date.fromisoformat(landed.group(1))
    return (found.last_modified or datetime.now(UTC)).astimezone(UTC).date()
