"""The events of a lake as files, ``home/lineage/<UTC day>.jsonl``, and their way to a backend, if there is one.

An event is kept first and sent second, so a backend that is down loses nothing and stops nobody: what it missed is sent
when it is back, in order, perhaps twice. One process sends at a time. A backend that does not answer is left alone for
a minute, so that it costs a run seconds at most.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import urlsplit

import urllib3

from infra import secrets
from infra.settings import Settings

API_KEY = "openlineage-api-key"  # the name of the secret
PATH = "/api/v1/lineage"

_CURSOR = ".sent"
_LOCK = ".sending"
_UNANSWERED = ".unanswered"
_WAIT_SECONDS = 60
_AT_A_TIME = 2_000
_TIMEOUT = urllib3.Timeout(connect=1, read=3)
# What the backend says of one event, not of itself: the next may be better.
_REFUSALS = frozenset({400, 409, 413, 415, 422})

log = logging.getLogger(__name__)


def keep(settings: Settings, *events: dict[str, Any]) -> None:
    """Append events to the file of the day, in one write. Never raises: lineage must not stop the work it tells of."""
    data = b"".join(json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode() + b"\n" for event in events)
    path = settings.lineage_dir / f"{datetime.now(UTC).date()}.jsonl"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "wb", buffering=0) as stream:
            stream.write(data)
    except OSError as failure:
        log.warning("lineage events could not be kept in %s: %s", path.parent, failure.strerror)


def read(settings: Settings) -> Iterator[dict[str, Any]]:
    """Every event that is kept, in the order in which they were kept."""
    for path in _files(settings):
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                with suppress(json.JSONDecodeError):  # cut short when a disk was full
                    yield json.loads(line)


def send(settings: Settings) -> int:
    """Send what was not sent yet to ``settings.openlineage_url``, and say how many events the backend took.

    Nothing is sent, and 0 returned, without an address, while another process sends, or within a minute of finding that
    nobody answers there. Never raises.
    """
    if settings.openlineage_url is None:
        return 0
    try:
        with _sole_sender(settings) as sole:
            return _send(settings) if sole and not _left_alone(settings) else 0
    except OSError as failure:
        log.warning("lineage events could not be sent: %s", failure.strerror or failure)
        return 0


def _send(settings: Settings) -> int:
    url, headers = _address(str(settings.openlineage_url)), _headers(settings)
    taken = 0
    with urllib3.PoolManager(timeout=_TIMEOUT, retries=False) as pool:
        for position, line in _waiting(settings):
            try:
                status = pool.request("POST", url, body=line, headers=headers).status
            except urllib3.exceptions.HTTPError as failure:
                _leave_alone(settings, type(failure).__name__)
                return taken
            if status in _REFUSALS:
                log.warning("the lineage backend refuses an event (HTTP %d); the next is sent", status)
            elif status >= 300:
                _leave_alone(settings, f"HTTP {status}")
                return taken
            else:
                taken += 1
            _remember(settings, position)
    return taken


def _waiting(settings: Settings) -> Iterator[tuple[tuple[str, int], bytes]]:
    """The lines that were not sent yet, each with the position behind it; so many, and the others next time."""
    name, offset = _position(settings)
    left = _AT_A_TIME
    for path in _files(settings):
        if path.name < name:
            continue
        with path.open("rb") as stream:
            stream.seek(offset if path.name == name else 0)
            while left and (line := stream.readline()).endswith(b"\n"):  # a line without an end is being written
                left -= 1
                yield (path.name, stream.tell()), line
        if not left:
            return


def _files(settings: Settings) -> list[Path]:
    return sorted(settings.lineage_dir.glob("*.jsonl"))


def _position(settings: Settings) -> tuple[str, int]:
    try:
        name, offset = json.loads((settings.lineage_dir / _CURSOR).read_text())
    except (FileNotFoundError, ValueError):
        return "", 0
    return str(name), int(offset)


def _remember(settings: Settings, position: tuple[str, int]) -> None:
    cursor = settings.lineage_dir / _CURSOR
    draft = cursor.with_name(f"{_CURSOR}.{os.getpid()}")
    draft.write_text(json.dumps(position))
    draft.replace(cursor)


@contextmanager
def _sole_sender(settings: Settings) -> Iterator[bool]:
    settings.lineage_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(settings.lineage_dir / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


def _left_alone(settings: Settings) -> bool:
    with suppress(FileNotFoundError):
        return time() - (settings.lineage_dir / _UNANSWERED).stat().st_mtime < _WAIT_SECONDS
    return False


def _leave_alone(settings: Settings, why: str) -> None:
    (settings.lineage_dir / _UNANSWERED).touch()
    log.warning("the lineage backend does not take events (%s): kept in files, sent when it is back", why)


def _address(url: str) -> str:
    """Where events go: the address as given when it names a path, else the usual path of the host."""
    return url if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}{PATH}"


def _headers(settings: Settings) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    with suppress(secrets.SecretMissing):
        headers["Authorization"] = f"Bearer {secrets.read(settings, API_KEY)}"
    return headers
