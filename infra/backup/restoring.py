"""A lake from a backup. Into an empty one only: nothing is ever written over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from minio import Minio

from infra import catalog, clock, database, endpoints, object_store, provisioning
from infra.backup import databases, keys
from infra.backup.manifest import BackupError, Manifest, Stored, folders
from infra.backup.pool import Pool
from infra.backup.saving import is_over
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
    report: Callable[[str], None] = lambda _: None,
) -> Restored:
    """Make an empty lake, started without Airflow, what it was when the backup was made.

    The databases come last, the one that names everything at the very end: a lake that was restored half way is still
    empty, and the same command finishes it.

    Raises:
        BackupError: the lake is not empty or runs Airflow, or the backup is damaged: nothing was changed then.
    """
    place, keys_place = place.absolute(), keys_place.absolute()
    folder = find(place, name)
    manifest = Manifest.read(folder)
    report(f"checking backup {folder.name}")
    wrong = list(check(settings, place, folder))
    if wrong:
        raise BackupError(f"backup {folder.name} is damaged, and nothing was restored: {'; '.join(wrong[:5])}")
    _require_empty(settings, manifest)
    today = clock.now(settings).date()
    report("restoring keys")
    living = keys.bring_back(settings, keys_place, today)
    wanted = [each for each in manifest.objects if not is_over(each, today)]
    report(f"restoring {len(wanted):,} objects")
    store, pool = object_store.client(settings, object_store.ADMIN), Pool(place / "objects")
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for _ in threads.map(lambda each: _put(store, pool, each), wanted):
            pass
    report("restoring databases")
    for dump in manifest.dumps:
        databases.load(settings, dump.database, folder / dump.file)
    provisioning.provision(settings)  # an older backup gets the tables and rights of today
    return Restored(folder, len(wanted), manifest.size, len(manifest.objects) - len(wanted), living)


def mend(settings: Settings, place: Path) -> tuple[list[str], list[str]]:
    """Put back, from any backup, each metadata object without which a table of the catalog cannot be read.

    Such objects never change once written, so the bytes of any backup that has one are its bytes. Nothing else is
    touched, and nothing that retention deleted comes back.

    Returns:
        The objects put back, and a sentence for each table that is still damaged: no backup has what it needs.
    """
    manifests = [Manifest.read(folder) for folder in reversed(folders(place))]
    saved = {each.place: each for manifest in reversed(manifests) for each in manifest.objects}
    store, pool = object_store.client(settings, object_store.ADMIN), Pool(place / "objects")
    done: list[str] = []
    left: list[str] = []
    for role, namespace in (("pipeline", "conformed"), ("publisher", "marts")):
        opened = catalog.open_catalog(settings, role)
        for identifier in sorted(".".join(parts) for parts in opened.list_tables(namespace)):
            tried: set[str] = set()
            while (found := catalog.damage(opened, identifier)) is not None:
                bucket, _, key = found.address.removeprefix("s3://").partition("/")
                each = saved.get((bucket, key))
                if each is None or found.address in tried or not pool.intact(each.sha256):
                    left.append(str(found))
                    break
                tried.add(found.address)
                _put(store, pool, each)
                done.append(found.address)
    return done, left


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
