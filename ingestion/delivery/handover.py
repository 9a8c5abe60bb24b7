"""What landing hands to ingestion on the same machine: the landed file itself, so that its bytes need not travel again.

Nothing depends on it. What was read of it is believed only once its SHA-256 was worked out again, and if the file did
not change meanwhile: whoever delivered it may still have it open. Where it is not there, or lies on another disk than
the work folder, ingestion fetches the bytes from the store; where it is another file, the next time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from infra.settings import Settings


class ChangedError(OSError):
    """A file that was handed over changed while it was read: what came of it must not be used."""


def folder(settings: Settings, silo: str) -> Path:
    """Where landed files of ``silo`` wait for ingestion, readable by the lake's account only."""
    return settings.work_dir / "landed" / silo


def give(settings: Settings, silo: str, delivery_id: str, path: Path) -> Path | None:
    """Move a landed file out of the drop folder, and say where to; None when it cannot be moved, only copied."""
    target = folder(settings, silo) / delivery_id
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.rename(target)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, mostly
        return None
    return target


def take(settings: Settings, silo: str, delivery_id: str, target: Path) -> bool:
    """Move what was handed over to ``target``, in the work folder, if anything was; it is only once."""
    given = folder(settings, silo) / delivery_id
    if not os.path.lexists(given):
        return False
    given.rename(target)
    return True


@contextmanager
def steady(path: Path, name: str, sha256: str) -> Iterator[None]:
    """Work that reads ``path``, delivered as ``name``, and means nothing unless the file has that digest throughout.

    Raises:
        ChangedError: it has not, whatever the work came to.
    """
    before = path.lstat()
    with ThreadPoolExecutor(1) as beside:  # a second per 1.5 GB, of which the work is to wait for nothing
        found = beside.submit(_digest, path)
        try:
            yield
        finally:
            digest, now = found.result(), path.lstat()
            if digest != sha256 or (now.st_size, now.st_ctime_ns) != (before.st_size, before.st_ctime_ns):
                raise ChangedError(
                    f"{name} was written to after it had landed: what landed will be fetched from the store and "
                    "ingested when it is tried again"
                )


def _digest(path: Path) -> str | None:
    """The SHA-256 of a file, or None when it is a link, or one that we may not read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def clear(settings: Settings, silo: str, waiting: Collection[str]) -> None:
    """Remove what was handed over for deliveries that no longer wait."""
    try:
        given = list(folder(settings, silo).iterdir())
    except FileNotFoundError:
        return
    for path in given:
        if path.name not in waiting:
            with suppress(OSError):  # what cannot be removed is in nobody's way
                path.unlink()
