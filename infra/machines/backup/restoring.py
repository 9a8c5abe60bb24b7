"""A lake from a backup. Into an empty one only: nothing is ever written over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from itertools import chain
from pathlib import Path

from minio import Minio

from infra import database, endpoints, object_store, registry
from infra.calendar import clock, trusted_clock
from infra.machines import provisioning
from infra.machines.backup import databases, key_mirror
from infra.machines.backup.manifest import BackupError, Manifest, Stored, folders
from infra.machines.backup.pool import Pool
from infra.machines.backup.saving import is_over
from infra.object_store import digest_file
from infra.settings import Settings

_AT_ONCE = 4


@dataclass(frozen=True)
class Restored:
    """What was restored. ``over`` objects were left out: their own time ended since the backup was made."""

    folder: Path
    objects: int
    bytes: int
    over: int
    living_keys: int


def find(place: Path, name: str | None) -> Path:
    """The folder of one backup of ``place``: the one called ``name``, or the newest.

    Raises:
        BackupError: there is none.
    """
    known = folders(place)
    if not known:
        raise BackupError(f"{place} holds no complete backup")
    if name is None:
        return known[-1]
    for folder in known:
        if folder.name == name:
            return folder
    raise BackupError(f"{place} holds no backup {name}; it holds: {', '.join(folder.name for folder in known)}")


def check(settings: Settings, place: Path, folder: Path) -> Iterator[str]:
    """What is wrong with a backup, a sentence each: every checksum of it is computed again."""
    manifest = Manifest.read(folder)
    pool, today = Pool(place / "objects"), clock.now(settings).date()
    for dump in manifest.dumps:
        path = folder / dump.file
        if not path.exists() or digest_file(path) != (dump.sha256, dump.size):
            yield f"{path} is missing or was changed"
    wanted = {each.sha256: each for each in manifest.objects if not is_over(each, today)}
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for sha256, intact in zip(wanted, threads.map(pool.intact, wanted), strict=True):
            if not intact:
                each = wanted[sha256]
                yield f"the bytes of {each.bucket}/{each.key} are missing or were changed ({pool.path(sha256)})"


def restore(
    settings: Settings,
    place: Path,
    keys_place: Path,
    *,
    name: str | None = None,
    today: date | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Restored:
    """Make an empty lake, started without Airflow, what it was when the backup was made.

    The databases come last, the one that names everything at the very end: a lake that was restored half way is still
    empty, and the same command finishes it.

    Args:
        settings: of the empty lake.
        place: where backups are.
        keys_place: where their keys are.
        name: which backup; the newest by default.
        today: what day it is, as a person says: what ended its time by then is left out. Needed when the backup is not
            of the last days, since a wrong clock would have its keys destroyed.
        report: told what is going on.

    Raises:
        BackupError: the lake is not empty or runs Airflow, or the backup is damaged: nothing was changed then.
        infra.calendar.trusted_clock.ClockDoubtedError: the clock is far from the backup, or from ``today``: nor then.
    """
    place, keys_place = place.absolute(), keys_place.absolute()
    folder = find(place, name)
    manifest = Manifest.read(folder)
    now = clock.now(settings)
    if today is not None:
        trusted_clock.require(now, today)
    elif trusted_clock.leapt(settings, manifest.made_at, now):
        raise trusted_clock.ClockDoubtedError(
            f"the clock shows {now:%Y-%m-%d %H:%M} UTC, and backup {folder.name} is older than a lake is usually away: "
            "what ended its time since, keys too, is not restored; if the clock is right, say what day it is by --today"
        )
    report(f"checking backup {folder.name}")
    wrong = list(check(settings, place, folder))
    if wrong:
        raise BackupError(f"backup {folder.name} is damaged, and nothing was restored: {'; '.join(wrong[:5])}")
    _require_empty(settings, manifest)
    report("restoring keys")
    living = key_mirror.bring_back(settings, keys_place, now)
    wanted = [each for each in manifest.objects if not is_over(each, now.date())]
    report(f"restoring {len(wanted):,} objects")
    store, pool = object_store.client(settings, object_store.ADMIN), Pool(place / "objects")
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for _ in threads.map(lambda each: _put(store, pool, each), wanted):
            pass
    report("restoring databases")
    for dump in manifest.dumps:
        databases.load(settings, dump.database, folder / dump.file)
    with closing(database.connect(settings, database.ADMIN, "lake", autocommit=True)) as connection:
        connection.execute(registry.SCHEMA)  # that of the dump may be older
        registry.add_restoration(connection, manifest.made_at, now)
    provisioning.provision(settings)  # an older backup gets the tables and rights of today
    trusted_clock.confirm(settings, now.date(), by="calanque restore", reason=f"backup {folder.name}")
    return Restored(folder, len(wanted), manifest.size, len(manifest.objects) - len(wanted), living)


def _put(store: Minio, pool: Pool, each: Stored) -> None:
    with pool.open(each.sha256) as stream:
        object_store.put_stream(
            store, each.bucket, each.key, stream, each.content_type, name=each.key, sha256=each.sha256
        )


def _require_empty(settings: Settings, manifest: Manifest) -> None:
    if endpoints.load(settings).airflow_url is not None:
        raise BackupError(
            "Airflow is running, and would work on a lake that is half restored: `calanque down`, then "
            "`calanque up --without-airflow`"
        )
    with closing(database.connect(settings, database.ADMIN, "lake")) as connection:
        for table in ("registry.delivery", "registry.commit", "registry.release", "ledger.line"):
            if connection.execute(f"select from {table} limit 1").fetchone() is not None:
                raise _not_empty(f"{table} has rows")
        if connection.execute("select from iceberg.iceberg_tables limit 1").fetchone() is not None:
            raise _not_empty("its catalog has tables")
    store = object_store.client(settings, object_store.ADMIN)
    known = {each.place for each in manifest.objects}
    stored = chain.from_iterable(
        ((bucket, key) for key in object_store.list_keys(store, bucket)) for bucket in object_store.BUCKETS
    )
    foreign = next((place for place in stored if place not in known), None)
    if foreign is not None:
        raise _not_empty(f"object {foreign[1]} of bucket {foreign[0]} is not of this backup")


def _not_empty(why: str) -> BackupError:
    return BackupError(
        f"this lake is not empty ({why}), and a backup is restored into an empty one only: choose a new CALANQUE_HOME, "
        "or empty buckets and databases of your own"
    )
