"""What landing hands to ingestion on the same machine: the landed file itself, so that its bytes need not travel again.

Nothing depends on it. It is believed only after its SHA-256 was worked out again on a private copy, because whoever
delivered it may still have it open; where it is not there, is another file, or lies on another disk than the work
folder, ingestion fetches the bytes from the store.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from pathlib import Path

from infra.settings import Settings

_CHUNK_BYTES = 2**20


def folder(settings: Settings, silo: str) -> Path:
    """Where landed files of ``silo`` wait for ingestion, readable by the lake's account only."""
    return settings.work_dir / "landed" / silo


def give(settings: Settings, silo: str, delivery_id: str, path: Path) -> Path | None:
    """Move a landed file out of the drop folder, and say where to; None when it cannot be moved, only copied."""
    target = folder(settings, silo) / delivery_id
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        path.rename(target)
    except FileNotFoundError:
        raise
    except OSError:  # another file system
        return None
    return target


def take(settings: Settings, silo: str, delivery_id: str, target: Path) -> bool:
    """Put the delivered bytes into ``target`` if they were handed over; they are handed over once."""
    given = folder(settings, silo) / delivery_id
    try:
        descriptor = os.open(given, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:  # a link, or a file that only its sender may read
        given.unlink(missing_ok=True)
        return False
    digest = hashlib.sha256()
    with os.fdopen(descriptor, "rb") as stream, target.open("wb") as copy:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            copy.write(chunk)
    given.unlink(missing_ok=True)
    if digest.hexdigest() == delivery_id:
        return True
    target.unlink()
    return False


def clear(settings: Settings, silo: str, waiting: Collection[str]) -> None:
    """Remove what was handed over for deliveries that no longer wait."""
    try:
        given = list(folder(settings, silo).iterdir())
    except FileNotFoundError:
        return
    for path in given:
        if path.name not in waiting:
            path.unlink(missing_ok=True)
