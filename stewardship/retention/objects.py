"""Objects by their day: landing, quarantine and candidates, with every old version and delete marker."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

from minio import Minio
from minio.deleteobjects import DeleteObject

from ingestion.contracts.retention_limits import Limit
from stewardship.retention.holdings import Sight, Tally

_LANDED_ON = re.compile(r"/dt=(\d{4}-\d{2}-\d{2})/")


class NotDeletedError(RuntimeError):
    """The object store refused to delete something whose time is over."""


@dataclass(frozen=True)
class Stored:
    """One version of one object, or a delete marker (of no bytes)."""

    key: str
    version: str | None
    bytes: int
    stored_at: datetime


def versions(store: Minio, bucket: str, prefix: str) -> Iterator[Stored]:
    """Every version and delete marker of every object under ``prefix``."""
    for found in store.list_objects(bucket, prefix=prefix, recursive=True, include_version=True):
        stored_at = (found.last_modified or datetime.now(UTC)).astimezone(UTC)
        yield Stored(str(found.object_name), found.version_id, found.size or 0, stored_at)


def folders(store: Minio, bucket: str) -> list[str]:
    """The folders at the top of a bucket (``tows/``), those of nothing but old versions included, and stray keys."""
    found = store.list_objects(bucket, recursive=False, include_version=True)
    return sorted({str(each.object_name) for each in found})


def remove(store: Minio, bucket: str, found: Iterable[Stored]) -> None:
    """Delete these versions for good, whether or not a governance lock is on them.

    Raises:
        NotDeletedError: the store refused one.
    """
    asked = (DeleteObject(each.key, each.version) for each in found)
    for error in store.remove_objects(bucket, asked, bypass_governance_mode=True):
        raise NotDeletedError(f"bucket {bucket}: {error.name} could not be deleted: {error.code} {error.message}")


def stored_on(stored: Stored) -> date:
    """The day an object was stored."""
    return stored.stored_at.date()


def landed_on(stored: Stored) -> date:
    """The day a delivery landed, as its key says: versions made later do not make it younger."""
    said = _LANDED_ON.search(stored.key)
    return min(date.fromisoformat(said.group(1)), stored_on(stored)) if said else stored_on(stored)


class ObjectHolding:
    """The objects of ``bucket`` under ``prefix``, each kept ``limit`` from its day."""

    def __init__(
        self, store: Minio, *, holding: str, silo: str | None, bucket: str, prefix: str, limit: Limit, today: date
    ) -> None:
        self._store = store
        self._bucket, self._prefix = bucket, prefix
        self._holding, self._silo, self._limit = holding, silo, limit
        self._first_kept = limit.first_day_kept(today)
        self._day = landed_on if bucket == "landing" else stored_on

    def clean(self) -> Tally:
        due = [each for each in self._versions() if self._day(each) < self._first_kept]
        remove(self._store, self._bucket, due)
        tally = Tally(self._holding, self._silo, str(self._limit), self._first_kept)
        tally.objects, tally.bytes = len(due), sum(each.bytes for each in due)
        return tally

    def look(self) -> Sight:
        days = [self._day(each) for each in self._versions()]
        late = [day for day in days if day < self._first_kept]
        told = f"bucket {self._bucket}, {self._prefix}: {len(late)} versions older than {self._limit}, since "
        return Sight(min(days, default=None), (f"{told}{min(late)}",) if late else ())

    def _versions(self) -> Iterator[Stored]:
        return versions(self._store, self._bucket, self._prefix)
