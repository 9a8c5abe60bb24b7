"""Who read what: every read of landing, quarantine and conformed tables, as the servers themselves saw it.

The object store tells each request to the service ``access-log`` (:mod:`infra.machines.access_log.receiver`), refused
ones and listings too, with the identity whose signature it bore; PostgreSQL what the role that people have there asked.
So it is seen whoever reads, with whatever program; not only what our own code does. Lines are only ever added, to a
file a day, ``home/logs/access/<UTC day>.jsonl``, apart from all other logs; retention removes them after a year.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from infra.settings import Settings

_WATCHED = ("landing/", "quarantine/", "lake/conformed/")


@dataclass(frozen=True)
class Read:
    """One read. ``what`` is bucket and key, or the statement; ``status`` what the server answered (HTTP), if it says.

    ``role`` is empty for a request that nobody signed, or not as the secret demands.
    """

    at: datetime
    by: str  # store or database
    role: str
    verb: str  # read, list, look (metadata of an object), ask (a statement)
    what: str
    status: int | None
    came_from: str
    program: str


def is_watched(bucket: str, key: str) -> bool:
    """Whether reading this object, or listing what begins so, is logged."""
    return f"{bucket}/{key}".startswith(_WATCHED)


def folder(settings: Settings) -> Path:
    return settings.logs_dir / "access"


def append(settings: Settings, reads: list[Read]) -> None:
    """Add lines, each to the file of its day, readable by the lake's owner only."""
    by_day: dict[date, list[str]] = {}
    for read in reads:
        line = json.dumps({**asdict(read), "at": read.at.isoformat(timespec="milliseconds")}, ensure_ascii=False)
        by_day.setdefault(read.at.date(), []).append(line + "\n")
    target = folder(settings)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for day, lines in by_day.items():
        descriptor = os.open(target / f"{day}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write("".join(lines))


def reads(settings: Settings, since: date | None = None) -> Iterator[Read]:
    """Every read that is kept, or those from a day on, in the order in which they were told."""
    for path in sorted(folder(settings).glob("*.jsonl")):
        if since is not None and path.stem < since.isoformat():
            continue
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                with suppress(json.JSONDecodeError):  # cut short when a disk was full
                    said = json.loads(line)
                    yield Read(**{**said, "at": datetime.fromisoformat(said["at"]).astimezone(UTC)})
