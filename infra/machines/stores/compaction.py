"""Giving back the disk space of deleted objects, at once: until then a store's files still hold their bytes.

Deleting an object in SeaweedFS marks it in a volume file, whose bytes stay until the volume is rewritten without them;
left alone it does so once a third of a volume is garbage. MinIO moves deleted files to a trash that it empties by
itself (:mod:`infra.machines.stores.minio` has it do so every few seconds). What an external store does is its own
business.
"""

from __future__ import annotations

import json
import ssl
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

from infra.machines.services import ports
from infra.machines.services.ports import LOOPBACK
from infra.machines.stores import seaweedfs
from infra.machines.stores.certificates import certificate_bundle
from infra.settings import Settings

# Deleted objects become garbage by a queue of the filer that is served about once a second: it is empty when the figure
# has stood still for longer than that. Where others keep deleting, it never does.
_QUIET_SECONDS = 2.0
_PATIENCE_SECONDS = 300.0
_ANY_GARBAGE = 1e-9
_REQUEST_SECONDS = 3600


@dataclass(frozen=True)
class Compacted:
    """Bytes of deleted objects that the store's files held before and after; None when only the store knows."""

    store: str
    garbage_before: int | None
    garbage_after: int | None


def compact(settings: Settings) -> Compacted:
    """Have the embedded store rewrite every volume that holds deleted bytes, and wait until it has."""
    if settings.store != seaweedfs.NAME:
        return Compacted(settings.store, None, None)
    before = _settled_garbage(settings)
    if before:
        _ask(settings, "seaweedfs-master", f"/vol/vacuum?garbageThreshold={_ANY_GARBAGE}")
    return Compacted(seaweedfs.NAME, before, _garbage(settings))


def _settled_garbage(settings: Settings) -> int:
    started = since = time.monotonic()
    seen = _garbage(settings)
    while time.monotonic() < min(since + _QUIET_SECONDS, started + _PATIENCE_SECONDS):
        time.sleep(_QUIET_SECONDS / 4)
        if (found := _garbage(settings)) != seen:
            seen, since = found, time.monotonic()
    return seen


def _garbage(settings: Settings) -> int:
    volumes = json.loads(_ask(settings, "seaweedfs-volume", "/status"))["Volumes"] or []
    return sum(int(volume["DeletedByteCount"]) for volume in volumes)


def _ask(settings: Settings, part: str, path: str) -> Any:
    bundle = str(certificate_bundle(settings, seaweedfs.NAME))
    context = ssl.create_default_context(cafile=bundle)
    context.load_cert_chain(bundle)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with opener.open(f"https://{LOOPBACK}:{ports.load(settings)[part]}{path}", timeout=_REQUEST_SECONDS) as answer:
        return answer.read()
