"""A built site into bucket ``docs``, as role publisher: each edition below its name, each version below its content.

``<edition>/<version>/...`` never changes once written. Readers come in by ``<edition>/index.html``, one object, which
names the newest version and is written when all of that version is there; ``<edition>/latest.json`` says the same to
programs. So nobody ever sees half of a site, and a publication that is killed is simply made again.
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minio import Minio
from minio.deleteobjects import DeleteObject

from infra import catalog, database, object_store, registry
from infra.calendar import clock
from infra.settings import Settings
from stewardship.site.build import EDITIONS, entrance

ROLE = "publisher"
BUCKET = "docs"
KEPT = 10
"""How many versions of an edition stay readable."""

READERS = {"analyst": "site", "steward": "stewards"}
"""The edition of each role that reads the site."""

_SIDE_BY_SIDE = 8
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}


class NoSiteError(LookupError):
    """No site was published yet."""


@dataclass(frozen=True)
class Published:
    """What publishing an edition did: its version, its size, and whether it is a new one."""

    edition: str
    version: str
    files: int
    size: int
    is_new: bool


def publish(settings: Settings, folders: Mapping[str, Path], releases: Mapping[str, int]) -> list[Published]:
    """Publish built editions, by name, that tell of these ``releases``: the newest version of each mart that has one.

    One process at a time; the same content again changes nothing.

    Raises:
        infra.endpoints.NotRunning: the lake is not up.
    """
    unknown = folders.keys() - set(EDITIONS)
    if unknown:
        raise ValueError(f"the site has no edition {min(unknown)!r}; it has: {', '.join(EDITIONS)}")
    store = object_store.client(settings, ROLE)
    with (
        database.connect(settings, ROLE, catalog.DATABASE) as connection,
        registry.locked(connection, "site"),
    ):
        return [_publish(settings, store, edition, folder, releases) for edition, folder in folders.items()]


def is_current(settings: Settings) -> bool:
    """Whether every published edition tells of the newest release of each mart.

    Raises:
        infra.endpoints.NotRunning: the lake is not up.
    """
    with database.connect(settings, ROLE, catalog.DATABASE) as connection:
        newest = {mart: row.version for mart, row in registry.newest_releases(connection, "released").items()}
    store = object_store.client(settings, ROLE)
    return all(_latest(store, edition).get("releases") == newest for edition in EDITIONS)


def _publish(settings: Settings, store: Minio, edition: str, folder: Path, releases: Mapping[str, int]) -> Published:
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    version = _version(files)
    size = sum(path.stat().st_size for path in files.values())
    history = _history(store, edition)
    if history[:1] == [version]:
        return Published(edition, version, len(files), size, is_new=False)
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        done = [
            pool.submit(object_store.put_file, store, BUCKET, f"{edition}/{version}/{name}", path, _type(path))
            for name, path in files.items()
        ]
        for each in done:
            each.result()
    kept = [version, *(each for each in history if each != version)][:KEPT]
    page = entrance(f"{version}/").encode()
    object_store.put_bytes(store, BUCKET, f"{edition}/index.html", page, _TYPES[".html"])
    said = {
        "version": version,
        "published_at": clock.now(settings).isoformat(),
        "releases": dict(releases),
        "kept": kept,
    }
    object_store.put_json(store, BUCKET, f"{edition}/latest.json", said)
    _forget(store, edition, kept)
    return Published(edition, version, len(files), size, is_new=True)


def _version(files: Mapping[str, Path]) -> str:
    """A digest of names and bytes: equal sites have equal versions."""
    digest = hashlib.sha256()
    for name, path in files.items():
        digest.update(f"{name} {object_store.digest_file(path)[0]}\n".encode())
    return digest.hexdigest()[:16]


def _type(path: Path) -> str:
    return _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def _history(store: Minio, edition: str) -> list[str]:
    """The versions that stay readable, newest first. Those of older releases do not: their pages told of deliveries."""
    return list(_latest(store, edition).get("kept", ()))


def _latest(store: Minio, edition: str) -> dict[str, Any]:
    """What ``latest.json`` says of an edition; nothing when it was never published."""
    try:
        return dict(object_store.get_json(store, BUCKET, f"{edition}/latest.json"))
    except KeyError:
        return {}


def _forget(store: Minio, edition: str, kept: list[str]) -> None:
    """Remove versions that are no longer kept, and what a killed publication left."""
    keys = [key for key in object_store.list_keys(store, BUCKET, f"{edition}/") if key.count("/") > 1]
    gone = [DeleteObject(key) for key in keys if key.split("/")[1] not in kept]
    for error in store.remove_objects(BUCKET, gone):
        raise RuntimeError(f"{error.name} cannot be removed from {BUCKET}: {error.message}")


def copy(settings: Settings, role: str, folder: Path) -> str:
    """Bring the newest version of a role's edition to ``folder``, which must be new or empty; the version.

    Raises:
        NoSiteError: none was published.
        FileExistsError: something is in the folder.
    """
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: name another folder")
    store, edition = object_store.client(settings, role), READERS[role]
    history = _history(store, edition)
    if not history:
        raise NoSiteError("no site was published yet: `calanque site publish` does, and Airflow after each release")
    prefix = f"{edition}/{history[0]}/"
    for key in object_store.list_keys(store, BUCKET, prefix):
        target = folder / key.removeprefix(prefix)
        target.parent.mkdir(parents=True, exist_ok=True)
        object_store.get_file(store, BUCKET, key, target)
    return history[0]
