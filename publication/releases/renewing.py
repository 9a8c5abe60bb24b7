"""A mart's Iceberg table made again from its release files, when files of its own are lost."""

from __future__ import annotations

from collections.abc import Set
from functools import partial

from infra import catalog, database, object_store, registry
from infra.settings import Settings
from publication.releases import files, iceberg
from publication.releases.manifest import Manifest

ROLE = "publisher"
LOCK = "release"


def renew(settings: Settings, marts: Set[str]) -> list[str]:
    """Have the tables of these marts hold what is published of them, under the same versions; those that were renewed.

    Publishes nothing: the rows are those of the release files, by their digests. Earlier versions of the tables that
    need a lost file stay as they are.

    Raises:
        publication.releases.files.FileChangedError: a release file is not what was released.
        KeyError: a release file is missing.
    """
    with (
        database.connect(settings, ROLE, catalog.DATABASE, autocommit=True) as connection,
        registry.locked(connection, LOCK),
    ):
        store, tables = object_store.client(settings, ROLE), catalog.open_catalog(settings, ROLE)
        released = registry.newest_releases(connection, "released")
        for mart in sorted(marts & released.keys()):
            row = released[mart]
            snapshot = iceberg.renew(tables, Manifest.model_validate(row.manifest), partial(files.read, store))
            if row.released_at is not None:
                registry.settle_release(connection, mart, row.version, snapshot, row.released_at)
        return sorted(marts & released.keys())
