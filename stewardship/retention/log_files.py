"""Logs that are still being written, cut from time to time: a quiet service would keep its first line for ever.

The content moves to ``<name>.log.<date>``, which then ages like any other file; the log itself goes on, empty. Its
writer has it open for appending, so it notices nothing; a line written in between is lost at worst.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

EVERY = timedelta(days=30)
_MARK = ".cut"


def is_closed(path: Path) -> bool:
    """Whether a file of the log folder, named from there, is written no more; a service has the others open.

    Lines of the present day, by the machine's clock, are still added to the file that is named after it.
    """
    if len(path.parts) > 1:
        return path.name != f"{datetime.now(UTC).date()}.jsonl"
    return path.suffix != ".log" and path.name != _MARK


def cut(folder: Path, now: datetime) -> None:
    """Cut every live log of ``folder``, unless that was done less than :data:`EVERY` ago."""
    mark = folder / _MARK
    if not folder.is_dir():
        return
    if not mark.exists():
        mark.write_text(now.isoformat())
    if now - datetime.fromisoformat(mark.read_text()) < EVERY:
        return
    for log in folder.glob("*.log"):
        if log.stat().st_size:
            shutil.copy(log, log.with_name(f"{log.name}.{now.date()}"))
            with log.open("r+b") as stream:
                stream.truncate(0)
    mark.write_text(now.isoformat())
