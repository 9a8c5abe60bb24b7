"""What partners put into the object store: bucket ``drop``, ``<silo>/<name>``, from where it goes to the drop folder.

An object is complete the moment it is there, so nothing has to be watched growing. Each version of it is a delivery of
its own: one that is put again before the first was taken hides it, and loses nothing. What a folder's note says is in
the metadata ``format`` and ``corrects`` of the object, which come with it in the same request.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from minio import Minio

from infra import object_store
from infra.settings import Settings
from ingestion.delivery.arrivals import acceptable

ROLE = "landing"
BUCKET = "drop"

_METADATA = "x-amz-meta-"
_CHUNK_BYTES = 2**20


class Put(NamedTuple):
    """One version of one object, as it was put."""

    at: datetime
    key: str
    version: str

    @property
    def file_name(self) -> str:
        """A name that is safe in a folder."""
        return acceptable(PurePosixPath(self.key).name)


def waiting(settings: Settings, silo: str) -> list[Put]:
    """What was put for ``silo`` and is not taken yet, in order; nothing, at once, when no partner may put anything."""
    if f"{object_store.DELIVERER}{silo}" not in object_store.deliverers(settings):
        return []
    store = object_store.client(settings, ROLE)
    found = store.list_objects(BUCKET, prefix=f"{silo}/", recursive=True, include_version=True)
    return sorted(
        Put(each.last_modified, str(each.object_name), str(each.version_id))
        for each in found
        if each.last_modified and not each.is_delete_marker and not str(each.object_name).endswith("/")
    )


def fetch(store: Minio, put: Put, target: Path) -> dict[str, str]:
    """Write the bytes to ``target``, on the disk when this returns; the object's metadata."""
    response = store.get_object(BUCKET, put.key, version_id=put.version)
    try:
        with target.open("wb") as file:
            for chunk in response.stream(_CHUNK_BYTES):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        told = {name.lower(): value for name, value in response.headers.items()}
        return {name.removeprefix(_METADATA): told[name] for name in told if name.startswith(_METADATA)}
    finally:
        response.close()
        response.release_conn()


def take_away(store: Minio, put: Put) -> None:
    """Delete this version, and no other that came since."""
    store.remove_object(BUCKET, put.key, version_id=put.version)
